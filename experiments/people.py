"""People who are drawn again with another expression, other clothes and another ground."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from experiments.captions import LANGUAGES, caption
from experiments.data.attributes import SETS
from experiments.data.portraits import drawn, person, plan, render

MODULES = Path(__file__).parent / "node_modules"
#: What is said of a person that the second drawing has of another.
FREE = ("expression", "clothes", "background")

#: Captions that say next to nothing of whom they are of.
BARE = {
    "en": ("", "a portrait", "portrait", "a portrait of a person", "a person", "a face"),
    "zh": ("", "肖像", "一个人的肖像", "一个人", "头像"),
}


def otherwise(line: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """The same person with the expression, the clothes and the ground of another of the same set and sex, and the words
    for them."""
    sex = line["attributes"]["person"]["en"]
    while True:
        options, said, _ = person(line["style"], draw)
        same = said.get("expression") == line["attributes"].get("expression")
        if said["person"]["en"] == sex and not same:
            break
    return _with(line, {"options": options, "attributes": said}, FREE)


def mixed(line: Mapping[str, Any], other: Mapping[str, Any], draw: random.Random) -> dict[str, Any]:
    """A person of whom some of the free, at least one and not all, are as in another drawing."""
    while True:
        names = [name for name in FREE if draw.random() < 0.5]
        if 0 < len(names) < len(FREE):
            return _with(line, other, names)


def _with(line: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The same line with what is free of another of the same set."""
    options = _options(line["style"])
    free = set[str]().union(*(options[name] for name in names))
    made = copy.deepcopy(dict(line))
    kept = {name: value for name, value in line["options"].items() if name not in free}
    made["options"] = {**kept, **{name: value for name, value in other["options"].items() if name in free}}
    own = {name: words for name, words in made["attributes"].items() if name not in names}
    said = other["attributes"]
    made["attributes"] = {**own, **{name: said[name] for name in names if name in said}}
    return made


def _options(style: str) -> dict[str, set[str]]:
    """The options of a set by which what is free is drawn."""
    table = SETS[style]
    face = {table["mouth"], f"{table['mouth']}Probability"}
    face |= {name for pins in table.get("face_pins", {}).values() for name in pins}
    face |= {table["brows"][0]} if "brows" in table else set()
    clothes = {table["clothes"][0]} if "clothes" in table else set[str]()
    return {"expression": face, "clothes": clothes, "background": {"backgroundColor"}}


def told(line: Mapping[str, Any], draw: random.Random) -> str:
    """What a person is asked for with beside a portrait: in half of the cases what only the painted one has, in a
    quarter its whole caption, else next to nothing; a third of what names no style is said as it is to the default
    one."""
    lang, part = draw.choice(LANGUAGES), draw.random()
    if part < 0.25:
        return caption(line, draw, lang)
    if part < 0.75:
        said = {name: words for name, words in line["attributes"].items() if name in ("person", *FREE)}
        text = caption({**line, "attributes": said, "style": ""}, draw, lang)
    else:
        text = draw.choice(BARE[lang])
    usual = ", 3d style" if lang == "en" else "，3D风格"
    return text + usual * (draw.random() < 1 / 3)


def twice(count: int, seed: int, others: int) -> list[list[dict[str, Any]]]:
    """So many people, as they are and otherwise: lines of the ledger."""
    people, draw = plan(MODULES, count, seed), random.Random(others)
    return [people, [otherwise(line, draw) for line in people]]


def pictures(lines: Iterable[dict[str, Any]], workers: int = 1) -> np.ndarray:
    """What lines of the ledger show, (N, 128, 128, 3) of bytes."""
    jobs = drawn(MODULES, list(lines))
    if workers == 1:
        return np.stack([render(job) for job in jobs])
    with ProcessPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(render, jobs, chunksize=64)))


def drawings(folder: Path, name: str, count: int, seed: int, others: int, workers: int = 2) -> None:
    """Draw people twice: NAME.npy, (N, 2, 128, 128, 3) of bytes, and NAME.json, the two lines of each."""
    both = twice(count, seed, others)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(both), encoding="utf-8")
    np.save(folder / f"{name}.npy", np.stack([pictures(lines, workers) for lines in both], 1))
