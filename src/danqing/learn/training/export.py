"""``danqing learn run FILE --export FOLDER``: what a run has learned, as its experiment gives it to others."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch

from ... import atomic
from ...errors import InvalidFile, InvalidInput
from .experiment import Experiment
from .journal import rows
from .loop import Training


def export(experiment: Experiment, home: Path, folder: Path, command: str) -> Training:
    """Write what the last checkpoint of a run holds, without training.

    Args:
        experiment: as the run was begun.
        home: the folder that the run lives in.
        folder: what is written, whole or not at all.
        command: what trains the run, for whoever has not.

    Returns:
        The run at its last checkpoint.

    Raises:
        InvalidInput: the run has no checkpoint, or the experiment exports nothing.
        InvalidFile: the checkpoint is of other settings; the folder is there and holds no model, or cannot be written.
    """
    atomic.restore(folder)
    if folder.exists() and not _is_model(folder):
        raise InvalidFile(
            f"{folder.resolve()} is there and is no model of danqing's: it stays as it is; name another folder"
        )
    checkpoint(home, command)
    with atomic.folder(folder, parents=True) as beside:
        run = at_last(experiment, home, command)
        experiment.export(run, beside, core_hours(home / "log.jsonl", run.step))
    return run


def checkpoint(home: Path, command: str) -> Path:
    """The last checkpoint of a run.

    Raises:
        InvalidInput: there is none.
    """
    last = home / "last.pt"
    if not last.is_file():
        raise InvalidInput(f"there is no checkpoint {last} to export: `{command}` trains one")
    return last


def at_last(experiment: Experiment, home: Path, command: str) -> Training:
    """A run at its last checkpoint; arguments and errors as of `export`."""
    last = checkpoint(home, command)
    run = experiment.training()
    run.settings = experiment.binding()
    run.resume(last)
    return run


def _is_model(folder: Path) -> bool:
    try:
        return "danqing" in json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def core_hours(log: Path, step: int) -> float:
    """What the first steps of a run took, in hours times processor cores, by its log.jsonl; 0 without one.

    A line of the log stands for all steps since the line before it, the last for those after it too. Lines that do not
    say how many cores there were count as this process's threads.
    """
    timed = [row for row in rows(log) if "seconds" in row and row["step"] <= step]
    if not timed:
        return 0.0
    ends = [0, *(row["step"] for row in timed[:-1]), step]
    spent = (row["seconds"] * row.get("cores", torch.get_num_threads()) for row in timed)
    return sum((end - begin) * each for (begin, end), each in zip(pairwise(ends), spent, strict=True)) / 3600
