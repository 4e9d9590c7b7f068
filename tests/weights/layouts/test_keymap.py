"""Key maps run both ways."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danqing.errors import InvalidFile, InvalidInput
from danqing.weights.layouts.keymap import IDENTITY, STACKED, SWAPPED, TRANSPOSED, Cut, KeyMap, Source

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


# ---- cuts ----------------------------------------------------------------------------------------------------------

CUTS = KeyMap(
    ((("old.{rest*}", "new.{rest*}"), ("gone", None)),),
    (
        Cut("{block*}.qkv.{end}", ("{block*}.q.{end}", "{block*}.k.{end}", "{block*}.v.{end}"), STACKED),
        Cut("new.projection", ("new.projection.weight",), TRANSPOSED),
        Cut("new.norm.{end}", ("new.norm.{end}",), SWAPPED),
    ),
)


@given(st.sampled_from([STACKED, TRANSPOSED, SWAPPED]), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_what_is_taken_apart_goes_together_again_and_has_the_shape_that_was_told(way, parts, rows, columns):
    parts = parts if way is STACKED else 1
    whole = torch.arange(2.0 * parts * rows * columns).reshape(2 * parts * rows, columns)
    apart = way.apart(whole, parts)
    assert len(apart) == parts and torch.equal(way.together(apart), whole)
    assert {tuple(part.shape) for part in apart} == {way.shape(tuple(whole.shape), parts)}


def test_each_way_does_what_it_says():
    whole = torch.arange(12.0).reshape(6, 2)
    assert [part.flatten().tolist() for part in STACKED.apart(whole, 3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert torch.equal(TRANSPOSED.apart(whole, 1)[0], whole.T)
    assert torch.equal(SWAPPED.apart(whole, 1)[0], torch.cat([whole[3:], whole[:3]]))


def test_a_cut_tells_of_each_tensor_where_it_lies():
    found = CUTS.sources(["old.a.b.qkv.weight", "old.projection", "old.norm.bias", "other", "gone"])
    assert found == {
        "new.a.b.q.weight": Source("old.a.b.qkv.weight", STACKED, 0, 3),
        "new.a.b.k.weight": Source("old.a.b.qkv.weight", STACKED, 1, 3),
        "new.a.b.v.weight": Source("old.a.b.qkv.weight", STACKED, 2, 3),
        "new.projection.weight": Source("old.projection", TRANSPOSED, 0, 1),
        "new.norm.bias": Source("old.norm.bias", SWAPPED, 0, 1),
        "other": Source("other"),
    }
    shapes = {name: source.shape((6, 2)) for name, source in found.items()}
    assert shapes == {
        **dict.fromkeys(found, (6, 2)),
        **{f"new.a.b.{x}.weight": (2, 2) for x in "qkv"},
        "new.projection.weight": (2, 6),
    }


def test_the_way_back_is_found_again():
    names = ["new.a.q.weight", "new.a.k.weight", "new.a.v.weight", "new.projection.weight", "new.norm.bias", "other"]
    ours = {name: torch.randn(4, 2) for name in names}
    file = CUTS.back(ours)
    assert set(file) == {"old.a.qkv.weight", "old.projection", "old.norm.bias", "other"}
    back = {name: source.take(file[source.name]) for name, source in CUTS.sources(file).items()}
    assert back.keys() == ours.keys() and all(torch.equal(back[name], ours[name]) for name in names)


def test_a_part_without_the_others_is_not_written():
    with pytest.raises(InvalidInput, match=r"'a\.q\.bias' is written together with 'a\.k\.bias'"):
        CUTS.back({"a.q.bias": torch.zeros(2)})


def test_a_shape_that_does_not_divide_is_refused():
    for way, parts in ((STACKED, 3), (SWAPPED, 1)):
        for shape in ((5, 2), ()):
            with pytest.raises(ValueError, match="does not divide"):
                way.shape(shape, parts)


def test_a_cut_into_a_tensor_that_is_there_is_refused():
    with pytest.raises(InvalidFile, match=r"both 'a\.k\.bias': the file mixes two layouts"):
        CUTS.sources(["a.k.bias", "a.qkv.bias"])


def test_a_cut_that_could_not_run_back_is_refused():
    with pytest.raises(InvalidInput, match="different holes"):
        KeyMap((), (Cut("a.{x}", ("b.{y}",), TRANSPOSED),))
