"""Composites: one to three trained subjects placed on coloured backgrounds, described by the parameters that made them.

They teach what the single pictures on white cannot: colour of the background, place, relation, more than one thing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 128
COUNT = 12_000
SEED = 20
COLOURS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "red": ("红色", (220, 50, 47)), "orange": ("橙色", (245, 140, 40)), "yellow": ("黄色", (250, 215, 60)),
    "green": ("绿色", (60, 165, 75)),
    "light green": ("浅绿色", (185, 230, 165)), "teal": ("青色", (40, 165, 165)), "light blue": ("浅蓝色", (170, 215,
    250)),
    "blue": ("蓝色", (45, 105, 220)), "dark blue": ("深蓝色", (20, 35, 90)), "purple": ("紫色", (125, 65, 180)),
    "pink": ("粉色", (250, 175, 200)), "brown": ("棕色", (130, 85, 50)), "beige": ("米色", (240, 225, 195)),
    "grey": ("灰色", (150, 150, 150)),
    "black": ("黑色", (15, 15, 18)), "white": ("白色", (255, 255, 255)),
}  # fmt: skip
PLACES = {  # centres, in fractions of the picture
    "left": (0.26, 0.5), "right": (0.74, 0.5), "top": (0.5, 0.26), "bottom": (0.5, 0.74), "centre": (0.5, 0.5),
    "top left": (0.25, 0.25), "top right": (0.75, 0.25), "bottom left": (0.25, 0.75), "bottom right": (0.75, 0.75),
}  # fmt: skip
TRIPLES = (
    ("left", "centre", "right"), ("top", "centre", "bottom"), ("top left", "top right", "bottom"), ("top",
    "bottom left", "bottom right"),
    ("top left", "centre", "bottom right"), ("left", "top right", "bottom right"),
)  # fmt: skip
CROWDED = {"flags", "symbols"}  # half of all subjects, a smaller part of the scenes
SAME_STYLE = 0.9


def scale_for(count: int, rng: random.Random) -> float:
    """How large a piece is drawn: 0.45-0.7 of the picture alone, less in company."""
    low, high = {1: (0.4, 0.7), 2: (0.38, 0.5), 3: (0.3, 0.4)}[count]
    return round(low + (high - low) * rng.random(), 3)


def plan_background(rng: random.Random) -> dict[str, Any]:
    """A plain colour (two in three) or a gradient between two, by name and value, with its direction."""
    names = list(COLOURS)
    first = rng.choice(names)
    second = rng.choice([name for name in names if name != first])
    chosen = [first] if rng.random() < 2 / 3 else [first, second]
    jitter = [[max(0, min(255, round(v + rng.uniform(-8, 8)))) for v in COLOURS[name][1]] for name in chosen]
    return {
        "kind": "plain" if len(chosen) == 1 else "gradient",
        "colours": [{"en": name, "zh": COLOURS[name][0], "rgb": rgb} for name, rgb in zip(chosen, jitter, strict=True)],
        "direction": rng.choice(("down", "right", "diagonal")),
    }


def plan(singles: Sequence[Mapping[str, Any]], count: int = COUNT, seed: int = SEED) -> list[dict[str, Any]]:
    """The ledger lines of `count` composites, made of training pictures alone: the same for the same ledger and seed.

    One third are single subjects at full size on a coloured background; the rest has one to three placed pieces.
    """
    rng = random.Random(seed)
    trained = [record for record in singles if record["split"] == "train"]
    usual = [record for record in trained if record["group"] not in CROWDED] or trained
    by_style: dict[str, list[Mapping[str, Any]]] = {}
    for record in usual:
        by_style.setdefault(record["style"], []).append(record)
    lines = []
    for index in range(count):
        kind = rng.random()
        pieces_count = 1 if kind < 0.5 else 2 if kind < 0.85 else 3
        relation = None
        if kind < 1 / 3:
            places = ["full"]
        elif pieces_count == 1:
            places = [rng.choice(list(PLACES))]
        elif pieces_count == 2:
            relation = rng.choice(("left", "right", "top", "bottom"))
            places = [relation, {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[relation]]
        else:
            places = list(rng.choice(TRIPLES))
            rng.shuffle(places)
        first = rng.choice(trained if places == ["full"] else usual)
        chosen = [first]
        mixed = pieces_count > 1 and rng.random() > SAME_STYLE
        while len(chosen) < pieces_count:
            other = rng.choice(usual if mixed else by_style.get(first["style"], usual))
            if (
                other["subject"] not in {c["subject"] for c in chosen}
                or len({r["subject"] for r in usual}) < pieces_count
            ):
                chosen.append(other)
        pieces = []
        for record, place in zip(chosen, places, strict=True):
            x, y = PLACES.get(place, (0.5, 0.5))
            size = 1.0 if place == "full" else scale_for(pieces_count, rng)
            slack = 0.0 if place == "full" else 0.03
            pieces.append({
                "index": record["index"], "subject": record["subject"], "style": record["style"],
                "label_en": record["label_en"],
                "label_zh": record["label_zh"], "subgroup": record["subgroup"], "package": record["package"],
                "place": place,
                "x": round(x + rng.uniform(-slack, slack), 3), "y": round(y + rng.uniform(-slack, slack), 3),
                "scale": size,
            })  # fmt: skip
        style = first["style"] if len({piece["style"] for piece in pieces}) == 1 else ""
        lines.append({
            "kind": "composite", "array": "composites", "index": index, "style": style, "pieces": pieces,
            "relation": relation,
            "background": plan_background(rng), "split": "train", "seed": seed,
            "licence": " AND ".join(sorted({record["licence"] for record in chosen})),
            "author": "; ".join(sorted({record["author"] for record in chosen})),
            "package": "+".join(sorted({record["package"] for record in chosen})),
        })  # fmt: skip
    return lines


def paint_background(background: Mapping[str, Any]) -> np.ndarray:
    """The background as (128, 128, 3) float32 in 0..255."""
    colours = np.array([colour["rgb"] for colour in background["colours"]], dtype=np.float32)
    if len(colours) == 1:
        return np.broadcast_to(colours[0], (SIZE, SIZE, 3)).copy()
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)
    down, right = np.meshgrid(ramp, ramp, indexing="ij")
    t = {"down": down, "right": right, "diagonal": (down + right) / 2}[background["direction"]][..., None]
    return colours[0] * (1 - t) + colours[1] * t


def compose(record: Mapping[str, Any], pictures: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """The composite (128, 128, 3) uint8 of a ledger line, from the single pictures (on white) and their opacity."""
    canvas = paint_background(record["background"])
    for piece in record["pieces"]:
        picture, alpha = (
            pictures[piece["index"]].astype(np.float32),
            opacity[piece["index"]].astype(np.float32)[..., None] / 255,
        )
        ink = np.concatenate([picture - 255 * (1 - alpha), alpha * 255], axis=-1).clip(
            0, 255
        )  # premultiplied: white taken off
        size = round(SIZE * piece["scale"])
        if size != SIZE:
            box = _bounds(ink[..., 3])
            ink = ink[box]
            fit = size / max(ink.shape[:2])
            width, height = max(1, round(ink.shape[1] * fit)), max(1, round(ink.shape[0] * fit))
            bands = [
                Image.fromarray(ink[..., c]).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
                for c in range(4)
            ]
            ink = np.stack([np.asarray(band) for band in bands], axis=-1).clip(0, 255)
        height, width = ink.shape[:2]
        left = min(max(round(piece["x"] * SIZE - width / 2), 0), SIZE - width)
        top = min(max(round(piece["y"] * SIZE - height / 2), 0), SIZE - height)
        under = canvas[top : top + height, left : left + width]
        canvas[top : top + height, left : left + width] = ink[..., :3] + under * (1 - ink[..., 3:] / 255)
    return np.rint(canvas).clip(0, 255).astype(np.uint8)


def _bounds(alpha: np.ndarray) -> tuple[slice, slice]:
    """The rectangle that holds everything drawn."""
    rows, columns = (np.flatnonzero((alpha > 8).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def make_composites(
    out: Path, singles: Sequence[Mapping[str, Any]], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Renders all composites into composites.npy and returns their ledger lines."""
    lines = plan(singles)
    pictures, opacity = (np.load(out / f"{name}.npy", mmap_mode="r") for name in ("singles", "singles_alpha"))
    part = out / "composites.part.npy"
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (len(lines), SIZE, SIZE, 3))
    for line in lines:
        array[line["index"]] = compose(line, pictures, opacity)
        if line["index"] % 4000 == 0:
            say(f"composites {line['index']}/{len(lines)}")
    array.flush()
    part.replace(out / "composites.npy")
    return lines
