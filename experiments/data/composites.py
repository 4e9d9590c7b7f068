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

from experiments.data.sources import ART
from experiments.nouns import countable

BY_PACKAGE = {source.package: source for source in ART}
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
RAMP = np.linspace(0, 1, SIZE, dtype=np.float32)
ALONG = {
    "down": np.broadcast_to(RAMP[:, None, None], (SIZE, SIZE, 1)),
    "right": np.broadcast_to(RAMP[None, :, None], (SIZE, SIZE, 1)),
    "diagonal": ((RAMP[:, None] + RAMP) / 2)[..., None],
}
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
CROWDED = {"flags", "symbols"}  # half of all subjects, a smaller part of the scenes
SAME_STYLE = 0.9
RECOLOURED = 0.35  # of the pieces, where there are copies
PLAIN = 0.8  # of the backgrounds have one colour
#: The kinds of scenes and how many of them there are.
KINDS = {"full": 0.2, "one": 0.14, "two": 0.34, "same": 0.14, "overlap": 0.08, "three": 0.1}
#: What a ledger line says of each piece, as the picture's own line says it.
SAID = ("array", "index", "subject", "style", "label_en", "label_zh", "group", "subgroup", "package")

Record = Mapping[str, Any]


def plan_background(rng: random.Random) -> dict[str, Any]:
    """A plain colour or a gradient between two, by name and value, with its direction."""
    chosen = rng.sample(list(COLOURS), 1 if rng.random() < PLAIN else 2)
    jitter = [[max(0, min(255, round(v + rng.uniform(-8, 8)))) for v in COLOURS[name][1]] for name in chosen]
    return {
        "kind": "plain" if len(chosen) == 1 else "gradient",
        "colours": [{"en": name, "zh": COLOURS[name][0], "rgb": rgb} for name, rgb in zip(chosen, jitter, strict=True)],
        "direction": rng.choice(list(ALONG)),
    }


class Choice:
    """The pictures that pieces are drawn from, by what a scene asks for; those that are trained on alone."""

    def __init__(self, records: Sequence[Record]):
        trained = [record for record in records if record["split"] == "train"]
        self.all = [record for record in trained if record["array"] == "singles"]
        self.usual = [record for record in self.all if record["group"] not in CROWDED] or self.all
        self.many = [record for record in self.usual if several(record)] or self.usual
        self.by_style: dict[str, list[Record]] = {}
        for record in self.usual:
            self.by_style.setdefault(record["style"], []).append(record)
        self.copies: dict[int, list[Record]] = {}
        for record in trained:
            if record["array"] == "recoloured":
                self.copies.setdefault(record["of"], []).append(record)

    def coloured(self, record: Record, rng: random.Random) -> Record:
        """The picture itself, or one of its recoloured copies."""
        copies = self.copies.get(record["index"])
        return rng.choice(copies) if copies and rng.random() < RECOLOURED else record

    def company(self, first: Record, count: int, rng: random.Random) -> list[Record]:
        """``count`` pictures of different subjects, mostly of one style, the given one first."""
        pool = self.usual if rng.random() > SAME_STYLE else self.by_style.get(first["style"], self.usual)
        others = {record["subject"]: record for record in rng.sample(pool, min(len(pool), 3 * count))}
        others.pop(first["subject"], None)
        return [first, *others.values(), *[first] * count][:count]


def several(record: Record) -> bool:
    """Whether a scene can show more than one of a subject and say so in both languages."""
    if record["group"] == "people-body":
        return False
    return countable(record["label_en"], "en") and countable(record["label_zh"], "zh", record["subgroup"])


def piece(record: Record, place: str, x: float, y: float, scale: float, rng: random.Random) -> dict[str, Any]:
    """A picture in a scene: (x, y) is the centre, all three in fractions of the scene."""
    slack = 0.0 if place == "full" else 0.03
    said = {name: record[name] for name in SAID}
    words = {name: record.get(name, []) for name in ("names_en", "names_zh", "colours")}
    where = {"x": round(x + rng.uniform(-slack, slack), 3), "y": round(y + rng.uniform(-slack, slack), 3)}
    return {**said, **words, "of": record.get("of", record["index"]), "place": place, **where, "scale": round(scale, 3)}


