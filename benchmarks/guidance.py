"""Measure what ways of guidance do to pictures of the default model, for `docs/guidance.md`.

    python benchmarks/guidance.py [SUBJECTS]

As many subjects of the judge as are said (48), evenly among those that it names in English, each "a …" with seed 1, in
every way. Of each way: how often the judge's five likeliest subjects hold the one that was asked for; the mean chroma
of CIELAB and the share of numbers at 0 or 255 within what is not white; and the seconds of a processor for a picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

import danqing
from danqing.measure.judge import load

ALL = "down_blocks.1,mid_block,up_blocks.1"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "scale 1": {"scale": 1},
    "scale 4": {},
    "scale 10": {"scale": 10},
    "scale 10, apg 0": {"scale": 10, "apg": 0},
    "scale 10, apg 0, momentum -0.5, norm 3": {"scale": 10, "apg": 0, "apg_momentum": -0.5, "apg_norm": 3},
    "scale 10, rescale 0.7": {"scale": 10, "rescale": 0.7},
    "scale 10, dynamic 0.95": {"scale": 10, "dynamic": 0.95},
    "scale 10, zero-star": {"scale": 10, "zero_star": True},
    "scale 4, zero-star": {"zero_star": True},
    "scale 4, zero-star, zero-steps 1": {"zero_star": True, "zero_steps": 1},
    "scale 4, ddim": {"solver": "ddim"},
    "cfgpp 0.4, ddim": {"solver": "ddim", "cfgpp": 0.4},
    "cfgpp 0.8, ddim": {"solver": "ddim", "cfgpp": 0.8},
    "scale 4, pag 3": {"pag": 3},
    "scale 1, pag 3": {"scale": 1, "pag": 3},
    "scale 1, pag 3, all layers": {"scale": 1, "pag": 3, "pag_layers": ALL},
    "scale 4, pag 3, all layers": {"pag": 3, "pag_layers": ALL},
}


def chroma(image: Image.Image) -> tuple[float, float]:
    """The mean chroma of CIELAB, and the share of numbers at an end, within what is not white."""
    levels = np.asarray(image.convert("RGB"))
    inside = (levels < 250).any(-1)
    if not inside.any():
        return 0.0, 0.0
    linear = levels[inside] / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    a, b = 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return float(np.hypot(a, b).mean()), float(((levels[inside] == 0) | (levels[inside] == 255)).mean())


def main(count: int = 48) -> None:
    judge = load()
    named = [(code, said["en"]) for code, said in judge.labels.items() if "en" in said]
    subjects = [named[i * len(named) // count] for i in range(count)]
    danqing.paint("a fox", finish="none")
    print(f"| way | right among five of {count} | chroma | at an end | seconds |\n|---|---|---|---|---|")
    for way, options in WAYS.items():
        start = time.process_time()
        images = [danqing.paint(f"a {name}", seed=1, finish="none", **options).image for _, name in subjects]
        seconds = (time.process_time() - start) / count
        levels = torch.stack(
            [torch.from_numpy(np.asarray(image.convert("RGB")).copy()).movedim(-1, 0) for image in images]
        )
        right = judge.answers(levels).right("subject", [code for code, _ in subjects], 5)
        colour, ends = np.mean([chroma(image) for image in images], 0)
        print(f"| {way} | {int(right.sum())} | {colour:.1f} | {ends:.1%} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
