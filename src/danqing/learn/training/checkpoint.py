"""Checkpoints in files: written whole or not at all, read without running code, compared before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import atomic
from ...errors import InvalidFile


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values beside ``path``, then rename: a kill leaves the old file or the new one, whole.

    Raises:
        InvalidFile: the disk is full, say; the old file stays as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One name, so that kills leave one file at most.
        with atomic.alone(path), atomic.writing(path, path.with_suffix(".part")) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch wraps some errors of the file in its own
        cause = next((e for e in (error, error.__context__) if isinstance(e, OSError)), None)
        reason = (cause and cause.strerror) or error
        stays = "the checkpoint before it is whole" if path.exists() else "there was none before it"
        raise InvalidFile(
            f"cannot save {path}: {reason}; {stays}. Make room, then run the same command again"
        ) from error


def read(path: Path) -> Any:
    """What `write` wrote, on the CPU. Reads tensors and plain values only, never code.

    Raises:
        InvalidFile: damaged, or no such file at all.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidFile(f"{path} is no checkpoint of a training ({error}). Delete it to begin anew.") from error


def weights_differ(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """How the names and shapes of two sets of weights differ, one line each; empty where they do not."""
    said = [f"{name} is missing" for name in mine if name not in theirs]
    said += [f"{name} is not of this model" for name in theirs if name not in mine]
    for name in mine:
        if name in theirs and mine[name].shape != theirs[name].shape:
            said.append(f"{name} is {tuple(theirs[name].shape)}, here {tuple(mine[name].shape)}")
    return said


def settings_differ(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Which settings of a run differ from those of its checkpoint, one line each."""
    names = [*mine, *(name for name in theirs if name not in mine)]
    unset = "unset"
    return [
        f"{name} was {theirs.get(name, unset)!r} and is {mine.get(name, unset)!r}"
        for name in names
        if mine.get(name, unset) != theirs.get(name, unset)
    ]
