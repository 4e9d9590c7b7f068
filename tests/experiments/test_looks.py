"""Laws of the judge of looks."""

import numpy as np
from experiments.looks import Looks

STYLES = ("flat", "3d", "gradient", "noto") * 8


def drawn(style: str, seed: int) -> np.ndarray:
    """A disc of some place, size and colour, (128, 128, 3) of bytes: plain, shaded, or striped."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128]
    centre, size, colour = draw.uniform(48, 80, 2), draw.uniform(20, 44), draw.uniform(0, 200, 3)
    light = {"flat": 0 * x, "noto": 60 * (x // 4 % 2)}.get(style, 80 * (y / 128))
    inside = np.hypot(y - centre[0], x - centre[1]) < size
    return np.where(inside[..., None], np.clip(colour + light[..., None], 0, 255), 255).astype(np.uint8)


def test_looks_are_told_by_texture_alone_and_the_same_drawings_are_one_look():
    looks = Looks(np.stack([drawn(style, i) for i, style in enumerate(STYLES)]), STYLES)
    assert looks.names == ["3d", "flat", "noto"]
    told = looks.of(np.stack([drawn(style, 1000 + i) for i, style in enumerate(STYLES)]))
    assert (told == looks.labels(STYLES)).float().mean() > 0.75
    assert looks.labels(["3d"]) == looks.labels(["gradient"]) != looks.labels(["flat"])
