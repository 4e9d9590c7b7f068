"""Paint the pictures of `docs/control.md`, `docs/identity.md` and `docs/image-prompts.md` by the default model.

    (cd experiments && npm ci)
    python benchmarks/shown.py [controls] [portraits] [prompts]

One seed a column and one try each, none left out. Pictures that steer are painted too, by other words and seeds; the
people are the first of those who are asked for in `benchmarks/identity.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import danqing
from danqing.painting.adapters.hinting import hinted
from identity import OTHERS, SEED, drawn
from steering import saved

#: Of each control the words of what steers, and those of what is painted with it.
STEERED = {
    "edges": (("a fox face", "a bear face"), ("a house", "a castle"), ("a red car", "a yellow taxi")),
    "palette": (("a sunset", "a fish"), ("a green frog", "a house"), ("a strawberry", "a bird")),
}
#: What is painted to be an image prompt, and how it is shown: the words beside it with its weight; None for itself.
GIVEN = ("a fox face", "a house", "a green frog", "a strawberry")
BESIDE = (None, ("", 1.0), ("", 0.6), ("on a light blue background", 0.6), ("a blue bird", 0.6), ("a blue bird", 0.3))
PEOPLE = 5
#: What is asked for of every person, with which seed; None for the portrait that is given.
ASKED = (None, ("a portrait", 1), ("a laughing person, yellow background", 2), ("悲伤的人，蓝色背景", 3))


def painted(text: str, seed: int, **more: Any) -> Image.Image:
    return danqing.paint(text, seed=seed, finish=(), **more).image.convert("RGB")


def controls(folder: Path) -> None:
    """A row for each control, three times: what steers, its hint, without, and with it."""
    pictures = list[Image.Image]()
    for kind, pairs in STEERED.items():
        for given, asked in pairs:
            shown = painted(given, 5)
            shown.save(file := folder / "given.png")
            pictures += [shown, hinted(shown, kind), painted(asked, 3)]
            pictures.append(painted(asked, 3, controls=[f"{kind}:{file}"]))
    saved("controls.webp", pictures, 12)


def portraits(folder: Path) -> None:
    """A row for each person: the portrait that is given, what is painted with it, and the last words without it."""
    people, _ = drawn.twice(PEOPLE, SEED, OTHERS)
    pictures = list[Image.Image]()
    for given in map(Image.fromarray, drawn.pictures(people)):
        given.save(file := folder / "given.png")
        pictures += [painted(*each, faces=[str(file)]) if each else given for each in ASKED]
    saved("portraits.webp", pictures, len(ASKED))


def prompts(folder: Path) -> None:
    """A row for each picture: itself, and what is painted with it, by every weight and the words beside."""
    pictures = list[Image.Image]()
    for text in GIVEN:
        given = painted(text, 5)
        given.save(file := folder / "given.png")
        pictures += [painted(one[0], 3, image_prompts=[f"{file}:{one[1]}"]) if one else given for one in BESIDE]
    saved("image-prompts.webp", pictures, len(BESIDE))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, make in {"controls": controls, "portraits": portraits, "prompts": prompts}.items():
            if name in sys.argv[1:] or not sys.argv[1:]:
                make(Path(folder))


if __name__ == "__main__":
    main()
