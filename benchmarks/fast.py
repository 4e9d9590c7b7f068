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
    "forecast 2": {"forecast": 2},
    "forecast 3, which is --fast": danqing.FAST,
    "forecast 2, order 0": {"forecast": 2, "forecast_order": 0},
    "forecast 2, order 2": {"forecast": 2, "forecast_order": 2},
    "forecast 3, order 0": {"forecast": 3, "forecast_order": 0},
    "forecast 4": {"forecast": 4},
    "forecast 4, order 0": {"forecast": 4, "forecast_order": 0},
    "11 steps": {"steps": 11},
    "8 steps": {"steps": 8},
    "6 steps": {"steps": 6},
    "base-every 2": {"base_every": 2},
    "base-every 3, base-below 0.5": {"base_every": 3, "base_below": 0.5},
    "forecast 2, base-every 2": {"forecast": 2, "base_every": 2},
    "deep 2": {"deep_every": 2},
    "deep 2, outer 2": {"deep_every": 2, "deep_outer": 2},
    "deep 3": {"deep_every": 3},
    "deep 3, outer 2": {"deep_every": 3, "deep_outer": 2},
    "deep 2, forecast 2": {"deep_every": 2, "forecast": 2},
    "deep 2, outer 2, forecast 2": {"deep_every": 2, "deep_outer": 2, "forecast": 2},
}
#: Ways that are judged too.
JUDGED = ("20 steps", "forecast 3, which is --fast", "8 steps")
#: Solvers whose forecasts are held against their own full pictures, of every third prompt.
SOLVERS = ("dpmpp-2m", "ddim", "unipc", "heun", "euler-a", "dpmpp-2m-sde", "ddpm", "lcm")


def painted(prompts: tuple[str, ...], seed: int, way: Mapping[str, Any]) -> np.ndarray:
    """(B, H, W, 3), 8 bits."""
    images = [danqing.paint(prompt, seed=seed, finish="none", **way).image.convert("RGB") for prompt in prompts]
    return np.stack([np.asarray(image) for image in images])


def psnr(found: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Of each picture, in dB."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / ((found.astype(float) - full.astype(float)) ** 2).mean((1, 2, 3)))


def row(name: str, prompts: tuple[str, ...], way: Mapping[str, Any], full: np.ndarray, shown: list[int]) -> str:
    """What a way costs a picture, and how far it leads."""
    shown.clear()
    start = time.process_time()
    found = painted(prompts, 7, way)
    seconds, each, distance = (time.process_time() - start) / len(found), sum(shown) / len(found), psnr(found, full)
    return f"| {name} | {each:.0f} | {seconds:.2f} | {np.median(distance):.1f} | {distance.min():.1f} |"


def ways(shown: list[int]) -> None:
    full = painted(PROMPTS, 7, {})
    print("| way | pictures shown | seconds | PSNR, median | worst |\n|---|---|---|---|---|")
    for name, way in WAYS.items():
        print(row(name, PROMPTS, way, full, shown), flush=True)


def solvers(shown: list[int]) -> None:
    prompts = PROMPTS[::3]
    print("\n| solver, --fast | pictures shown | seconds | PSNR, median | worst |\n|---|---|---|---|---|")
    for solver in SOLVERS:
        full = painted(prompts, 7, {"solver": solver})
        print(row(solver, prompts, {"solver": solver, **danqing.FAST}, full, shown), flush=True)


def judged(count: int) -> None:
    judge = load()
    named = [(code, said["en"]) for code, said in judge.labels.items() if "en" in said]
    subjects = [named[i * len(named) // count] for i in range(count)]
    print(f"\n| way | right among five of {count} |\n|---|---|")
    for name in JUDGED:
        levels = torch.from_numpy(painted(tuple(f"a {said}" for _, said in subjects), 1, WAYS[name])).movedim(-1, 1)
        right = judge.answers(levels).right("subject", [code for code, _ in subjects], 5)
        print(f"| {name} | {int(right.sum())} |", flush=True)


def counting() -> list[int]:
    """How many pictures the default model's network is shown, a call each, from now on."""
    shown, painter = list[int](), danqing.load("danqing-mini")
    assert isinstance(painter, danqing.Painter)
    painter.denoiser.net.register_forward_pre_hook(lambda net, given: shown.append(len(given[0])))
    return shown


def main(count: int = 48) -> None:
    shown = counting()
    ways(shown)
    judged(count)
    solvers(shown)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
