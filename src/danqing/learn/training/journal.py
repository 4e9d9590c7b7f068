"""What a run says of itself: the log, its curves, TensorBoard's files, and the bar that a person watches."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import atomic
from ...lang.spoken import term


class Journal:
    """The log of a run, one JSON line every few steps; lines past the step that a run resumes from are dropped, and so
    is one that a crash cut short.

    Args:
        path: the file log.jsonl.
        step: the step that the run resumes from.
        board: a folder that also gets what TensorBoard shows, in its own format; None for none.
    """

    def __init__(self, path: Path, step: int, board: Path | None = None):
        kept = [json.dumps(row) + "\n" for row in rows(path) if row["step"] <= step]
        atomic.write(path, "".join(kept).encode())
        self.file, self.board = path.open("a"), None
        if board is not None:
            from tensorboardX import SummaryWriter  # the extra "train" brings it

            # The step in its name keeps a file from that of a life that began in the same second.
            self.board = SummaryWriter(str(board), purge_step=step + 1, filename_suffix=f".{step}", flush_secs=10)

    def write(self, **values: float) -> None:
        """One line: ``step``, and named numbers."""
        self.file.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                if name != "step":
                    self.board.add_scalar(name, value, int(values["step"]))

    def picture(self, picture: Image.Image, step: int) -> None:
        """A sheet of samples, for TensorBoard alone."""
        if self.board is not None:
            self.board.add_image("samples", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


@contextmanager
def journal(folder: Path, step: int, *, tensorboard: bool = False) -> Iterator[Journal]:
    """The log of a run in its folder, log.jsonl, closed at the end."""
    found = Journal(folder / "log.jsonl", step, folder / "tensorboard" if tensorboard else None)
    try:
        yield found
    finally:
        found.close()


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, but for one that a crash cut short; none where there is no log."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def curve(folder: Path) -> None:
    """Draw log.jsonl as curve.png: every logged number over the steps."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    logged = rows(folder / "log.jsonl")
    apart = ("step", "seconds", "cores", "hours")
    names = [name for name in dict.fromkeys(name for row in logged for name in row) if name not in apart]
    figure, axes = plt.subplots(1, max(1, len(names)), figsize=(4 * max(1, len(names)), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=False):
        there = [(row["step"], row[name]) for row in logged if math.isfinite(row.get(name, math.nan))]
        axis.plot([step for step, _ in there], [value for _, value in there])
        axis.set_title(name)
        if all(value > 0 for _, value in there):
            axis.set_yscale("log")
    figure.tight_layout()
    with atomic.writing(folder / "curve.png") as file:
        figure.savefig(file, format="png")
    plt.close(figure)


def clock(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


@contextmanager
def bar(
    step: int, steps: int, *, quiet: bool = False
) -> Iterator[Callable[[int, Mapping[str, float], float], None] | None]:
    """A live bar where someone looks, which is told each step, its losses and the seconds left; None elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(term("{task.fields[left]} left")),
        TextColumn("{task.fields[losses]}"),
    )
    look: dict[str, Any] = dict(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    with Progress(*columns, **look) as progress:
        task = progress.add_task("", total=steps, completed=step, left="?", losses="")

        def show(step: int, losses: Mapping[str, float], left: float) -> None:
            said = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
            progress.update(task, completed=step, left=clock(left), losses=said)

        yield show
