"""What a text places where: by relation, by place and by number, in two languages; and what a painter is told of it."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from danqing.painting.load import load
from danqing.painting.painter import Painter
from danqing.prompt.grammar import parse, plan
from danqing.prompt.placed import PlacedText
from danqing.prompt.scenes import PLACES, things
from danqing.store.shipped import DEFAULT


def said(text: str) -> dict[str, tuple[float, float]]:
    return {thing.text: (thing.x, thing.y) for thing in things(text)}


@pytest.mark.parametrize(
    ("text", "first", "second", "place", "opposite"),
    [
        ("a cat to the left of a tree", "a cat", "a tree", "left", "right"),
        ("a cat right of the tree", "a cat", "the tree", "right", "left"),
        ("a red heart above a house", "a red heart", "a house", "top", "bottom"),
        ("a dog under an umbrella", "a dog", "an umbrella", "bottom", "top"),
        ("an octopus below clock showing noon", "an octopus", "clock showing noon", "bottom", "top"),
        ("一只猫在房子的右边", "一只猫", "房子", "right", "left"),
        ("月亮在树上面", "月亮", "树", "top", "bottom"),
        ("a cup of tea and a cake", "a cup of tea", "a cake", "left", "right"),
        ("一只猫和一只狗", "一只猫", "一只狗", "left", "right"),
    ],
)
def test_a_relation_places_two_things_on_opposite_sides(
    text: str, first: str, second: str, place: str, opposite: str
) -> None:
    assert said(text) == {first: PLACES[place], second: PLACES[opposite]}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a cat on the left, a dog on the right", {"a cat": "left", "a dog": "right"}),
        ("a sun in the top left corner", {"a sun": "top left"}),
        ("猫在左边，树在右上角", {"猫": "left", "树": "top right"}),
    ],
)
def test_a_thing_is_where_it_is_said_to_be(text: str, places: dict[str, str]) -> None:
    assert said(text) == {name: PLACES[place] for name, place in places.items()}


@pytest.mark.parametrize(
    ("text", "one", "count"),
    [
        ("two flowers", "a flower", 2),
        ("three red foxes", "a red fox", 3),
        ("two slices of pizza", "a slice of pizza", 2),
        ("3 houses", "a house", 3),
        ("two women with hats", "a woman with hats", 2),
        ("两朵花", "一朵花", 2),
        ("三只红色的猫", "一只红色的猫", 3),
    ],
)
def test_several_of_one_are_that_many_apart(text: str, one: str, count: int) -> None:
    found = things(text)
    assert [thing.text for thing in found] == [one] * count
    apart = [abs(a.x - b.x) > a.scale - 0.01 or abs(a.y - b.y) > a.scale - 0.01 for a in found for b in found if a != b]
    assert all(apart) and len({thing[1:3] for thing in found}) == count


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat to the left of a tree, 3d style, on a green background", "3d style, on a green background"),
        ("a cat to the left of a tree on a green background, 3d style", "3d style, on a green background"),
        ("两朵花，绿色背景", "绿色背景"),
    ],
)
def test_what_is_said_of_the_whole_is_said_of_each_thing(text: str, shown: str) -> None:
    assert len(things(text)) == 2 and all(thing.text.endswith(shown) for thing in things(text))


@pytest.mark.parametrize(
    "text",
    [
        "", "a red fox, 3d style", "sunrise over the sea", "two-storey house", "a woman with two cats", "在左边",
        "a woman with a hat and a bag", "a black and white cat", "a fish under water",
        "a house on the top of a hill", "a family of two men and a boy", "一个微笑的女人，红色头发",
    ],
)  # fmt: skip
def test_what_places_nothing_or_too_much_is_left_to_the_whole(text: str) -> None:
    assert things(text) == ()


@pytest.fixture(scope="module")
def text() -> PlacedText:
    painter = load(DEFAULT)
    assert isinstance(painter, Painter) and isinstance(painter.text, PlacedText)
    return painter.text


def conditioned(text, *prompts: str):
    plans = [plan(parse(prompt, compose=i == 0), 4) for i, prompt in enumerate(prompts)]
    return text.condition(plans, skip=0, weighting="original")


def test_a_prompt_that_places_nothing_is_read_as_without(text: PlacedText) -> None:
    for mine, plain in zip(*(conditioned(each, "a fox", "a dog") for each in (text, text.text)), strict=True):
        (ours,), (theirs,) = mine.conditionings, plain.conditionings
        assert not ours.extra and torch.equal(ours.pooled, theirs.pooled) and torch.equal(ours.tokens, theirs.tokens)


def test_things_are_heard_as_they_would_be_alone_and_the_other_prompts_of_the_picture_place_nothing(
    text: PlacedText,
) -> None:
    positive, negative = conditioned(text, "a cat to the left of a tree AND [a dog:a fox:0.5]", "blurry")
    alone = [cast(Tensor, next(each.conditionings).pooled) for each in conditioned(text.text, "a cat", "a tree")]
    for step in (1, 4):
        (first, _), (second, _) = positive.at(step)
        assert torch.equal(first.extra["things"][0, :2], torch.cat(alone)) and not first.extra["things"][0, 2].any()
        assert first.extra["places"][0, :, 2].tolist() == pytest.approx([0.48, 0.48, 0])
        assert not second.extra["places"].any() and not negative.at(step)[0][0].extra["places"].any()
