"""Contact sheets: rows of pictures with their labels below, to check by eye what the ledger says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def sheet(pictures: Sequence[np.ndarray], labels: Sequence[str], columns: int = 10, lines: int = 3) -> Image.Image:
    """Pictures (128, 128, 3) in rows of `columns`, each with up to `lines` lines of label."""
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * 132, rows * (132 + 12 * lines)), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % columns * 132, index // columns * (132 + 12 * lines)
        canvas.paste(Image.fromarray(picture), (x, y))
        draw.rectangle((x, y, x + 128, y + 128), outline="#dddddd")
        for line in range(lines):
            draw.text((x + 2, y + 130 + 12 * line), label[line * 22 : line * 22 + 22], fill="black")
    return canvas


def array_sheet(
    out: Path, array: str, label: Callable[[dict], str], keep: Callable[[dict], bool], count: int, seed: int
) -> Image.Image:
    """A sheet of `count` random pictures of one array whose ledger lines pass `keep`."""
    with (out / "ledger.jsonl").open() as file:
        records = [r for r in map(json.loads, file) if r["array"] == array and keep(r)]
    chosen = random.Random(seed).sample(records, min(count, len(records)))
    pictures = np.load(out / f"{array}.npy", mmap_mode="r")
    return sheet([pictures[r["index"]] for r in chosen], [label(r) for r in chosen])
