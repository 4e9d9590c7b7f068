"""Laws of the small art: means of blocks, classes by subject, and nothing that was kept apart."""

import json
from itertools import chain

import numpy as np
import pytest
import torch
from experiments.art import CHINESE, KINDS, Art, kind, shrunk, style

from danqing.errors import InvalidInput
from danqing.levels import levels_of
from danqing.prompt.classes import Classes


@pytest.fixture
def data(tmp_path):
    """Nine singles, the last of which is held out, and two portraits; each of one grey that tells it."""
    rows = [
        dict(
            array="singles",
            index=i,
            subgroup="heart" if i % 2 else "time",
            style="flat",
            split="train" if i < 8 else "heldout_pair",
        )
        for i in range(9)
    ]
    rows += [dict(array="portraits", index=i, style="lorelei", split="train") for i in range(2)]
    (tmp_path / "ledger.jsonl").write_text("\n".join(map(json.dumps, rows)))
    grey = np.arange(9, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    np.save(tmp_path / "singles.npy", grey)
    np.save(tmp_path / "portraits.npy", grey[:2] + 100)
    return tmp_path


def test_a_small_pixel_is_the_mean_of_its_block():
    pictures = torch.randint(0, 256, (3, 8, 8, 3), generator=torch.Generator().manual_seed(0)).numpy().astype(np.uint8)
    small = shrunk(pictures, [2, 0], 4)
    want = torch.nn.functional.avg_pool2d(torch.from_numpy(pictures[[2, 0]]).movedim(-1, 1).double(), 2)
    assert (small - want).abs().max() <= 0.5
    assert torch.equal(shrunk(pictures, [1], 8)[0], torch.from_numpy(pictures[1]).movedim(-1, 0))
    with pytest.raises(InvalidInput, match="divides 8"):
        shrunk(pictures, [0], 3)


def test_what_was_held_out_is_never_trained_on_and_the_classes_are_those_of_all(data):
    art, apart = Art.load(data, 4), Art.load(data, 4, split="heldout_pair")
    assert art.pictures[:, 0, 0, 0].tolist() == list(range(8)) and apart.pictures[:, 0, 0, 0].tolist() == [8]
    assert art.names == apart.names == ("clock", "heart")
    assert art.labels.tolist() == [0, 1] * 4 and apart.labels.tolist() == [0]
    assert Art.load(data, 4, by=style).names == ("flat",)
    with pytest.raises(InvalidInput, match="no picture"):
        Art.load(data, 4, split="test")


def test_portraits_are_a_class_of_their_own(data):
    art = Art.load(data, 2, arrays=("singles", "portraits"))
    assert art.names == ("clock", "heart", "portraits") and art.labels.tolist() == [0, 1] * 4 + [2, 2]
    assert art.pictures[-2:, 0, 0, 0].tolist() == [100, 101] and art.pictures.shape == (10, 3, 2, 2)


def test_each_picture_comes_once_an_epoch_with_its_own_label(data):
    art = Art.load(data, 4)
    batches = art.batches(4, "seed")
    pictures, labels = (torch.cat(parts) for parts in zip(batches(0), batches(1), strict=True))
    assert sorted(pictures[:, 0, 0, 0].tolist()) == list(range(8))
    assert torch.equal(labels, pictures[:, 0, 0, 0].long() % 2)
    assert torch.equal(batches(5)[0], art.batches(4, "seed")(5)[0])


def test_mirrored_pictures_are_the_same_or_turned_about_half_of_each():
    pictures = torch.arange(64 * 3 * 4 * 4, dtype=torch.int64).view(64, 3, 4, 4).remainder(251).to(torch.uint8)
    art = Art(pictures=pictures, labels=torch.arange(64), names=tuple(map(str, range(64))))
    seen, labels = art.batches(64, "seed", mirror=True)(0)
    same = (seen == pictures[labels]).flatten(1).all(1)
    turned = (seen == pictures[labels].flip(-1)).flatten(1).all(1)
    assert (same ^ turned).all() and 16 < same.sum() < 48


def test_every_subgroup_has_one_class_and_an_unknown_one_is_refused():
    every = list(chain.from_iterable(KINDS.values()))
    assert len(every) == len(set(every)) and 20 <= len(KINDS) <= 40
    assert kind({"array": "singles", "subgroup": "cat-face"}) == "mammal"
    with pytest.raises(InvalidInput, match="KINDS"):
        kind({"array": "singles", "subgroup": "skin-tone"})


def test_each_kind_is_heard_by_its_name_in_either_language():
    assert set(CHINESE) == set(KINDS)
    heard = Classes(tuple(CHINESE.items()))
    assert (
        [heard.of(name) for name in CHINESE]
        == [heard.of(name) for name in CHINESE.values()]
        == [(i, "") for i in range(len(KINDS))]
    )


def test_bytes_lie_between_minus_one_and_one():
    assert levels_of(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
