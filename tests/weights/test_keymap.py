"""Key maps run both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danqing.errors import InvalidFile, InvalidInput
from danqing.weights.keymap import IDENTITY, KeyMap

MAP = KeyMap(
    (
        (("model.{rest*}", "{rest*}"), ("{rest*}.position_ids", None)),
        (("down.{i}.block.{j}.{end*}", "down_blocks.{i}.resnets.{j}.{end*}"),),
        (("{block*}.nin_shortcut.{end}", "{block*}.conv_shortcut.{end}"),),
    )
)
PART = st.text("abc0123_", min_size=1, max_size=5)
KEY = st.lists(PART, min_size=1, max_size=5).map(".".join)


@given(st.lists(KEY, unique=True))
def test_the_identity_changes_nothing(keys):
    assert IDENTITY.names(keys) == {key: key for key in keys}


@given(st.integers(0, 20), st.integers(0, 20), PART)
def test_the_inverse_inverts(i, j, end):
    key = f"model.down.{i}.block.{j}.nin_shortcut.{end}"
    new = MAP.name(key)
    assert new == f"down_blocks.{i}.resnets.{j}.conv_shortcut.{end}"
    assert KeyMap(MAP.stages[1:]).inverse.name(new) == key.removeprefix("model.")
    assert MAP.inverse.inverse.stages[1:] == MAP.stages[1:]


@given(KEY)
def test_a_key_that_no_rule_fits_keeps_its_name(key):
    assert MAP.name("other." + key) == "other." + key


def test_the_first_rule_that_fits_is_the_only_one_of_its_stage():
    chain = KeyMap(((("a.{x}", "b.{x}"), ("b.{x}", "c.{x}")),))
    assert chain.names(["a.1", "b.1"]) == {"a.1": "b.1", "b.1": "c.1"}


def test_a_hole_holds_one_part_and_a_starred_hole_many():
    one, many = KeyMap(((("a.{x}", "b.{x}"),),)), KeyMap(((("a.{x*}", "b.{x*}"),),))
    assert one.name("a.1.2") == "a.1.2" and many.name("a.1.2") == "b.1.2" and many.name("a") == "a"


def test_dots_stand_for_themselves():
    assert KeyMap((((r"a.b", "c"),),)).name("axb") == "axb"


def test_dropped_names_are_left_out():
    assert MAP.names(["x.position_ids", "x.weight"]) == {"x.weight": "x.weight"}


def test_two_keys_of_one_name_are_refused():
    with pytest.raises(InvalidFile, match=r"'model\.x' and 'x'|'x' and 'model\.x'"):
        MAP.names(["x", "model.x"])


def test_a_rule_that_could_not_run_back_is_refused():
    with pytest.raises(InvalidInput, match="different holes"):
        KeyMap(((("a.{x}.{y}", "b.{x}"),),))
