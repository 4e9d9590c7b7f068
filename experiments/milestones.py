"""A long training at a constant rate, and at each milestone a branch of it that cools down, which is what ships.

The long run never has to know its end, and a branch of a fifth of the interval's steps loses nothing against a schedule
that was planned from the start (Hägele et al. 2024). Every step is a pure function of its number, so a run that is
killed, in the main line or in a branch, goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from danqing.learn.training.loop import Training, Trapezoid
from experiments.common import DATA, RUNS, drive, threads
from experiments.open_variance import table

EVERY = 250_000  # samples
WARMUP = 200  # steps
PARTS = 5  # of an interval: one is as long as a branch, and between two the run is measured


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A training with what measures it.

    Args:
        training: rate -> the training, at its beginning.
        measure: the training's averaged model -> what `open_variance` says of it.
        sheet: the training -> pictures to look at, or None.
    """

    training: Callable[[Callable[[int], float]], Training]
    measure: Callable[[Training], Mapping[str, float]]
    sheet: Callable[[Training], Image.Image | None] = lambda run: None


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long a trial goes on.

    Args:
        folder: of its checkpoints; those of a branch are in ``cooled-<samples>`` inside.
        batch: samples of a step.
        before: samples that its first weights had seen.
        samples: where it ends, counted without those before.
        every: samples from milestone to milestone.
        minutes: how long it may take.
    """

    folder: Path
    batch: int
    before: int = 0
    samples: int = 5_000_000
    every: int = EVERY
    minutes: float = math.inf

    @property
    def part(self) -> int:
        """The steps of a branch, and of a part of an interval, at least 1."""
        return max(1, round(self.every / self.batch / PARTS))


def follow(trial: Trial, course: Course) -> Training:
    """Train to the course's end, which is a milestone too, resuming from its folder; the long run as it then is."""
    until = time.monotonic() + 60 * course.minutes
    last, interval = max(1, course.samples // course.batch), course.part * PARTS
    run = trial.training(Trapezoid(WARMUP))
    run.resume(course.folder / "last.pt")
    while True:
        if run.step and (run.step % interval == 0 or run.step >= last):
            _cool(trial, course, run, until)
        if run.step >= last or time.monotonic() >= until:
            return run
        _drive(trial, course, run, course.folder, min(last, (run.step // interval + 1) * interval), until)


def _cool(trial: Trial, course: Course, run: Training, until: float) -> None:
    """A branch from where the run is, to a rate of zero; one that is already cool is left as it is."""
    end = run.step + course.part
    branch = trial.training(Trapezoid(0, end, course.part))
    branch.restore(run.state())
    folder = course.folder / f"cooled-{course.before + run.step * course.batch:09}"
    _drive(trial, course, branch, folder, end, until)


def _drive(trial: Trial, course: Course, run: Training, folder: Path, end: int, until: float) -> None:
    """Drive a run to a step, measured and shown at every part of an interval."""
    began, seconds, used = run.step, time.monotonic(), time.process_time()

    def measured() -> Mapping[str, float]:
        nonlocal began, seconds, used
        seen = (run.step - began) * course.batch
        rate, cpu = seen / (time.monotonic() - seconds), seen / (time.process_time() - used)
        said = trial.measure(run)
        samples = course.before + run.step * course.batch
        print(
            f"{samples} samples, {rate:.1f} pictures/s, {cpu:.1f} by a second of the processor\n{table(said)}",
            flush=True,
        )
        began, seconds, used = run.step, time.monotonic(), time.process_time()
        return {"samples": samples, "pictures a second": rate, "pictures a processor's second": cpu, **said}

    drive(
        run,
        folder,
        end,
        minutes=max(0.0, until - time.monotonic()) / 60,
        evaluate=measured,
        evaluate_every=course.part,
        sample=lambda: trial.sheet(run),
        sample_every=course.part,
    )


def parser(about: str | None, batch: int) -> argparse.ArgumentParser:
    """The options of such a training."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=DATA)
    made.add_argument("--runs", type=Path, default=RUNS)
    made.add_argument("--name", help="the folder of this run inside --runs")
    made.add_argument("--resume", action="store_true", help="without a checkpoint, go on from the committed weights")
    made.add_argument("--samples", type=int, default=Course.samples)
    made.add_argument("--milestone", type=int, default=EVERY, help="samples from one milestone to the next")
    made.add_argument("--minutes", type=float, default=math.inf)
    made.add_argument("--batch", type=int, default=batch)
    made.add_argument("--ahead", type=int, default=1, help="epochs made beforehand, each by a process of its own")
    made.add_argument("--threads", type=int, default=threads(), help="one where the machine is loaded")
    return made


def course(args: argparse.Namespace, name: str, before: int) -> Course:
    """What the options of `parser` say."""
    return Course(
        folder=args.runs / (args.name or name),
        batch=args.batch,
        before=before,
        samples=args.samples,
        every=args.milestone,
        minutes=args.minutes,
    )
