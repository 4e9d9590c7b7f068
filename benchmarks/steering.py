"""Paint the pictures of `docs/guidance.md`, `docs/regions.md` and `docs/reference.md` by the default model.

    python benchmarks/steering.py

One seed and one try each, none left out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

import danqing
from danqing.pictures import sheet

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SUBJECTS = ("a red fox", "a cat in a hat", "a house by a lake")
WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"scale": 10},
    {"scale": 10, "apg": 0, "apg_momentum": -0.5, "apg_norm": 3},
    {"scale": 10, "rescale": 0.7},
    {"scale": 10, "dynamic": 0.95},
    {"solver": "ddim", "cfgpp": 0.4},
    {"zero_star": True, "zero_steps": 1},
    {"scale": 1},
    {"scale": 1, "pag": 3, "pag_layers": "down_blocks.1,mid_block,up_blocks.1"},
)
REGIONS = (
    ("left{}: a red fox", "right{}: a blue cat"),
    ("left{}: a house", "right{}: a mushroom"),
    ("left{}: a frog", "right{}: a bicycle"),
)
LOOKS = ("", "fidelity=0", "fidelity=0.5", "fidelity=1")


def paint(prompt: str, **options: Any) -> Image.Image:
    given: dict[str, Any] = {"seed": 3, **options}
    return danqing.paint(prompt, finish="none", **given).image


def saved(name: str, pictures: list[Image.Image], columns: int) -> None:
    sheet.contact(pictures, columns=columns).save(PICTURES / name, quality=80, method=6)


def main() -> None:
    saved("guidance.webp", [paint(subject, **way) for subject in SUBJECTS for way in WAYS], len(WAYS))
    wide: dict[str, Any] = {"width": 256, "seed": 5}
    painted = [
        paint("", regions=[one.format(view) for one in pair], **wide)
        for view in ("", ",view=whole")
        for pair in REGIONS
    ]
    painted += [paint(f"{a.split(': ')[1]} to the left of {b.split(': ')[1]}", **wide) for a, b in REGIONS]
    with tempfile.TemporaryDirectory() as folder:
        mask = Image.new("L", (256, 128))
        ImageDraw.Draw(mask).ellipse((70, 14, 186, 120), fill=255)
        mask.save(place := Path(folder) / "circle.png")
        painted.append(mask.convert("RGB"))
        painted.append(paint("", regions=f"{place}: a frog", **wide))
        painted.append(paint("a green tree", regions=f"{place},weight=0.5: a frog", **wide))
        saved("regions.webp", painted, len(REGIONS))
        frog = paint("a green frog", seed=2, style="flat")
        frog.save(seen := Path(folder) / "frog.png")
        rows = list[Image.Image]()
        for subject in ("a cat", "a house", "a red fox"):
            looks = ({"references": f"{seen},{one}"} if one else {} for one in LOOKS)
            rows += [frog, *(paint(subject, style="none", **look) for look in looks)]
        saved("reference.webp", rows, 1 + len(LOOKS))


if __name__ == "__main__":
    main()
