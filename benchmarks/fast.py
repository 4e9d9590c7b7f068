"""Measure what steps that are not computed save, and how far they lead from the full picture, for `docs/fast.md`.

    python benchmarks/fast.py [SUBJECTS]

Of each way, on the default model: how many pictures its network is shown for one (both halves of guidance are two), the
seconds of a processor for it, and the distance to the full picture at the same seed, as PSNR of 24 prompts (seed 7) in
8 bits, 20 lg(255 / RMS). Then, of as many subjects of the judge as are said (48), each "a …" with seed 1, how often its
five likeliest hold what was asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import danqing
from danqing.measure.judge import load

PROMPTS = (
    "a cat", "a dog", "a red fox, 3d style", "an elephant, flat style", "a butterfly", "a penguin, noto style",
    "a whale, gradient style", "a horse", "a red apple", "a slice of pizza", "a cup of coffee, 3d style",
    "a birthday cake", "一只猫", "熊猫,3D风格", "猫头鹰", "西瓜", "汉堡包,3D风格", "一杯茶", "火车", "飞机,3D风格",
    "城堡,渐变风格", "钟", "玫瑰", "一只狗在房子的右边,绿色背景",
)  # fmt: skip
WAYS: Mapping[str, Mapping[str, Any]] = {
    "20 steps": {},
    "--fast": danqing.FAST,
    "16 steps": {"steps": 16},
    "14 steps": {"steps": 14},
    "10 steps": {"steps": 10},
}
#: Ways that are judged too.
JUDGED = ("20 steps", "--fast", "10 steps")


def painted(prompts: tuple[str, ...], seed: int, way: Mapping[str, Any]) -> np.ndarray:
    """(B, H, W, 3), 8 bits."""
    images = [danqing.paint(prompt, seed=seed, finish="none", **way).image.convert("RGB") for prompt in prompts]
    return np.stack([np.asarray(image) for image in images])


def psnr(found: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Of each picture, in dB."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / ((found.astype(float) - full.astype(float)) ** 2).mean((1, 2, 3)))


def main(count: int = 48) -> None:
    judge, painter = load(), danqing.load("danqing-mini")
    named = [(code, said["en"]) for code, said in judge.labels.items() if "en" in said]
    subjects = [named[i * len(named) // count] for i in range(count)]
    shown = list[int]()
    painter.denoiser.net.register_forward_pre_hook(lambda net, given: shown.append(len(given[0])))
    full = painted(PROMPTS, 7, {})
    print(
        f"| way | pictures shown | seconds | PSNR, median | worst | right among five of {count} |\n|---|---|---|---|---|---|"
    )
    for name, way in WAYS.items():
        shown.clear()
        start = time.process_time()
        distance = psnr(found := painted(PROMPTS, 7, way), full)
        seconds, each = (time.process_time() - start) / len(found), sum(shown) / len(found)
        right = ""
        if name in JUDGED:
            levels = torch.from_numpy(painted(tuple(f"a {said}" for _, said in subjects), 1, way)).movedim(-1, 1)
            right = str(int(judge.answers(levels).right("subject", [code for code, _ in subjects], 5).sum()))
        row = f"{each:.0f} | {seconds:.2f} | {np.median(distance):.1f} | {distance.min():.1f} | {right}"
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
