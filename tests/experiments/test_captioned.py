"""Laws of what the painter is trained on by step: captions belong to their pictures, and a step sees the same whenever
it is asked."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from experiments.captioned import Batches, PlacedBatches
from experiments.clip import encode_texts
from experiments.data.sources import ART
from experiments.epochs import Epochs, Texts

from danqing.errors import InvalidFile
from danqing.prompt.tokenize import bilingual_tokenizer
from danqing.store import shipped
from danqing.store.find import find

WORDS = [("fox", "狐狸"), ("tree", "树"), ("house", "房子"), ("boat", "船"), ("key", "钥匙"), ("sun", "太阳")]


def single(index: int) -> dict:
    en, zh = WORDS[index // 2]
    source = ART[index % 2]
    return {
        "kind": "single", "array": "singles", "index": index, "subject": en, "label_en": en, "label_zh": zh,
        "emoji": "", "names_en": [en], "names_zh": [zh], "tags_en": [], "tags_zh": [], "colours": [],
        "group": "animals-nature", "subgroup": "animal-mammal", "style": source.style,
        "package": source.package, "licence": source.licence, "author": source.author,
        "split": "heldout_pair" if index == 11 else "train",
    }  # fmt: skip


def copy(index: int) -> dict:
    row = single(2 * index)
    return {**row, "array": "recoloured", "index": index, "of": row["index"], "turn": 120.0, "colours": ["teal"]}


def portrait(index: int) -> dict:
    said = {"person": {"en": "woman", "zh": "女人"}, "hair": {"en": "red hair", "zh": "红发"}}
    return {
        "kind": "portrait",
        "array": "portraits",
        "index": index,
        "style": "micah",
        "attributes": said,
        "split": "train",
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as `experiments.data` and `experiments.latents` leave it: a dozen singles, three of them recoloured,
    four portraits. The latent of a picture holds its number."""
    folder = tmp_path_factory.mktemp("data")
    model = find(shipped.DEFAULT)
    shutil.copy(model.path(model.tokenizer["file"]), folder / "tokenizer.json")
    rows = [*map(single, range(12)), *map(copy, range(3)), *map(portrait, range(4))]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(0)
    np.save(folder / "singles.npy", rng.integers(0, 256, (12, 128, 128, 3), np.uint8))
    np.save(folder / "recoloured.npy", rng.integers(0, 256, (3, 128, 128, 3), np.uint8))
    np.save(folder / "singles_alpha.npy", np.full((12, 128, 128), 255, np.uint8))
    for name, count, first in (("singles", 12, 0), ("recoloured", 3, 50), ("portraits", 4, 100)):
        numbers = np.arange(first, first + count, dtype=np.float16)
        np.save(folder / f"latents-{name}.npy", np.broadcast_to(numbers[:, None, None, None], (count, 8, 16, 16)))
    return folder


def batches(data, **changes) -> Batches:
    changes = {"samples": 64, "count": 6, "ahead": 0, **changes}
    return Batches(Epochs(data=data, **changes), 16, torch.device("cpu"), dropout=0.25)


def equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_step_sees_the_same_whenever_it_is_asked(data) -> None:
    seen = batches(data)
    forwards = [seen(step) for step in range(9)]  # three epochs of four steps
    assert all(equal(batches(data)(step), forwards[step]) for step in (8, 0, 4))
    assert not equal(forwards[0], forwards[1])


def test_a_caption_names_its_picture(data) -> None:
    seen, tokenizer, named = batches(data), bilingual_tokenizer(data / "tokenizer.json"), 0
    for step in range(4):
        x0, ids = seen(step)
        for number, row in zip(x0[:, 0, 0, 0].tolist(), ids.tolist(), strict=True):
            text = tokenizer.decode(row)
            if text and number in range(12):
                assert any(word in text for word in WORDS[int(number) // 2]), text
                named += 1
            elif text and number in (50, 51, 52):
                assert re.search("teal|turquoise|青", text) and any(word in text for word in WORDS[int(number) - 50])
            elif text and number >= 100:
                assert re.search("woman|girl|lady|女|hair|红发", text), text
    assert named > 16


def test_what_a_scene_shows_is_named_and_placed_as_its_picture_was_made(data) -> None:
    seen, tokenizer, placed = batches(data), bilingual_tokenizer(data / "tokenizer.json"), 0
    scenes = PlacedBatches(seen, dropout=0)
    for step in range(4):
        x0, ids, shown = scenes(step)
        assert equal((x0, ids), seen(step))
        for number, things, places in zip(x0[:, 0, 0, 0].tolist(), shown.things, shown.places, strict=True):
            there = places[:, 2] > 0
            assert not (there.any() and number in (*range(12), 50, 51, 52, *range(100, 104)))  # single pictures
            for thing, place in zip(things[there], places[there], strict=True):
                text = tokenizer.decode(thing.tolist())
                assert any(word in text for words in WORDS for word in words), text
                assert 0.3 < place[2] <= 1 and 0.2 < place[0] < 0.8 and 0.2 < place[1] < 0.8
                placed += 1
    assert placed > 8
    assert not any(PlacedBatches(seen, dropout=1)(step)[2].places.any() for step in range(4))


def test_what_is_held_out_is_never_seen(data) -> None:
    seen = batches(data)
    numbers = {x for step in range(16) for x in seen(step)[0][:, 0, 0, 0].tolist()}
    assert set(range(11)) <= numbers and 50 in numbers and 11 not in numbers


def test_an_epoch_brings_other_composites_and_other_captions(data) -> None:
    first, again, second = (np.load(batches(data).epochs(epoch) / "composites.npy") for epoch in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    texts = [np.load(batches(data).epochs(epoch) / "texts.npz")["ids"] for epoch in (0, 1)]
    assert not np.array_equal(*texts)


def test_an_epoch_made_ahead_by_another_process_is_the_one_made_in_place(data, tmp_path) -> None:
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("epochs"))
    ahead = batches(tmp_path / "data", ahead=1)
    ahead(0)
    assert all(equal(ahead(step), batches(data)(step)) for step in (4, 5))


def test_texts_in_one_array_are_those_of_the_tokenizer_cut_and_padded_to_the_longest(data) -> None:
    tokenizer = bilingual_tokenizer(data / "tokenizer.json")
    said = ["", "a red fox, 3d style", "一只狐狸在房子的左边", "word " * 60]
    texts, which = Texts.of(tokenizer, [tokenizer.encode(text) for text in said]), np.array([2, 0, 1, 3])
    assert torch.equal(
        torch.from_numpy(texts.rows(which, tokenizer.pad)), encode_texts(tokenizer, [said[i] for i in which])
    )
    short = texts.rows(which[:3], tokenizer.pad)
    assert (short != tokenizer.pad).sum(1).max() == short.shape[1]
    assert texts.rows(which[:3], tokenizer.pad, 8).shape[1] % 8 == 0


def test_what_is_missing_is_named_with_what_makes_it(data, tmp_path) -> None:
    with pytest.raises(InvalidFile, match=r"ledger\.jsonl.*experiments\.data"):
        Epochs(data=tmp_path)
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("latents-*"))
    with pytest.raises(InvalidFile, match=r"latents-singles\.npy.*experiments\.latents"):
        batches(tmp_path / "data")
