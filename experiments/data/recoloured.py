"""Recoloured copies of the singles: their hues turned, so that a subject is seen in colours that it never has.

Flags are left out, and what is known by its colours alone. A copy's names and tags name no colour; the ones that it
has are measured. It belongs to the split of its picture.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.colours import NAMES, NEUTRAL, dominant, named, turn, turned, weights
from experiments.data.names import bare, coloured
from experiments.data.singles import SIZE, people, rank

COPIES = 2
TRIES = 8
ANGLES = np.arange(20.0, 345.0, 5.0)
#: Names without a hue that a turn could show.
DULL = NEUTRAL | {"beige", "brown"}
KEPT = re.compile(r"rainbow|traffic light|(red|blond|white) hair|palette|suit$|^splatter")


def turns(record: Mapping[str, Any], picture: np.ndarray, opacity: np.ndarray) -> Iterator[tuple[float, list[str]]]:
    """The turns of a picture that show it in other colours, and which, at most `COPIES`: the colours of no copy are any
    of the picture's or of another copy's but for greys."""
    skin = people(record)
    told = dominant(picture, opacity, skin)
    main = next((name for name in told if name not in NEUTRAL), None)
    if record["group"] == "flags" or KEPT.search(record["label_en"]) or main is None:
        return
    drawn = weights(picture, opacity, skin) * (named(picture) == list(NAMES).index(main))
    colour = np.average(picture.reshape(-1, 3), axis=0, weights=drawn.ravel())
    reached: dict[str, list[float]] = {}
    for degrees, place in zip(ANGLES.tolist(), named(np.rint(turn(colour, ANGLES)).astype(np.uint8)), strict=True):
        reached.setdefault(list(NAMES)[place], []).append(degrees)
    draw = random.Random(rank("turn", record["subject"], record["style"]))
    seen, made = set(told) - NEUTRAL, 0
    targets = [name for name in reached if name not in DULL | seen]
    for name in draw.sample(targets, min(TRIES, len(targets))):
        degrees = draw.choice(reached[name])
        new = dominant(turned(picture[::3, ::3], degrees, skin), opacity[::3, ::3], skin)  # a look before the work
        if name not in new or seen & set(new):
            continue
        new = dominant(turned(picture, degrees, skin), opacity, skin)
        if name in new and not seen & set(new):
            made, seen = made + 1, seen | (set(new) - NEUTRAL)
            yield degrees, new
        if made == COPIES:
            return


def copied(record: Mapping[str, Any], degrees: float, colours: Sequence[str]) -> dict[str, Any]:
    """The ledger line of a copy; its place in the array is not known yet."""
    words = {
        f"{key}_{lang}": [word for word in record[f"{key}_{lang}"] if not coloured(word)]
        for key in ("names", "tags") for lang in ("en", "zh")
    }  # fmt: skip
    labels = {key: bare(record[key]) for key in ("label_en", "label_zh")}
    line = {**record, **words, **labels, "array": "recoloured", "of": record["index"], "turn": degrees}
    return {**line, "colours": list(colours), "emoji": ""}


def _copies(data: Path, record: Mapping[str, Any]) -> list[tuple[dict[str, Any], np.ndarray]]:
    pictures, opacity = (np.load(data / f"{name}.npy", mmap_mode="r") for name in ("singles", "singles_alpha"))
    picture, cover = pictures[record["index"]], opacity[record["index"]]
    found = turns(record, picture, cover)
    return [(copied(record, by, names), turned(picture, by, people(record))) for by, names in found]


def make_recoloured(
    out: Path, singles: Sequence[Mapping[str, Any]], say: Callable[[str], None], workers: int = 2
) -> list[dict[str, Any]]:
    """Writes all copies into recoloured.npy and returns their ledger lines."""
    part, lines = out / "recoloured.part.npy", []
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (COPIES * len(singles), SIZE, SIZE, 3))
    with ProcessPoolExecutor(workers) as pool:
        for done, copies in enumerate(pool.map(partial(_copies, out), singles, chunksize=64)):
            for line, picture in copies:
                array[len(lines)] = picture
                lines.append({**line, "index": len(lines)})
            if done % 2000 == 0:
                say(f"recoloured {done}/{len(singles)}")
    array.flush()
    np.save(out / "recoloured.npy", array[: len(lines)])
    part.unlink()
    return lines
