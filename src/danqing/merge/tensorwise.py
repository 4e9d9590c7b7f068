"""A tensor of the tensors of its name, one after another: what every `Mixing` does.

Tensors that not all files hold are carried over from the first that does, and so is what is of no network. Where a
denoiser reads more channels than another, of an inpainting model, what is beside the latent's is the first such file's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..store import convert
from ..store.tensors import Due, fit
from .given import ENTRY, Given, alike
from .job import Job, Plan, due

#: How many numbers are computed at a time, where they do not depend on each other: these stay in the processor's cache,
#: and torch divides no fewer among threads, which would wait for each other more than they compute.
BLOCK = 1 << 15
#: How many names a note lists.
LISTED = 3


class Mixing(Protocol):
    """What is asked of a method; see `danqing.merge.methods.Mix`."""

    whole: ClassVar[bool]

    def alone(self, weights: Sequence[float]) -> int | None: ...
    def mix(self, tensors: Sequence[Tensor], weights: Sequence[float], name: str) -> Tensor: ...


def plan(method: Mixing, job: Job) -> Plan:
    """Every tensor of every file, merged or carried over.

    Raises:
        InvalidInput: as `alike`.
    """
    alike(job.given)
    tensors: dict[str, Due] = {}
    only: dict[str, list[str]] = {}
    for name in _names(job.given):
        holders = [one for one in job.given if name in one.tensors]
        like = _widest(holders, name).tensors[name]
        dtype = job.type_of(holders[0].tensors[name].dtype)
        if holders[0].inside(name) and len(holders) < len(job.given):
            only.setdefault(", ".join(one.name for one in holders), []).append(name)
        if len(holders) == len(job.given) and all(one.inside(name) for one in holders):
            weights = [each(name) for each in job.weights]
            tensors[name] = due(like, dtype, partial(_merged, method, job.given, weights, name, dtype))
        else:
            tensors[name] = due(like, dtype, partial(_carried, holders[0], name, dtype))
    notes = [f"only in {names}, carried over: {_some(found)}" for names, found in only.items()]
    if left := [name for one in job.given for name in one.tensors if name not in tensors]:
        notes.append(f"dropped, for it is left over from a training: {_some(left)}")
    notes += _meanings(job.given)
    return Plan(tensors=tensors, lead=_widest(job.given, ENTRY), notes=notes)


def _names(given: Sequence[Given]) -> list[str]:
    """Every name that is written: all of the first file's, and of the others those of networks; no running means."""
    first = given[0]
    found = dict.fromkeys(name for name in first.tensors if not (first.kind and convert.LEFTOVER.fullmatch(name)))
    return list(found | dict.fromkeys(name for one in given[1:] for name in one.tensors if one.inside(name)))


def _widest(given: Sequence[Given], name: str) -> Given:
    """Where a denoiser is entered, the first file that reads most; of any other tensor the first."""
    if name != ENTRY or not any(name in one.tensors for one in given):
        return given[0]
    return max(given, key=lambda one: one.shapes[name][1] if name in one.tensors else 0)


def _meanings(given: Sequence[Given]) -> list[str]:
    """That the denoisers do not predict the same, as far as the files say."""
    marked = {one.name: {mark for mark in convert.MARKS if mark in one.tensors} for one in given}
    if len({frozenset(marks) for marks in marked.values()}) < 2:
        return []
    said = "; ".join(f"{name}: {', '.join(sorted(marks)) or 'none'}" for name, marks in marked.items())
    return [f"the files do not predict the same, by their marks ({said}); the result has those of the first"]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


# ---------------------------------------------------------------------------------------------------------- one tensor


def _carried(one: Given, name: str, dtype: torch.dtype) -> Tensor:
    return fit(one.tensors[name].detach(), dtype, name)


def _merged(method: Mixing, given: Sequence[Given], weights: Sequence[float], name: str, dtype: torch.dtype) -> Tensor:
    """The tensor of a name; of files that read several widths, the narrow part is merged, and the rest the widest's."""
    whole = [one.tensors[name].detach() for one in given]
    like = whole[given.index(_widest(given, name))]
    if name == ENTRY and (narrow := min(x.shape[1] for x in whole)) < like.shape[1]:
        made = _computed(method, [one.name for one in given], [x[:, :narrow] for x in whole], weights, name, dtype)
        return torch.cat([made, fit(like[:, narrow:], dtype, name)], 1)
    return _computed(method, [one.name for one in given], [x.reshape(like.shape) for x in whole], weights, name, dtype)


def _computed(
    method: Mixing,
    files: Sequence[str],
    tensors: Sequence[Tensor],
    weights: Sequence[float],
    name: str,
    dtype: torch.dtype,
) -> Tensor:
    """The tensor of tensors of one shape, rounded once.

    Raises:
        InvalidInput: numbers that are not finite, or beyond what the type reaches.
    """
    if (number := method.alone(weights)) is not None:
        return fit(tensors[number], dtype, name)
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    flat = [x.reshape(-1) for x in tensors]
    size = len(flat[0]) if method.whole else BLOCK
    made, most = torch.empty(len(flat[0]), dtype=dtype), torch.finfo(dtype).max
    for begin in range(0, len(flat[0]), size):
        pieces = [x[begin : begin + size].to(wide) for x in flat]
        new = method.mix([p.view(tensors[0].shape) for p in pieces] if method.whole else pieces, weights, name)
        least, greatest = torch.aminmax(new)
        if not (least >= -most and greatest <= most):  # also where one is NaN
            _refuse(files, pieces, new, name)
            new = fit(new, dtype, name)
        made[begin : begin + size] = new.reshape(-1)
    return made.view(tensors[0].shape)


def _refuse(files: Sequence[str], pieces: Sequence[Tensor], new: Tensor, name: str) -> None:
    """Say where numbers that are not finite are, if any are."""
    if not torch.isfinite(new).all():
        odd = [file for file, piece in zip(files, pieces, strict=True) if not torch.isfinite(piece).all()]
        where = f"in {' and '.join(odd)}" if odd else "in the result"
        raise InvalidInput(f"NaN or infinity {where}, in the tensor {name!r}: nothing was written")
