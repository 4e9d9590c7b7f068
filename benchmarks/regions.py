"""Measure on the default model how often each half of a picture shows what its region asks for, for `docs/regions.md`.

    python benchmarks/regions.py [PAIRS]

So many pairs of subjects (12), "a …" to the left and "a …" to the right, seed 1, painted wide and square: by regions
that see their own box, by regions that see all, and by one prompt that says both. Each half is held against the
subject that belongs there, among the judge's five likeliest; with the seconds of a processor for a picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import danqing
from danqing.measure.judge import load

SUBJECTS = ["fox", "cat", "house", "tree", "apple", "fish", "bird", "car", "banana", "mushroom", "frog", "bicycle"]
SIZES = {"256×128": (256, 128), "128×128": (128, 128)}


def by_regions(view: str) -> Callable[[str, str], dict[str, object]]:
    """The options of a picture of two subjects, each with its region."""
    return lambda a, b: {"prompt": "", "regions": [f"left,view={view}: a {a}", f"right,view={view}: a {b}"]}


WAYS: dict[str, Callable[[str, str], dict[str, object]]] = {
    "regions, each its own box": by_regions("box"),
    "regions, each all": by_regions("whole"),
    "one prompt": lambda a, b: {"prompt": f"a {a} to the left of a {b}"},
}


def main(count: int = 12) -> None:
    judge = load()
    codes = {said["en"]: code for code, said in judge.labels.items() if "en" in said}
    known = [name for name in SUBJECTS if name in codes]
    pairs = [(known[i % len(known)], known[(i * 5 + 1) % len(known)]) for i in range(count)]
    print(f"| way | size | halves right, of {2 * count} | seconds |\n|---|---|---|---|")
    for way, options in WAYS.items():
        for name, (width, height) in SIZES.items():
            start, halves = time.process_time(), list[Image.Image]()
            for a, b in pairs:
                given: dict[str, object] = {
                    **options(a, b),
                    "seed": 1,
                    "finish": "none",
                    "width": width,
                    "height": height,
                }
                image = danqing.paint(str(given.pop("prompt")), **given).image.convert("RGB")  # type: ignore[arg-type]
                halves += [
                    square(image.crop((0, 0, width // 2, height))),
                    square(image.crop((width // 2, 0, width, height))),
                ]
            seconds = (time.process_time() - start) / count
            levels = torch.stack([torch.from_numpy(np.asarray(half).copy()).movedim(-1, 0) for half in halves])
            right = judge.answers(levels).right("subject", [codes[name] for pair in pairs for name in pair], 5)
            print(f"| {way} | {name} | {int(right.sum())} | {seconds:.1f} |", flush=True)


def square(image: Image.Image, side: int = 128) -> Image.Image:
    """In the middle of a white square."""
    found = Image.new("RGB", (side, side), "white")
    found.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
