"""What the painter's trainings see anew in every epoch of 250,000 samples: composites drawn and encoded, captions drawn
and tokenised.

    data/epochs/<made of what>-00007/composites.npy    their latents, (COUNT, 8, 16, 16) float16
                                     texts.npz         the token ids of all captions, one after the other
                                     scenes.npz        what composites show where, and the token ids of that

An epoch depends on its number, the ledger, the art, the tokenizer and the autoencoder alone, so that a training that
was killed sees the same ones again. The next one is made by another process while this one is trained on.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danqing.codec import VAECodec
from danqing.errors import InvalidFile
from danqing.noise import number
from danqing.prompt.tokenize import BytePairTokenizer, bilingual_tokenizer, room_of
from danqing.run.device import find_device
from experiments import captions
from experiments.common import DATA, RUNS
from experiments.data import composites
from experiments.data.ledger import read_records
from experiments.latents import autoencoder, encoded

#: How many captions of each picture are drawn an epoch in each language.
VARIANTS = {"singles": 5, "recoloured": 1, "composites": 3, "portraits": 2}
LANGUAGES = ("en", "zh")
#: How many things a scene has at most, and how much larger the picture of a thing is than the thing itself.
THINGS, ROOM = 3, 1.1
BEHIND = {"en": "background", "zh": "背景"}
TRIES = 3
#: What an epoch is made of beside the files of the data: another code, another epoch.
CODE = (Path(captions.__file__), Path(composites.__file__), Path(__file__))


@dataclass(frozen=True)
class Texts:
    """Token ids of many texts, bos and eos included, one after the other.

    Args:
        ids: of all texts, (total,) uint16.
        starts: where each begins, and the end: (N + 1,) int64.
    """

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, tokenizer: BytePairTokenizer, texts: Sequence[Sequence[int]]) -> Texts:
        """Ids of texts framed by bos and eos; what a window has no room for is cut."""
        room = room_of(tokenizer)
        framed = [np.array([tokenizer.bos, *ids[:room], tokenizer.eos], np.uint16) for ids in texts]
        starts = np.cumsum([0, *(len(one) for one in framed)], dtype=np.int64)
        return cls(np.concatenate(framed), starts)

    def rows(self, which: np.ndarray, pad: int, multiple: int = 1) -> np.ndarray:
        """Some texts (B,) as rows of the longest's length, (B, L) int64, rounded up to a multiple."""
        lengths = self.starts[which + 1] - self.starts[which]
        place = np.arange(-(-int(lengths.max()) // multiple) * multiple)
        where = np.minimum(self.starts[which][:, None] + place, len(self.ids) - 1)
        return np.where(place < lengths[:, None], self.ids[where], pad).astype(np.int64)


@dataclass(frozen=True)
class Scenes:
    """What composites show, each up to K things, in each language; those that one thing fills show nothing.

    Args:
        places: as `danqing.nets.drafted.Scene` has them, (M, K, 3) float32, by composite and then by language.
        things: the token ids of what is said of each thing, M·K texts; of none the empty one.
    """

    places: np.ndarray
    things: Texts

    @classmethod
    def of(cls, tokenizer: BytePairTokenizer, rows: Sequence[Mapping[str, Any]], seed: int) -> Scenes:
        """Of each thing what would be said of the picture if that filled it, its background always: a painter trusts a
        draft in what that never says wrongly, so that a text without a background gets the white of its drafts."""
        draw, said, places = random.Random(seed), list[str](), list[tuple[float, float, float]]()
        for row in rows:
            shown = [] if row["scene"] == "full" else row["pieces"]
            for lang in LANGUAGES:
                for piece in shown:
                    alone = {"scene": "full", "same": False, "relation": None, "pieces": [{**piece, "place": "full"}]}
                    text = captions.caption({**row, **alone}, draw, lang)
                    if BEHIND[lang] not in text:
                        text += (", " if lang == "en" else "，") + captions.background(row, lang, draw)
                    said.append(text)
                    places.append((piece["x"], piece["y"], min(1.0, ROOM * piece["scale"])))
                said += [""] * (THINGS - len(shown))
                places += [(0.5, 0.5, 0.0)] * (THINGS - len(shown))
        ids = [one.ids for one in tokenizer.bpe.encode_batch_fast(said, add_special_tokens=False)]
        return cls(np.array(places, np.float32).reshape(-1, THINGS, 3), Texts.of(tokenizer, ids))


def fingerprint(data: Path) -> dict[str, str]:
    """Hashes of what a training's data are: of the ledger and the tokenizer, for the settings that a checkpoint keeps.

    Raises:
        InvalidFile: one of them is missing.
    """
    made = {}
    for name, file in (("ledger", "ledger.jsonl"), ("tokenizer", "tokenizer.json")):
        try:
            made[name] = hashlib.sha256((data / file).read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidFile(
                f"{data / file} cannot be read ({error.strerror}): run `python -m experiments.data`"
            ) from error
    return made


@dataclass(kw_only=True)
class Epochs:
    """The epochs of a data folder, each made when it is asked for, or ahead of it by another process.

    Args:
        data: what `python -m experiments.data` and `experiments.latents` wrote.
        runs: where the autoencoder is, as for `experiments.latents.autoencoder`.
        samples: how many a training draws from an epoch before the next.
        count: of composites in an epoch.
        ahead: how many epochs are made beforehand, each by a process of its own; 0 makes none.
    """

    data: Path = DATA
    runs: Path = RUNS
    samples: int = 250_000
    count: int = composites.COUNT
    ahead: int = 1
    _makers: dict[int, BaseProcess] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        said = json.dumps([self.count, VARIANTS, THINGS, ROOM, fingerprint(self.data)]).encode()
        self._made_of = hashlib.sha256(said + b"".join(path.read_bytes() for path in CODE)).hexdigest()[:12]

    def folder(self, epoch: int) -> Path:
        return self.data / "epochs" / f"{self._made_of}-{epoch:05}"

    def __call__(self, epoch: int) -> Path:
        """The folder of an epoch; makes it, unless it is there or being made, and begins the next ones. Those before
        the last are removed."""
        if maker := self._makers.pop(epoch, None):
            maker.join()
        self.make(epoch)
        for old in range(max(0, epoch - 3), epoch - 1):
            shutil.rmtree(self.folder(old), ignore_errors=True)
        for new in range(epoch + 1, epoch + 1 + self.ahead):
            if new not in self._makers and not self.folder(new).exists():
                self._makers[new] = multiprocessing.get_context("spawn").Process(
                    target=_aside, args=(self.data, self.runs, self.count, new), daemon=True
                )
                self._makers[new].start()
        return self.folder(epoch)

    def make(self, epoch: int) -> None:
        """Write an epoch's folder, whole or not at all; nothing if it is there."""
        folder = self.folder(epoch)
        if folder.exists():
            return
        part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
        part.mkdir(parents=True, exist_ok=True)
        rows = by_source(self.data)
        trained = [*rows["singles"], *rows["recoloured"]]
        rows["composites"] = composites.plan(trained, self.count, number("composites", epoch))
        np.save(part / "composites.npy", self._latents(rows["composites"]))
        tokenizer = bilingual_tokenizer(self.data / "tokenizer.json")
        texts = tokenised(tokenizer, rows, number("captions", epoch))
        scenes = Scenes.of(tokenizer, rows["composites"], number("scenes", epoch))
        np.savez(part / "texts.npz", ids=texts.ids, starts=texts.starts)
        np.savez(part / "scenes.npz", places=scenes.places, ids=scenes.things.ids, starts=scenes.things.starts)
        try:
            part.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(part)

    def _latents(self, lines: Sequence[Mapping[str, Any]]) -> np.ndarray:
        art = composites.load_art(self.data)
        codec = VAECodec(autoencoder(self.runs).to(find_device()))
        return encoded(codec, (composites.compose(line, art) for line in lines))


def by_source(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of the ledger that are trained on, by source; composites are drawn anew, so theirs are left out."""
    rows: dict[str, list[dict[str, Any]]] = {source: [] for source in VARIANTS}
    for row in read_records(data / "ledger.jsonl"):
        if row["split"] == "train" and row["array"] in rows and row["kind"] != "composite":
            rows[row["array"]].append(row)
    return rows


def tokenised(tokenizer: BytePairTokenizer, rows: Mapping[str, Sequence[Mapping[str, Any]]], seed: int) -> Texts:
    """The empty caption, then of each source, picture, language and variant a drawn one. Those that are longer than the
    window are drawn again a few times: few words are better than cut ones."""
    draw = random.Random(seed)
    asked = [
        (row, lang) for source, n in VARIANTS.items() for row in rows[source] for lang in LANGUAGES for _ in range(n)
    ]

    def drawn(some: Iterable[int]) -> list[list[int]]:
        texts = [captions.caption(asked[i][0], draw, asked[i][1]) for i in some]
        return [one.ids for one in tokenizer.bpe.encode_batch_fast(texts, add_special_tokens=False)]

    ids = drawn(range(len(asked)))
    for _ in range(TRIES):
        long = [i for i, one in enumerate(ids) if len(one) > room_of(tokenizer)]
        for i, one in zip(long, drawn(long), strict=True):
            ids[i] = one
    return Texts.of(tokenizer, [[], *ids])


def _aside(data: Path, runs: Path, count: int, epoch: int) -> None:
    """Make an epoch in the background: one thread, after whoever else computes."""
    os.nice(5)
    torch.set_num_threads(1)
    Epochs(data=data, runs=runs, count=count, ahead=0).make(epoch)
