"""What a picture of the default model costs by how many are painted at once, and by its size.

    python benchmarks/scaling.py            prints the tables
    python benchmarks/scaling.py --write    and puts them into docs/engines.md

The seconds are of the process, the least of all rounds. The exponent is the slope of the line through their logarithms:
0 where a picture costs the same whatever grows, 1 where it costs as much more.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

import danqing
from danqing.request.request import Request
from danqing.run.engine.engines import find_engine
from danqing.run.pages import keep
from danqing.run.record import describe
from marks import put

PROMPT = "a red fox, 3d style"


def seconds(count: int, side: int, steps: int, rounds: int) -> float:
    """Of the process for so many pictures, after one round that does not count."""
    shared: Any = {"prompt": PROMPT, "steps": steps, "width": side, "height": side, "finish": ()}
    requests = [Request(**shared, seed=seed) for seed in range(1, count + 1)]
    found: list[float] = []
    for _ in range(rounds + 1):
        begin = time.process_time()
        list(danqing.paint_all(requests, device="cpu"))
        found.append(time.process_time() - begin)
    return min(found[1:])


def exponent(work: list[int], took: list[float]) -> float:
    """The slope of log(seconds) over log(work)."""
    return float(np.polyfit(np.log(work), np.log(took), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/engines.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2, 4, 8, 16], help="pictures at once, of 128 px")
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 384, 512, 768, 1024], help="in pixels")
    args = parser.parse_args()
    keep()
    machine = describe("cpu")
    batches = [seconds(count, 128, args.steps, args.rounds) / count for count in args.counts]
    sizes = [seconds(1, side, args.steps, args.rounds) for side in args.sides]
    how = f"{machine['instructions']}, {machine['precision']}, {machine['threads']} thread, torch {machine['torch']}"
    text = [
        f"Measured by `python benchmarks/scaling.py` on {machine['cpu']} ({how}, "
        f"{find_engine(torch.device('cpu'))}): danqing-mini, {args.steps} steps, seconds of the process a picture, the "
        f"least of {args.rounds}.",
        "",
        "| pictures of 128 px at once | seconds a picture |",
        "|---|---|",
        *(f"| {count} | {took:.2f} |" for count, took in zip(args.counts, batches, strict=True)),
        f"| exponent | {exponent(args.counts, batches):.2f} |",
        "",
        "| pixels along a side | seconds a picture |",
        "|---|---|",
        *(f"| {side} | {took:.2f} |" for side, took in zip(args.sides, sizes, strict=True)),
        f"| exponent, of the number of pixels | {exponent([side * side for side in args.sides], sizes):.2f} |",
    ]
    print("\n".join(text))
    if args.write:
        put("docs/engines.md", f"scaling {machine['instructions']}", "\n".join(text))


if __name__ == "__main__":
    main()
