"""Laws of a grid's axes: every combination once, each value as typed, and what is no axis is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danqing.errors import InvalidInput, UnknownName
from danqing.request.axes import Axis, cells, count
from danqing.request.request import Request


def test_every_combination_stands_once_the_first_axis_fastest():
    axes = [Axis.parse(text) for text in ("steps=1,2,3", "seed=5..6", "style=3d,flat")]
    every = list(cells(axes, {"prompt": "a fox"}))
    assert len(every) == len({cell.values for cell in every}) == count(axes) == 12
    assert [cell.values[0] for cell in every[:3]] == ["1", "2", "3"] and every[3].values == ("1", "6", "3d")
    assert Request(**every[3].options) == Request(prompt="a fox", steps=1, seed=6, style="3d")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=1..4", ("1", "2", "3", "4")),
        ("seed=4..2", ("4", "3", "2")),
        ("scale=2..8:2", ("2", "4", "6", "8")),
        ("scale=1..2:0.5", ("1", "1.5", "2")),
        ("scale=-1..1", ("-1", "0", "1")),
        ("cfg=1,1,2", ("1", "2")),
        ('prompt="a fox, red",an owl', ("a fox, red", "an owl")),
        ("solver=DPM++ 2M Karras,euler", ("DPM++ 2M Karras", "euler")),
    ],
)
def test_lists_ranges_and_quoted_values_are_read_and_a_value_counts_once(text, values):
    assert Axis.parse(text).values == values


@given(
    st.lists(st.text(st.characters(exclude_characters='",.\r\n\0', exclude_categories=["Cs"]), min_size=1), min_size=1)
)
def test_any_words_are_values_in_their_order(words):
    words = list(dict.fromkeys(word.strip() for word in words if word.strip())) or ["x"]
    assert list(Axis.parse("prompt=" + ",".join(words)).values) == words


def test_replacing_begins_with_the_words_as_they_are():
    axis = Axis.parse("replace=fox,owl,red panda")
    options = {"prompt": "a fox and a fox", "negative": "no fox"}
    assert axis.applied(options, "fox") == options
    assert axis.applied(options, "owl") == {"prompt": "a owl and a owl", "negative": "no owl"}
    with pytest.raises(InvalidInput, match="stands in no prompt"):
        axis.applied({"prompt": "a cat"}, "owl")


@pytest.mark.parametrize(
    "text", ["steps", "steps=", "steps=,", "seed=1..99999999", "seed=1..9:0", "seed=1..9:-1", 'prompt="a']
)
def test_an_axis_without_values_or_end_is_refused(text):
    with pytest.raises(InvalidInput):
        Axis.parse(text)


def test_an_unknown_axis_and_two_of_one_field_are_refused():
    with pytest.raises(UnknownName, match="'steps'"):
        Axis.parse("stps=1,2")
    with pytest.raises(InvalidInput, match="two axes are scale"):
        list(cells([Axis.parse("scale=1,2"), Axis.parse("cfg=3")], {}))
