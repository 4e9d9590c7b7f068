"""The art that a painter is measured against: the folder that `python -m experiments.data` makes, and what its captions
are called here.

The captions are fixed, the plainest that say all that is asked, so that figures of different trainings compare.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InvalidFile

Row = Mapping[str, Any]
LANGUAGES = ("en", "zh")
#: Where the first thing is, seen from the second, in words.
RELATIONS = {
    "left": ("to the left of", "左边"),
    "right": ("to the right of", "右边"),
    "top": ("above", "上方"),
    "bottom": ("below", "下方"),
}
#: What is asked of a portrait beside the person, in the order in which it is said.
ATTRIBUTES = ("hair", "beard", "glasses")
COUNTS = {2: ("two", "两"), 3: ("three", "三")}
HAIR = re.compile(r"(bald)|(\w+) hair")
HOW = "`python -m experiments.data` makes it, of packages by name and version, in five minutes"
_PLURAL = re.compile(r"(^|\s)(people|men|women|children|fries|dice|mice|teeth|feet|[A-Za-z]*[^s']s)$")
_NAMED = re.compile(r"^[A-Z]|^(two|three|the)\b|[&’']|keycap|flag|^[^a-z]*$")


@dataclass(frozen=True)
class Art:
    """The ledger of a folder of art and its pictures.

    Args:
        folder: that holds ledger.jsonl, styles.json and an array of pictures (N, 128, 128, 3) for each name there.
    """

    folder: Path

    def __post_init__(self):
        for name in ("ledger.jsonl", "styles.json", "singles.npy"):
            if not (self.folder / name).is_file():
                raise InvalidFile(
                    f"{self.folder} holds no art to measure against, {name} is missing: {HOW}; --art names the folder"
                )

    @cached_property
    def rows(self) -> list[Row]:
        """The lines of the ledger.

        Raises:
            InvalidFile: it is damaged.
        """
        try:
            return [json.loads(line) for line in (self.folder / "ledger.jsonl").read_text("utf-8").splitlines()]
        except ValueError as error:
            raise InvalidFile(f"{self.folder / 'ledger.jsonl'} is damaged: {error}. {HOW}") from None

    @cached_property
    def styles(self) -> Mapping[str, Row]:
        """What each style is called, "en" and "zh"."""
        return {row["style"]: row for row in json.loads((self.folder / "styles.json").read_text("utf-8"))}

    @cached_property
    def sha256(self) -> str:
        """Of the ledger."""
        return hashlib.sha256((self.folder / "ledger.jsonl").read_bytes()).hexdigest()

    def of(self, array: str, *splits: str) -> list[Row]:
        """The lines of an array, of some splits or of all."""
        return [row for row in self.rows if row["array"] == array and (not splits or row["split"] in splits)]

    def pictures(self, rows: Sequence[Row]) -> Tensor:
        """Bytes (N, 3, H, W)."""
        arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in {r["array"] for r in rows}}
        return torch.from_numpy(np.stack([arrays[row["array"]][row["index"]] for row in rows])).movedim(-1, 1)

    def opacity(self, rows: Sequence[Row]) -> np.ndarray:
        """Of singles and their recoloured copies, (N, H, W) of bytes."""
        alpha = np.load(self.folder / "singles_alpha.npy", mmap_mode="r")
        return np.stack([alpha[row.get("of", row["index"])] for row in rows])

    # ------------------------------------------------------------------------------------------------------ captions

    def style(self, style: str, lang: str) -> str:
        return self.styles[style][lang][0]

    def single(self, row: Row, lang: str, colour: str = "") -> str:
        """ "a fox, 3d style", "a red fox, 3d style", 狐狸，3D风格."""
        name = row[f"label_{lang}"]
        if lang == "zh":
            return f"{colour and colour + '的'}{name}，{self.style(row['style'], lang)}"
        return f"{noun(f'{colour} {name}'.strip())}, {self.style(row['style'], lang)}"

    def scene(self, row: Row, lang: str) -> str:
        """ "a cat to the left of a tree, 3d style, on a light blue background"."""
        first, second = row["pieces"]
        words = RELATIONS[row["relation"]]
        if lang == "zh":
            said = f"{first['label_zh']}在{second['label_zh']}的{words[1]}"
        else:
            said = f"{noun(first['label_en'])} {words[0]} {noun(second['label_en'])}"
        return self._shown(said, row, lang)

    def several(self, row: Row, lang: str) -> str:
        """ "a cat, a tree and a house, 3d style, on a blue background"; "two cats, 3d style" of a row that is of the
        same things."""
        if row.get("same"):
            return self._shown(counted(row["pieces"][0][f"label_{lang}"], len(row["pieces"]), lang), row, lang)
        names = [noun(p["label_en"]) if lang == "en" else p["label_zh"] for p in row["pieces"]]
        comma, last = (", ", " and ") if lang == "en" else ("、", "和")
        return self._shown(last.join([comma.join(names[:-1]), names[-1]]), row, lang)

    def portrait(self, row: Row, lang: str) -> str:
        """ "a smiling woman with red hair and glasses, lorelei style"."""
        has = {name: words[lang] for name, words in row["attributes"].items()}
        said, rest = has.get("expression", ""), [has[name] for name in ATTRIBUTES if name in has]
        if lang == "zh":
            return "，".join(
                [f"一个{said + '的' if said else ''}{has['person']}", *rest, self.style(row["style"], lang)]
            )
        listed = " with " + ", ".join(rest[:-1]) + " and " * (len(rest) > 1) + rest[-1] if rest else ""
        who = noun(f"{said} {has['person']}".strip())
        return f"{who}{listed}, {self.style(row['style'], lang)}"

    def _shown(self, said: str, row: Row, lang: str) -> str:
        colours = [colour[lang] for colour in row["background"]["colours"]]
        if lang == "zh":
            ground = f"{colours[0]}背景" if len(colours) == 1 else f"{colours[0]}到{colours[1]}的渐变背景"
        else:
            plain = f"on {noun(f'{colours[0]} background')}"
            ground = plain if len(colours) == 1 else f"on a gradient background from {colours[0]} to {colours[1]}"
        style = [self.style(row["style"], lang)] if row["style"] else []
        return (", " if lang == "en" else "，").join([said, *style, ground])


def noun(name: str) -> str:
    """An English name with its article: "a fox", "an owl", "grapes"; names of one thing and plurals have none."""
    if _NAMED.search(name) or _PLURAL.search(name):
        return name
    return f"{'an' if name[0] in 'aeioAEIO' or name.startswith(('umbr', 'unam', 'up', 'hour')) else 'a'} {name}"


def counted(name: str, count: int, lang: str) -> str:
    """ "two cats", "three foxes", 两个猫."""
    if lang == "zh":
        return f"{COUNTS[count][1]}个{name}"
    ending = "es" if re.search("(s|x|ch|sh)$", name) else "s"
    plural = re.sub("y$", "ie", name) + "s" if re.search("[^aeiou]y$", name) else name + ending
    return f"{COUNTS[count][0]} {plural}"


def answers(attributes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What a portrait's attributes answer, question -> the judge's word: of the hair its colour alone."""
    said = {name: words["en"] for name, words in attributes.items()}
    hair = HAIR.search(said.pop("hair", ""))
    return said | ({"hair": hair[1] or hair[2]} if hair else {})