def scene(choice: Choice, kind: str, rng: random.Random) -> tuple[list[dict[str, Any]], str | None]:
    """The pieces of a scene of a kind, and the relation of the first to the second where it has one."""
    chosen = rng.choice({"full": choice.all, "same": choice.many}.get(kind, choice.usual))
    first = choice.coloured(chosen, rng)
    if kind == "full":
        return [piece(first, "full", 0.5, 0.5, 1.0, rng)], None
    if kind == "one":
        place = rng.choice(list(PLACES))
        return [piece(first, place, *PLACES[place], rng.uniform(0.3, 0.85 if place == "centre" else 0.6), rng)], None
    if kind == "same":
        places = rng.choice((*TRIPLES, *OPPOSITE.items()))
        scale = rng.uniform(0.3, 0.4) if len(places) == 3 else rng.uniform(0.36, 0.48)
        return [piece(first, place, *PLACES[place], scale, rng) for place in places], None
    company = [choice.coloured(record, rng) for record in choice.company(chosen, 3 if kind == "three" else 2, rng)]
    if kind == "three":
        places = rng.sample(rng.choice(TRIPLES), 3)
        sizes = [rng.uniform(0.3, 0.4) for _ in places]
        return [piece(r, p, *PLACES[p], s, rng) for r, p, s in zip(company, places, sizes, strict=True)], None
    if kind == "overlap":
        aside = rng.choice((-1, 1))
        back = piece(company[1], "centre", 0.5 - 0.06 * aside, 0.42, rng.uniform(0.62, 0.74), rng)
        return [back, piece(company[0], "bottom", 0.5 + 0.16 * aside, 0.74, rng.uniform(0.38, 0.46), rng)], "behind"
    relation = rng.choice(list(OPPOSITE))
    places = (relation, OPPOSITE[relation])
    return [
        piece(r, p, *PLACES[p], rng.uniform(0.38, 0.5), rng) for r, p in zip(company, places, strict=True)
    ], relation


def plan(records: Sequence[Record], count: int = COUNT, seed: int = SEED) -> list[dict[str, Any]]:
    """The ledger lines of `count` composites, made of training pictures alone, of singles and their recoloured copies:
    the same for the same ledger and seed."""
    rng, choice = random.Random(seed), Choice(records)
    lines = []
    for index, kind in enumerate(rng.choices(list(KINDS), list(KINDS.values()), k=count)):
        pieces, relation = scene(choice, kind, rng)
        styles, packages = {p["style"] for p in pieces}, sorted({p["package"] for p in pieces})
        sources = [BY_PACKAGE[package] for package in packages]
        lines.append({
            "kind": "composite", "array": "composites", "index": index, "scene": kind, "pieces": pieces,
            "style": styles.pop() if len(styles) == 1 else "", "relation": relation, "same": kind == "same",
            "background": plan_background(rng), "split": "train", "seed": seed,
            "licence": " AND ".join(sorted({source.licence for source in sources})),
            "author": "; ".join(sorted({source.author for source in sources})),
            "package": "+".join(packages),
        })  # fmt: skip
    return lines


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


def compose(record: Record, art: Mapping[str, np.ndarray]) -> np.ndarray:
    """The composite (128, 128, 3) uint8 of a ledger line, from the arrays of pictures on white that its pieces name,
    and the opacity of the singles, "singles_alpha", which copies share."""
    canvas = paint_background(record["background"])
    for part in record["pieces"]:
        ink = cut_out(art[part["array"]][part["index"]], art["singles_alpha"][part["of"]])
        if (size := round(SIZE * part["scale"])) != SIZE:
            ink = resized(ink[bounds(ink[..., 3])], size)
        lay(canvas, ink, part["x"], part["y"])
    return canvas


def load_art(data: Path) -> dict[str, np.ndarray]:
    """The arrays that composites are made of; copies where there are any."""
    files = {name: data / f"{name}.npy" for name in ("singles", "recoloured", "singles_alpha")}
    return {name: np.load(file, mmap_mode="r") for name, file in files.items() if file.exists()}


def make_composites(out: Path, records: Sequence[Record], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Renders all composites of singles and their copies into composites.npy and returns their ledger lines."""
    lines, art = plan(records), load_art(out)
    part = out / "composites.part.npy"
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (len(lines), SIZE, SIZE, 3))
    for line in lines:
        array[line["index"]] = compose(line, art)
        if line["index"] % 4000 == 0:
            say(f"composites {line['index']}/{len(lines)}")
    array.flush()
    part.replace(out / "composites.npy")
    return lines
