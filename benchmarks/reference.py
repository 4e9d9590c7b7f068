"""Measure on the default model how near a picture's colours come to those of a reference, for `docs/reference.md`.

    python benchmarks/reference.py [PICTURES]

So many references (8), "a green frog" and others, seed 2, each looked at by "a cat" and "a house", style none, seed 3.
Of each setting: the distance of palettes, the earth mover's in CIELAB between 256 pixels of each that are not white, to
the reference that is looked at; how often the judge's five likeliest subjects hold what the prompt asks for; seconds of
a processor.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment

import danqing
from danqing.measure.judge import load

REFERENCES = ["green frog", "blue fish", "red apple", "yellow banana", "purple grapes", "pink flower", "orange fox"]
REFERENCES += ["black cat"]
PROMPTS = {"cat": "a cat", "house": "a house"}
SETTINGS = ["none", "fidelity=0", "fidelity=0.5", "fidelity=1", "weight=0.5,fidelity=1"]


def colours(image: Image.Image) -> np.ndarray:
    """256 pixels that are not white, in CIELAB."""
    levels = np.asarray(image.convert("RGB"), np.float32) / 255
    lab = cv2.cvtColor(levels, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    inside = lab[lab[:, 0] < 97]
    draw = np.random.default_rng(0)
    return inside[draw.choice(len(inside), 256, len(inside) < 256)] if len(inside) else np.zeros((256, 3))


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The mean distance of the pixels, each matched with one of the other picture."""
    cost = np.linalg.norm(a[:, None] - b[None], axis=-1)
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def main(count: int = 8) -> None:
    judge = load()
    codes = {said["en"]: code for code, said in judge.labels.items() if "en" in said}
    given = [danqing.paint(f"a {name}", seed=2, finish="none") for name in REFERENCES[:count]]
    files = [picture.save(f"reference-{i}.png") for i, picture in enumerate(given)]
    print("| setting | distance of palettes | right among five | seconds |\n|---|---|---|---|")
    for setting in SETTINGS:
        start, painted, far = time.process_time(), list[Image.Image](), list[float]()
        for picture, file in zip(given, files, strict=True):
            for prompt in PROMPTS.values():
                looks: dict[str, Any] = {} if setting == "none" else {"references": f"{file},{setting}"}
                painted.append(danqing.paint(prompt, seed=3, finish="none", style="none", **looks).image.convert("RGB"))
                far.append(apart(colours(painted[-1]), colours(picture.image)))
        seconds = (time.process_time() - start) / len(painted)
        levels = torch.stack([torch.from_numpy(np.asarray(image).copy()).movedim(-1, 0) for image in painted])
        right = judge.answers(levels).right("subject", [codes[name] for name in PROMPTS] * count, 5)
        print(f"| {setting} | {np.mean(far):.1f} | {int(right.sum())} of {len(painted)} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
