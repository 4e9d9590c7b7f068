"""How near a training comes to the bound of its arithmetic: the time of its bare convolutions and matrix products.

    python benchmarks/training.py experiments/vae.py experiments/stylegan2.py
    python benchmarks/training.py experiments/vae.py --set batch=32 --profile

A few steps are watched for their convolutions and matrix products, forward and backward, with the shapes, strides and
types that the training gives them. Each of these is then run alone, and the bound is the sum of their times. What a
step takes beyond it is the rest: norms, activations, optimisers, data. The art must lie in data/ (`python -m
experiments.data`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from danqing.learn.training.experiment import load, overridden
from danqing.learn.training.loop import Training

aten = torch.ops.aten
HEAVY = {
    aten.convolution.default,
    aten.convolution_backward.default,
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten.baddbmm.default,
}


class Shape(tuple[Any, ...]):
    """What is to be known of a tensor to make one like it: shape, strides, type, device."""

    @classmethod
    def of(cls, x: Any) -> Any:
        return (
            cls((x.shape, x.stride(), x.dtype, x.device))
            if isinstance(x, Tensor)
            else tuple(x)
            if isinstance(x, list)
            else x
        )

    def tensor(self) -> Tensor:
        shape, stride, dtype, device = self
        cells = 1 + sum(
            (n - 1) * apart for n, apart in zip(shape, stride, strict=True)
        )  # fewer than the numbers where it is expanded
        return torch.randn(cells, device=device).to(dtype).as_strided(shape, stride)


class Watch(TorchDispatchMode):
    """Counts the heavy operations by what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in HEAVY:
            self.seen[func, tuple(Shape.of(x) for x in args), tuple(sorted((kwargs or {}).items()))] += 1
        return func(*args, **(kwargs or {}))


def now() -> float:
    """In seconds. Of one thread, those that it computes: a short call finds a busy machine free more often than a whole
    step does, and would make the bound too low."""
    return (
        time.process_time() if torch.get_num_threads() == 1 and not torch.cuda.is_available() else time.perf_counter()
    )


def seconds(call: Callable[[], object], wait: Callable[[], None], least: float = 0.05) -> float:
    """The median time of a call, over ``least`` seconds of calls and five at least."""
    call()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < least:
        wait()
        began = now()
        call()
        wait()
        taken.append(now() - began)
    return statistics.median(taken)


def alone(operation: tuple[Any, ...], wait: Callable[[], None]) -> float:
    """The time of one operation with nothing around it."""
    func, shapes, kwargs = operation
    args = [shape.tensor() if isinstance(shape, Shape) else shape for shape in shapes]
    return seconds(lambda: func(*args, **dict(kwargs)), wait)


def steps(run: Training, count: int) -> Iterator[float]:
    """The time of each of so many more steps."""
    began = now()
    for _ in islice(run.run(run.step + count), count):
        ended = now()
        yield ended - began
        began = now()


def measured(file: Path, changes: list[str], count: int, shown: bool) -> str:
    """A row: the step, its bound, and how many times the bound the step is."""
    experiment = overridden(load(file)(), changes)
    run = experiment.training()
    device = next(run.model.parameters()).device

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    list(steps(run, 2))  # not counted: the first calls choose kernels
    every = getattr(run.objective, "r1_every", 1)  # whole rounds, that lazy regularisers count by their share
    rounds = every * max(1, round(count / every))
    with Watch() as watch:
        list(steps(run, rounds))
    bound = sum(times * alone(operation, wait) for operation, times in watch.seen.items()) / rounds
    step = statistics.mean(steps(run, rounds))
    if shown:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            list(steps(run, 4))
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=16, max_name_column_width=60))
    millions = sum(p.numel() for p in run.model.parameters()) / 1e6
    return (
        f"| {file.stem} | {getattr(experiment, 'batch', '')} | {millions:.1f}M | {step:.3f} s | {bound:.3f} "
        f"s | {step / bound:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="also print where the time of a step goes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| training | batch | parameters | step | bound | step / bound |\n|---|---|---|---|---|---|")
    for file in args.files:
        print(measured(file, args.changes, args.steps, args.profile), flush=True)


if __name__ == "__main__":
    main()
