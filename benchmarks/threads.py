"""How far a picture moves with the number of threads: kernels split their sums by it, and the solver carries that on.

    python benchmarks/threads.py            prints the table
    python benchmarks/threads.py --write    and puts it into docs/pictures.md

Each prompt is painted by the default model with one thread and with two, in fp32 and bf16.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from danqing.painting import finishing
from danqing.painting.load import load
from danqing.painting.loaded import LoadedModel
from danqing.request.request import Request, Resolved
from danqing.run.record import describe
from marks import put

PROMPTS = (
    "a red fox, 3d style",
    "a bicycle, flat style",
    "一只红色的狐狸",
    "a blue cat to the left of a tree",
    "a slice of pizza, gradient style",
    "a sailing boat, line art",
    "a yellow umbrella, pixel art",
    "两个苹果",
    "a portrait of a woman with glasses",
    "a castle on a hill at night",
)
SEED = 1


class Moved(NamedTuple):
    """How far two pictures are apart: the largest and the mean distance in levels, and the share of numbers that
    differ."""

    most: int
    mean: float
    share: float


def moved(one: np.ndarray, other: np.ndarray) -> Moved:
    """How far two pictures of one size are apart."""
    distance = np.abs(one.astype(np.int16) - other)
    return Moved(int(distance.max()), float(distance.mean()), float((distance > 0).mean()))


def painted(loaded: LoadedModel, request: Resolved) -> tuple[np.ndarray, np.ndarray]:
    """The picture as the model paints it, and after the request's finishes."""
    found = loaded.paint(request.but(finish="none"))
    finishes = [finishing.make(record, loaded, request) for record in request.finish]
    done = finishing.apply(replace(found, request=request), finishes, {"total": 0})
    return np.asarray(found.image), np.asarray(done.image)


def apart(precision: str, prompts: Sequence[str]) -> list[tuple[Moved, Moved]]:
    """How far each prompt's picture moves from one thread to two, as it is painted and as it is finished."""
    loaded, found = load(precision=precision), []
    for prompt in prompts:
        request = loaded.resolve(Request(prompt=prompt, seed=SEED))
        both = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            both.append(painted(loaded, request))
        plain, finished = (moved(one, other) for one, other in zip(*both, strict=True))
        print(precision, prompt, plain, finished, flush=True)
        found.append((plain, finished))
    return found


def row(title: str, found: Sequence[Moved]) -> str:
    """The line of the table for pictures of one kind."""
    most = sorted(each.most for each in found)
    mean, share = (statistics.mean(values) for values in ([e.mean for e in found], [e.share for e in found]))
    return f"| {title} | {most[0]} to {most[-1]}, median {statistics.median(most):g} | {mean:.2g} | {share:.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/pictures.md")
    args = parser.parse_args()
    machine = describe()
    lines = [
        f"Measured by `python benchmarks/threads.py` on {machine['cpu']} ({machine['instructions']}, "
        f"torch {machine['torch']}): {len(PROMPTS)} prompts of danqing-mini, one thread against two, levels of 255.",
        "",
        "| | the most that a number moves, by picture | on average | numbers that move |",
        "|---|---|---|---|",
    ]
    for precision in ("fp32", "bf16"):
        plain, finished = zip(*apart(precision, PROMPTS), strict=True)
        lines += [row(f"{precision}, 128 px as painted", plain), row(f"{precision}, 512 px as finished", finished)]
    print("\n".join(lines))
    if args.write:
        put("docs/pictures.md", f"threads {machine['instructions']}", "\n".join(lines))


if __name__ == "__main__":
    main()
