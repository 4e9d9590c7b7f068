"""What a picture of the default model costs by how many are painted at once, and by its size.

    python benchmarks/scaling.py            prints the tables
    python benchmarks/scaling.py --write    and puts them into docs/engines.md

The seconds are of the process, the least of all rounds, with attention's share of them. The exponent is the slope of
the line through their logarithms: 0 where a picture costs the same whatever grows, 1 where it costs as much more.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import danqing
from danqing.nets.operations import Attend
from danqing.request.request import Request
from danqing.run.engine.engines import find_engine
from danqing.run.engine.packed import KINDS, PackedAttend
from danqing.run.pages import keep
from danqing.run.record import describe
from marks import put

PROMPT = "a red fox, 3d style"
#: The pixels along a side beyond which the default model sees windows of so many.
WHOLE = 512


class Took(NamedTuple):
    """Seconds of the process, and those of them that attention took."""

    seconds: float
    attention: float

    @property
    def share(self) -> str:
        """Attention's part of the whole."""
        return f"{100 * self.attention / self.seconds:.0f} %"


class Watched(PackedAttend):
    """Attention that counts how long it takes."""

    spent = 0.0

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        begin = time.process_time()
        answer = super().forward(*args, **kwargs)
        Watched.spent += time.process_time() - begin
        return answer


def took(count: int, side: int, steps: int, rounds: int) -> Took:
    """Of so many pictures, after one round that does not count."""
    tiled = {"tile": WHOLE} if side > WHOLE else {}
    shared: Any = {"prompt": PROMPT, "steps": steps, "width": side, "height": side, "finish": (), **tiled}
    requests = [Request(**shared, seed=seed) for seed in range(1, count + 1)]
    found: list[Took] = []
    for _ in range(rounds + 1):
        begin, Watched.spent = time.process_time(), 0.0
        list(danqing.paint_all(requests, device="cpu"))
        found.append(Took(time.process_time() - begin, Watched.spent))
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
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 384, 512, 1024, 2048], help="in pixels")
    args = parser.parse_args()
    keep()
    KINDS[Attend] = Watched
    machine = describe("cpu")
    batches = [took(count, 128, args.steps, args.rounds) for count in args.counts]
    each = [one.seconds / count for count, one in zip(args.counts, batches, strict=True)]
    sizes = [took(1, side, args.steps, args.rounds) for side in args.sides]
    grown = exponent([side * side for side in args.sides], [one.seconds for one in sizes])
    how = f"{machine['instructions']}, {machine['precision']}, {machine['threads']} thread, torch {machine['torch']}"
    text = [
        f"Measured by `python benchmarks/scaling.py` on {machine['cpu']} ({how}, "
        f"{find_engine(torch.device('cpu'))}): danqing-mini, {args.steps} steps, seconds of the process a picture, the "
        f"least of {args.rounds}. Beyond {WHOLE} px the picture is seen in windows of that.",
        "",
        "| pictures of 128 px at once | seconds a picture | of which attention |",
        "|---|---|---|",
        *(f"| {n} | {one:.2f} | {whole.share} |" for n, one, whole in zip(args.counts, each, batches, strict=True)),
        f"| exponent | {exponent(args.counts, each):.2f} | |",
        "",
        "| pixels along a side | seconds a picture | of which attention |",
        "|---|---|---|",
        *(f"| {side} | {one.seconds:.2f} | {one.share} |" for side, one in zip(args.sides, sizes, strict=True)),
        f"| exponent, of the number of pixels | {grown:.2f} | |",
    ]
    print("\n".join(text))
    if args.write:
        put("docs/engines.md", f"scaling {machine['instructions']}", "\n".join(text))


if __name__ == "__main__":
    main()
