"""A training and the folder that it lives in: checkpoints, the log, curves, samples, and the end."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from PIL import Image

from ... import atomic
from ...lang.spoken import said
from . import parallel
from .journal import bar, clock, curve, journal
from .loop import Training

#: What a process wants after a step; the most that any of them wants is done.
GO_ON, DONE, STOP = 0, 1, 2


@contextmanager
def between_steps() -> Iterator[list[int]]:
    """Ctrl-C and a polite kill are noted in the list and wait for the end of the step, because half a step, saved,
    would not resume exactly; a second one does not wait. A signal that the shell has this process ignore is still
    ignored."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    heard = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, ask) for kind in heard}
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def drive(
    run: Training,
    folder: Path,
    steps: int,
    *,
    minutes: float = math.inf,
    save_every: float = 240.0,
    log_every: int = 20,
    sample_every: int = 500,
    sample: Callable[[], Image.Image | None] | None = None,
    evaluate_every: int = 500,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    tensorboard: bool = False,
) -> None:
    """Run a training to its end (or for so many minutes), resuming from ``folder``; the step, not the clock, orders
    everything.

    Of several processes the first writes and shows; all stop after the same step.

    Args:
        save_every: seconds between checkpoints, last.pt.
        log_every: steps between lines of log.jsonl, which hold the means over them, and how many cores computed.
        sample_every: steps between drawings of curve.png and of samples.
        sample: draws a sheet of samples, kept as samples-<step>.png.
        evaluate_every: steps between evaluations.
        evaluate: measures the model, e.g. on pictures kept apart; its numbers get a line of log.jsonl of their own.
        tensorboard: also write all of this for TensorBoard, into the folder's tensorboard/.

    Raises:
        InvalidFile: last.pt is damaged or of another training, or cannot be written; or another process trains in the
            folder.
        Diverged: a loss is no number; the last checkpoint stays.
        KeyboardInterrupt: by Ctrl-C or a polite kill, after the step is done and saved. An error saves nothing, since
            it may
            come from the middle of a step: the last checkpoint stays.
    """
    checkpoint, first = folder / "last.pt", parallel.rank() == 0
    for note in run.notes if first else ():
        print(said(note), flush=True)
    cores = torch.get_num_threads() * parallel.count()
    seen: list[Mapping[str, float]] = []  # since the last line of the log
    with (
        _resumed(run, checkpoint, first),
        between_steps() as asked,
        journal(folder, run.step, tensorboard=tensorboard) if first else nullcontext() as log,
        bar(run.step, steps, quiet=not first) as show,
    ):
        began = saved = time.monotonic()
        start, ending = run.step, GO_ON
        for progress in run.run(steps):
            step, now = progress.step, time.monotonic()
            left = min((steps - step) * (now - began) / (step - start), minutes * 60 - (now - began))
            seen.append({**progress.losses, "seconds": progress.seconds})
            if show is not None:
                show(step, progress.losses, left)
            if log is not None and step % log_every == 0:
                means = _means(seen)  # the first line after resuming may be over fewer steps
                log.write(step=step, **means, cores=cores)
                if show is None and step % (10 * log_every) == 0:
                    print(step, {k: round(v, 4) for k, v in means.items()}, said(f"{clock(left)} left"), flush=True)
                seen = []
            if now - saved > save_every:
                run.save(checkpoint)
                saved = now
            # No process may leave alone, or the others would wait for it.
            ending = parallel.most(STOP if asked else DONE if now - began > minutes * 60 else GO_ON)
            if log is not None and ending != STOP:
                if evaluate is not None and step % evaluate_every == 0:
                    log.write(step=step, **evaluate())
                if step % sample_every == 0:
                    curve(folder)
                    if sample is not None and (sheet := sample()) is not None:
                        with atomic.writing(folder / f"samples-{step:06}.png") as file:
                            sheet.save(file, format="PNG")
                        log.picture(sheet, step)
            if ending != GO_ON:
                break
        run.save(checkpoint)
    if first:
        print(said(f"step {run.step} after {(time.monotonic() - began) / 60:.1f} minutes"), flush=True)
    if ending == STOP or asked:
        raise KeyboardInterrupt
    if first:
        curve(folder)


@contextmanager
def _resumed(run: Training, checkpoint: Path, first: bool) -> Iterator[None]:
    """A training goes on from its checkpoint, in a folder where nobody else trains meanwhile."""
    if first:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with atomic.alone(checkpoint.parent / "log.jsonl", 0) if first else nullcontext():
        if run.resume(checkpoint) and first:
            print(said(f"resumed at step {run.step}"), flush=True)
        yield


def _means(lines: list[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the lines that have it: an optimiser that rests in a step leaves none."""
    names = dict.fromkeys(name for line in lines for name in line)
    there = {name: [line[name] for line in lines if name in line] for name in names}
    return {name: sum(values) / len(values) for name, values in there.items()}
