"""The art at the size of a small model, with its kinds as classes: what every training of a small family sees.

art = Art.load(DATA, 32)                       pictures (N, 3, 32, 32) of bytes, labels (N,), names of the classes
batch = art.batches(64, "vae", mirror=True)    step -> (bytes (B, 3, 32, 32), labels (B,)), a pure function of the step
x = levels_of(batch(0)[0])                     (B, 3, 32, 32) in [-1, 1]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danqing.errors import InvalidInput, UnknownName
from danqing.learn.data.labelled import Labelled

#: The classes, by Unicode's subgroups of emoji (the ledger's "subgroup").
KINDS: Mapping[str, tuple[str, ...]] = {
    "face": tuple(
        f"face-{mood}"
        for mood in (
            "affection",
            "concerned",
            "costume",
            "glasses",
            "hand",
            "hat",
            "negative",
            "neutral-skeptical",
            "sleepy",
            "smiling",
            "tongue",
            "unwell",
        )
    ),
    "heart": ("heart", "emotion"),
    "hand": (
        "hand-fingers-closed",
        "hand-fingers-open",
        "hand-fingers-partial",
        "hand-prop",
        "hand-single-finger",
        "hands",
        "body-parts",
    ),
    "person": ("person", "person-gesture", "person-resting"),
    "profession": ("person-role",),
    "fantasy": ("person-fantasy",),
    "activity": ("person-activity",),
    "athlete": ("person-sport",),
    "family": ("family", "person-symbol"),
    "mammal": ("animal-mammal", "cat-face", "monkey-face"),
    "bird": ("animal-bird",),
    "bug": ("animal-bug",),
    "sea animal and reptile": ("animal-marine", "animal-reptile", "animal-amphibian"),
    "plant": ("plant-flower", "plant-other"),
    "fruit and vegetable": ("food-fruit", "food-vegetable"),
    "dish": ("food-prepared", "food-asian"),
    "sweet": ("food-sweet",),
    "drink": ("drink", "dishware"),
    "flag": ("country-flag", "flag", "subdivision-flag"),
    "building": ("place-building", "place-religious", "hotel"),
    "place": ("place-geographic", "place-map", "place-other"),
    "sky": ("sky-weather",),
    "clock": ("time",),
    "ground vehicle": ("transport-ground",),
    "ship and aircraft": ("transport-air", "transport-water"),
    "sport and game": ("sport", "game", "award-medal"),
    "event": ("event", "arts-crafts"),
    "clothing": ("clothing",),
    "music": ("music", "musical-instrument", "sound"),
    "device": ("computer", "phone", "light-video"),
    "paper": ("book-paper", "mail", "writing", "office", "money"),
    "tool": ("tool", "science", "medical", "lock", "household", "other-object"),
    "letter": ("alphanum", "keycap", "punctuation", "math", "currency", "gender"),
    "shape": ("geometric",),
    "arrow": ("arrow", "av-symbol"),
    "sign": ("transport-sign", "warning", "religion", "zodiac", "other-symbol"),
}
#: The classes' names in Chinese.
CHINESE: Mapping[str, str] = {
    "face": "脸",
    "heart": "心",
    "hand": "手",
    "person": "人物",
    "profession": "职业",
    "fantasy": "奇幻人物",
    "activity": "活动",
    "athlete": "运动员",
    "family": "家庭",
    "mammal": "哺乳动物",
    "bird": "鸟",
    "bug": "虫",
    "sea animal and reptile": "水族和爬行动物",
    "plant": "植物",
    "fruit and vegetable": "蔬果",
    "dish": "菜肴",
    "sweet": "甜点",
    "drink": "饮料",
    "flag": "旗",
    "building": "建筑",
    "place": "地点",
    "sky": "天空",
    "clock": "钟",
    "ground vehicle": "车",
    "ship and aircraft": "船和飞机",
    "sport and game": "体育和游戏",
    "event": "节日",
    "clothing": "服装",
    "music": "音乐",
    "device": "电器",
    "paper": "纸张",
    "tool": "工具",
    "letter": "字母",
    "shape": "图形",
    "arrow": "箭头",
    "sign": "标志",
}
_OF = {subgroup: name for name, subgroups in KINDS.items() for subgroup in subgroups}


def kind(row: Mapping) -> str:
    """The class of a line of the ledger: of a single by its subject, of any other picture by its array, "portraits".

    Raises:
        InvalidInput: the subgroup belongs to no class.
    """
    if row["array"] != "singles":
        return row["array"]
    if row["subgroup"] not in _OF:
        raise InvalidInput(f"the subgroup {row['subgroup']!r} belongs to no class: add it to experiments.art.KINDS")
    return _OF[row["subgroup"]]


def style(row: Mapping) -> str:
    """The style of a line of the ledger, as another choice of classes."""
    return row["style"]


def present(file: Path) -> Path:
    """A file of the art, which is there.

    Raises:
        InvalidInput: it is not.
    """
    if not file.is_file():
        made = f"`python -m experiments.data --out {file.parent}` makes the art, with node and npm"
        raise InvalidInput(f"there is no {file}: {made}; where it lies elsewhere, --set data=FOLDER names its folder")
    return file


def ledger(data: Path, arrays: Sequence[str], split: str | None = None) -> list[dict]:
    """The lines of the ledger that tell of some arrays, of one split or of all.

    Raises:
        InvalidInput: there is no art.
    """
    present(data / "ledger.jsonl")
    with (data / "ledger.jsonl").open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["array"] in arrays and split in (None, row["split"])]


def shrunk(pictures: np.ndarray, indices: Sequence[int], size: int) -> Tensor:
    """Some pictures of (N, S, S, 3) bytes as (n, 3, size, size) bytes, each pixel the mean of the block that it stands
    for.

    Raises:
        InvalidInput: size does not divide S.
    """
    side = pictures.shape[1]
    if side % size:
        raise InvalidInput(f"{side} px pictures do not average to {size} px: give a size that divides {side}")
    made = np.empty((len(indices), 3, size, size), np.uint8)
    for first in range(0, len(indices), 256):  # the whole may be larger than memory
        some = np.stack([pictures[i] for i in indices[first : first + 256]])
        blocks = some.reshape(-1, size, side // size, size, side // size, 3)
        made[first : first + 256] = blocks.mean((2, 4)).round().transpose(0, 3, 1, 2)
    return torch.from_numpy(made)


@dataclass(frozen=True, kw_only=True)
class Art(Labelled):
    """The art's pictures and their classes, in memory."""

    @classmethod
    def load(
        cls,
        data: Path,
        size: int,
        *,
        arrays: Sequence[str] = ("singles",),
        split: str = "train",
        by: Callable[[Mapping], str] = kind,
    ) -> Art:
        """What `python -m experiments.data` made, at ``size`` px.

        Args:
            arrays: of "singles", "portraits", "composites", in this order.
            split: "train"; nothing else may be trained on.
            by: line of the ledger -> class.

        Raises:
            InvalidInput: there is no such art; the size does not divide that of the pictures.
        """
        every = ledger(data, arrays)
        # The classes are those of the whole ledger, so that every split has the same.
        names = tuple(sorted({by(row) for row in every}))
        rows = [[row for row in every if row["array"] == array and row["split"] == split] for array in arrays]
        if not any(rows):
            raise InvalidInput(
                f"{data} has no picture of {', '.join(arrays)} in the split {split!r}: run `python -m experiments.data`"
            )
        found = [
            shrunk(np.load(present(data / f"{array}.npy"), mmap_mode="r"), [row["index"] for row in some], size)
            for array, some in zip(arrays, rows, strict=True)
        ]
        places = {name: i for i, name in enumerate(names)}
        labels = torch.tensor([places[by(row)] for some in rows for row in some])
        return cls(pictures=torch.cat(found), labels=labels, names=names)

    def only(self, names: Sequence[str]) -> Art:
        """The pictures of some classes.

        Raises:
            UnknownName: there is no such class.
        """
        for name in names:
            if name not in self.names:
                raise UnknownName("class", name, self.names)
        places = torch.tensor([self.names.index(name) for name in names])
        kept = torch.isin(self.labels, places)
        labels = (self.labels[kept, None] == places).int().argmax(1)
        return Art(pictures=self.pictures[kept], labels=labels, names=tuple(names))
