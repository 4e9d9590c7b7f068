"""Draw every hint of four pictures for `docs/hints.md`.

    python benchmarks/hints.py

Three are painted by the default model, one is rendered; one seed and one try each. Lines are drawn at the size that is
shown, poses from points, and what is cut off its background is the segment.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from experiments.depth import rendered
from PIL import Image, ImageDraw

import danqing
from danqing.finish.cut import CutOut
from danqing.hint.records import HINTS, hint
from danqing.painting.adapters.hinting import hinted

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "hints.webp"
PROMPTS, SEED, SCENE = ("a red fox, 3d style", "a house, flat style", "a smiling woman"), 7, 58
SIDE, COLUMNS, LINE = 144, 4, 14
#: What is left out: the first two show the picture, the third its transparency, the last finds photographed faces.
OUT = ("given", "drawn-lines", "inpaint", "face")
#: A person, (x, y) of 100, in OpenPose's order.
PERSON = (
    *((50, 14), (50, 27), (40, 28), (32, 42), (27, 56), (60, 28), (70, 40), (78, 30), (44, 54)),
    *((42, 72), (40, 92), (57, 54), (61, 72), (66, 91), (48, 12), (52, 12), (45, 14), (55, 14)),
)


def pictures() -> list[Image.Image]:
    painted = [danqing.paint(prompt, seed=SEED).image.convert("RGB") for prompt in PROMPTS]
    return [*painted, Image.fromarray((255 * rendered(SCENE, 512)[0]).astype(np.uint8))]


def cells(given: list[Image.Image], folder: Path) -> Iterator[tuple[str, list[Image.Image]]]:
    """The name of each hint, and what it draws."""
    yield "picture", given
    points = [number for x, y in PERSON for number in (x, y, 1)]
    person = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 100, "canvas_height": 100}
    (folder / "pose.json").write_text(json.dumps(person), "utf-8")
    for name in HINTS:
        if name not in OUT:
            kind = f"pose:points={folder / 'pose.json'}" if name == "pose" else name
            shown = {"pose": given[:1], "segmentation": [*map(CutOut(), given)]}.get(name, given)
            size = (SIDE - 2, SIDE - 2) if HINTS[name].made == "lines" else None
            yield name, [hinted(image, hint(kind), size) for image in shown]
    yield "palette:form=bands", [hinted(image, "palette:form=bands") for image in given]


def sheet(folder: Path) -> Image.Image:
    """A row of four pictures for each hint, in two columns, its name above them."""
    found = [*cells(pictures(), folder)]
    rows, wide = -(-len(found) // 2), COLUMNS * SIDE
    page = Image.new("RGB", (2 * wide + LINE, rows * (SIDE + LINE)), "white")
    for n, (name, images) in enumerate(found):
        left, top = n // rows * (wide + LINE), n % rows * (SIDE + LINE)
        ImageDraw.Draw(page).text((left + 2, top), name, fill="black")
        for k, image in enumerate(images):
            small = image.resize((SIDE - 2, SIDE - 2), Image.Resampling.LANCZOS)
            page.paste(small, (left + k * SIDE, top + LINE))
    return page


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = sheet(Path(folder))
    data = io.BytesIO()
    page.save(data, "WEBP", quality=80, method=6)
    PICTURE.write_bytes(data.getvalue())
    print(f"{PICTURE.name}: {page.width}×{page.height}, {len(data.getvalue())} bytes")


if __name__ == "__main__":
    main()
