"""Merging: files to one file, tensor by tensor, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from .. import atomic
from ..errors import InvalidInput, UnknownName
from ..store import convert
from ..weights import store
from . import given as reading
from . import methods, parents
from .blocks import Weights
from .job import Job


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was made.

    Args:
        path: the file. size: its bytes. notes: what is to be said of it, in words.
    """

    path: Path
    size: int
    notes: tuple[str, ...]


def merge(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    method: str = "",
    weights: Sequence[str] = (),
    dtype: str | None = None,
    force: bool = False,
) -> Merged:
    """Make one file of some.

    Args:
        sources: files, or folders of models, by path or by name in the folders of models.
        target: a file ``.safetensors``.
        method: a name of `danqing.merge.methods.METHODS`, with its parameters: ``ties:density=0.3``; of two files sum
            where not given.
        weights: one for all files behind the first, or one for each, as `danqing.merge.blocks.Weights` reads them.
        dtype: of the real numbers, a key of `danqing.store.convert.DTYPES`; each as in the first file where not given.
        force: replace a file that is there.

    Raises:
        UnknownName: no such method, parameter, dtype, block or file.
        InvalidInput: another number of files or weights than the method takes; files that do not fit each other, by
            the sizes that differ; numbers that are not finite.
        InvalidFile: a file is damaged; the target is there, or cannot be written.
    """
    if not method and len(sources) != 2:
        raise InvalidInput(
            f"{len(sources)} files were given, so say how: --method {' or '.join(_taking(len(sources)))}"
        )
    chosen = methods.method(method or "sum")
    _count(chosen, len(sources), len(weights))
    if dtype and dtype not in convert.DTYPES:
        raise UnknownName("dtype", dtype, convert.DTYPES)
    made = Path(os.path.expanduser(target))
    if made.suffix.lower() != ".safetensors":
        raise InvalidInput(f"{made.name}: what is merged is written as .safetensors: choose such a name")
    paths = [convert.source_of(source) for source in sources]
    with atomic.alone(made.resolve()), store.at_hand(path for path in paths if path.is_file()):
        for path in paths:
            convert.guard(path, made, single=True, force=force)
        given = [reading.read(path) for path in paths]
        job = Job(given=given, weights=_weights(chosen, weights, given), dtype=convert.DTYPES[dtype] if dtype else None)
        plan = chosen.plan(job)
        said, notes = parents.said(chosen, list(weights) or _usual(chosen), job, plan, made)
        store.write(made, cast(Mapping[str, Tensor], plan.tensors), said)
    return Merged(path=made, size=convert.size_of(made), notes=(*plan.notes, *notes))


def _count(method: methods.Method, files: int, weights: int) -> None:
    """Refuse another number of files or weights than a method takes."""
    least, most = method.files
    if not least <= files <= most:
        raise InvalidInput(
            f"{method.name} takes {methods.takes(type(method))} files, and {files} were given; so many take: "
            f"{', '.join(_taking(files)) or 'none'}"
        )
    if method.weight is None and weights:
        raise InvalidInput(f"{method.name} takes no weight: leave it out")
    possible = sorted({1, files - 1} if method.each else {1})
    if weights and weights not in possible:
        takes = " or ".join(map(str, possible))
        raise InvalidInput(f"{weights} weights were given for {files} files; {method.name} takes {takes}")


def _taking(files: int) -> list[str]:
    """The methods that take so many files."""
    return [name for name, kind in methods.METHODS.usable().items() if kind.files[0] <= files <= kind.files[1]]


def _usual(method: methods.Method) -> list[str]:
    return [] if method.weight is None else [f"{method.weight:g}"]


def _weights(method: methods.Method, texts: Sequence[str], given: Sequence[reading.Given]) -> list[Weights]:
    """The weights of the files behind the first, those of one text for all."""
    read = [Weights.read(text, given[0].blocks) for text in (texts or _usual(method))]
    return read * (len(given) - 1) if len(read) == 1 and method.each else read
