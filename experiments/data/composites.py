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


RAMP = np.linspace(0, 1, SIZE, dtype=np.float32)
ALONG = {
    "down": np.broadcast_to(RAMP[:, None, None], (SIZE, SIZE, 1)),
    "right": np.broadcast_to(RAMP[None, :, None], (SIZE, SIZE, 1)),
    "diagonal": ((RAMP[:, None] + RAMP) / 2)[..., None],
}


def paint_background(background: Mapping[str, Any]) -> np.ndarray:
    """The background, (128, 128, 3) uint8."""
    first, *rest = (np.array(colour["rgb"], np.float32) for colour in background["colours"])
    if not rest:
        return np.full((SIZE, SIZE, 3), first, np.uint8)
    return np.rint(first + (rest[0] - first) * ALONG[background["direction"]]).astype(np.uint8)


def cut_out(picture: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """A picture on white (H, W, 3) and its opacity (H, W) as premultiplied colours and opacity, (H, W, 4) uint8."""
    clear = np.repeat(255 - opacity, 3).reshape(picture.shape)  # whole rows at once: ten times as fast as broadcasting
    ink = np.empty((*opacity.shape, 4), np.uint8)
    ink[..., :3] = np.maximum(picture, clear) - clear
    ink[..., 3] = opacity
    return ink


def bounds(opacity: np.ndarray) -> tuple[slice, slice]:
    """The rectangle that holds everything drawn; the whole where nothing is."""
    drawn = opacity > 8
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def resized(ink: np.ndarray, longest: int) -> np.ndarray:
    """Premultiplied colours (H, W, 4) so large that the longer side is ``longest``."""
    height, width = ink.shape[:2]
    fit = longest / max(width, height)
    size = max(1, round(width * fit)), max(1, round(height * fit))
    # As CMYK, because Pillow takes the fourth channel of that for a number like the others.
    bands = Image.frombuffer("CMYK", (width, height), np.ascontiguousarray(ink), "raw", "CMYK", 0, 1)
    return np.asarray(bands.resize(size, Image.Resampling.BICUBIC))


def lay(canvas: np.ndarray, ink: np.ndarray, x: float, y: float) -> None:
    """Put premultiplied colours (h, w, 4) over the canvas (128, 128, 3), their centre at (x, y) or as near as fits:
    ``under <- ink + under (255 - opacity) / 255``."""
    height, width = ink.shape[:2]
    left = min(max(round(x * SIZE - width / 2), 0), SIZE - width)
    top = min(max(round(y * SIZE - height / 2), 0), SIZE - height)
    under = canvas[top : top + height, left : left + width]
    rest = under * (255 - ink[..., 3:].astype(np.uint16)) + 128
    under[:] = np.minimum(((rest + (rest >> 8)) >> 8) + ink[..., :3], 255)  # exactly round(rest / 255)


def compose(record: Mapping[str, Any], pictures: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """The composite (128, 128, 3) uint8 of a ledger line, from the single pictures (on white) and their opacity."""
    canvas = paint_background(record["background"])
    for piece in record["pieces"]:
        ink = cut_out(pictures[piece["index"]], opacity[piece["index"]])
        if (size := round(SIZE * piece["scale"])) != SIZE:
            ink = resized(ink[bounds(ink[..., 3])], size)
        lay(canvas, ink, piece["x"], piece["y"])
    return canvas


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
