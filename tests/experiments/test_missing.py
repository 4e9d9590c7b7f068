"""Laws of the pairs that no set has: what is held out is missing, nothing is told by itself, a draft sees them
beside what there is, and a painter is drafted by others' pictures now and then."""

import json
import shutil

import numpy as np
import pytest
import torch
from experiments.captioned import Batches, Placed, PlacedBatches
from experiments.completed import Completed, Told, completed
from experiments.data.colours import turned
from experiments.data.sources import ART
from experiments.latents import autoencoder
from experiments.missing import LINES, OTHERS, PICTURES, Imputer, Shelf, imputed, left_out, others, recoloured

from danqing.codec import VAECodec
from danqing.levels import from_arrays, to_arrays
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.store import shipped
from danqing.store.find import find

WORDS = [("fox", "狐狸"), ("tree", "树"), ("house", "房子"), ("boat", "船")]
HELD_OUT, ABSENT = ("boat", ART[2].style), ("tree", ART[1].style)


def line(index: int) -> dict:
    (en, zh), source = WORDS[index // 3], ART[index % 3]
    return {
        "kind": "single", "array": "singles", "index": index, "subject": en, "label_en": en, "label_zh": zh,
        "emoji": "", "names_en": [en], "names_zh": [zh], "tags_en": [], "tags_zh": [], "colours": ["red"],
        "group": "animals-nature", "subgroup": "animal-mammal", "style": source.style,
        "split": "heldout_pair" if (en, source.style) == HELD_OUT else "train",
    }  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four subjects in three styles, one of the pictures held out and one not there."""
    folder = tmp_path_factory.mktemp("data")
    model = find(shipped.DEFAULT)
    shutil.copy(model.path(model.tokenizer["file"]), folder / "tokenizer.json")
    rows = [line(index) for index in range(12)]
    rows = [row for row in rows if (row["subject"], row["style"]) != ABSENT]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.save(folder / "latents-singles.npy", np.random.default_rng(0).normal(size=(12, 8, 16, 16)).astype(np.float16))
    return folder


@pytest.fixture(scope="module")
def imputer(data) -> Imputer:
    shelf = Shelf.of(data)
    torch.manual_seed(0)
    model = Imputer(shelf.latents.mean(0)).eval()
    torch.nn.init.normal_(model.net.conv_out.weight, std=0.1)
    return model


def named(shelf: Shelf, pairs: torch.Tensor) -> set[tuple[str, str]]:
    return {(shelf.subjects[int(s)], shelf.styles[int(k)]) for s, k in pairs}


def test_a_pair_is_there_or_missing_and_what_is_held_out_is_missing_with_its_picture_unread(data) -> None:
    shelf = Shelf.of(data)
    assert named(shelf, shelf.pairs(False)) == {HELD_OUT, ABSENT}
    assert len(shelf.pairs(True)) == 10
    s, k = shelf.subjects.index(HELD_OUT[0]), shelf.styles.index(HELD_OUT[1])
    assert not shelf.latents[s, k].any()


def test_a_picture_is_never_told_by_itself_and_always_by_the_others(data, imputer) -> None:
    shelf = Shelf.of(data)
    pairs = shelf.pairs(True)
    before = imputed(imputer, shelf, pairs)
    s, k = int(pairs[0, 0]), int(pairs[0, 1])
    shelf.latents[s, k] += 1
    after = imputed(imputer, shelf, pairs)
    same = (after - before).flatten(1).abs().amax(1) < 1e-5
    assert named(shelf, pairs[~same]) == {
        (subject, style) for subject, style in named(shelf, pairs) if subject == shelf.subjects[s]
    } - {(shelf.subjects[s], shelf.styles[k])}


def test_some_are_left_out_but_never_all_and_none_appear() -> None:
    there = (torch.rand(500, 8, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    there[:, 0] = 1
    some = left_out(there, torch.Generator().manual_seed(1))
    assert (some <= there).all() and (some.sum(1) > 0).all() and (some.sum(1) < there.sum(1)).any()
    assert not others(there, torch.zeros(500, dtype=torch.long))[:, 0].any()


class Few(Batches):
    """Twelve pictures of zeros a step, each with three tokens."""

    def __init__(self):
        self.settings = {"ledger": "0"}

    def __call__(self, step: int):
        return torch.zeros(12, 8, 16, 16), torch.full((12, 3), 5)


def test_a_draft_sees_missing_pairs_beside_the_rest_in_their_share_and_in_their_own_words(data, tmp_path) -> None:
    folder, few = shutil.copytree(data, tmp_path / "data"), Few()
    assert completed(few, folder) is few
    np.save(folder / PICTURES, np.full((1, 8, 16, 16), 7, np.float16))
    (folder / LINES).write_text(json.dumps([{**line(11), "colours": []}]))
    both = completed(few, folder)
    assert isinstance(both, Completed) and set(both.settings) == {"ledger", "missing"}
    (x0, ids), again = both(3), both(3)
    assert torch.equal(x0, again[0]) and torch.equal(ids, again[1])
    assert x0.flatten(1).mean(1).tolist() == [0.0] * 12 + [7.0] * 4  # a quarter
    assert (ids[:12, :3] == 5).all() and (ids[:12, 3:] == both.pad).all()
    tokenizer = bilingual_tokenizer(folder / "tokenizer.json")
    said = [tokenizer.bpe.decode(row[row != both.pad].tolist()) for row in ids[12:]]
    assert all("boat" in text or "船" in text for text in said), said


def test_a_copy_is_the_picture_with_its_hues_turned_and_its_line_says_other_colours() -> None:
    disc = np.full((2, 128, 128, 3), 255, np.uint8)
    rows, columns = np.ogrid[:128, :128]
    disc[:, (rows - 64) ** 2 + (columns - 64) ** 2 < 40**2] = (200, 30, 30)
    codec = VAECodec(autoencoder())
    lines, latents = recoloured([line(0), line(6)], codec.encode(from_arrays(disc)), codec)
    assert len(lines) == len(latents) >= 2 and {one["subject"] for one in lines} == {"fox", "house"}
    with torch.inference_mode():
        pictures = to_arrays(codec.decode(latents.float()))
    for one, picture in zip(lines, pictures, strict=True):
        assert one["array"] == "recoloured" and "red" not in one["colours"]
        assert abs(picture.astype(float) - turned(disc[0], one["turn"])).mean() < 6


class Shown(Batches):
    """Of four single pictures and two others, 600 times each: text 0 says nothing, ten texts a single."""

    def __init__(self):
        self.settings, self.seed, self.first = {"ledger": "0"}, "shown", {"singles": 1, "recoloured": 41}
        self.latents = {"singles": torch.zeros(4, 8, 16, 16)}
        self.texts = np.tile([0, 1, 12, 25, 40, 41], 600)

    def chosen(self, step: int):
        return torch.zeros(len(self.texts), 8, 16, 16), self.texts


class ShownPlaced(PlacedBatches):
    def said(self, step: int, which):
        return torch.from_numpy(which), Placed(torch.zeros(len(which), 3, 2), torch.zeros(len(which), 3, 3))


def test_half_of_the_single_pictures_are_drafted_by_the_others_and_nothing_else_ever_is(tmp_path) -> None:
    said = np.stack([np.full((8, 16, 16), value, np.float16) for value in (1, 2, np.nan, 4)])
    np.save(tmp_path / OTHERS, said)
    told = Told(ShownPlaced(Shown()), tmp_path)
    assert set(told.settings) == {"ledger", "others"}
    _, ids, _, (weight, picture) = told(5)
    again = told(5)[3]
    assert torch.equal(weight, again.weight) and torch.equal(picture, again.picture)
    assert picture.isfinite().all() and ((weight == 0) | (weight == 1)).all()
    share = {int(text): float(weight[ids == text].mean()) for text in ids.unique()}
    assert share[0] == share[25] == share[41] == 0  # no words; no others; recoloured
    assert all(0.4 < share[text] < 0.6 for text in (1, 12, 40))
    drafted = weight[:, 0, 0, 0] == 1
    assert torch.equal(picture[:, 0, 0, 0], torch.where(drafted, torch.tensor([0, 1, 2, 0, 4, 0.0]).repeat(600), 0))


def test_where_others_never_said_anything_no_draft_is_theirs(tmp_path) -> None:
    told = Told(ShownPlaced(Shown()), tmp_path)
    assert set(told.settings) == {"ledger"} and not told(5)[3].weight.any()
