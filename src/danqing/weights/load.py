"""A file to a network and back: detect, read the config, build without memory, compare every name and shape, assign."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import DanqingError, InvalidFile, nearest
from . import store
from .cast import cast
from .family import CONFIG_KEY, FAMILY_KEY, Family
from .layouts.keymap import Source
from .registry import find, of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from .bits import Stored

#: What takes a number of a network, as its file has it, or in the few bits that the file keeps it in.
Keep = Callable[["Tensor | Stored"], object]

#: How many names of a kind a refusal lists.
LISTED = 5


def load(
    path: str | os.PathLike[str],
    *,
    family: str | None = None,
    part: str | None = None,
    config: Mapping[str, Any] | DataclassInstance | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    before: Callable[[nn.Module], Mapping[str, Keep]] = lambda net: {},
) -> nn.Module:
    """The network in a file, for use: in eval mode, no gradients.

    Args:
        family: which network, where the file holds several ("unet", "autoencoder-kl", "clip-text", ...).
        part: the same by its place, where it holds several of one family ("denoiser", "codec", "text", "text_2",
            "text_3").
        config: fields of the network's config that the shapes do not tell; goes before the file's metadata.
        device: where to put it.
        dtype: of its floating-point numbers; None keeps the file's, but for numbers of 8 bits, with which nothing
            computes: these become bfloat16, which holds each of them exactly.
        before: what is done to the network before its numbers come, one tensor after another; it gives, by name, what
            takes a number that is kept in a way of its own: as the file has it, in few bits or not.

    Raises:
        UnknownName: ``family`` is none.
        InvalidFile: the file cannot be read, holds no such network, differs from it by a single name or shape, or holds
            quantised numbers; the message lists what is missing, what is unexpected and the nearest names.
    """
    header = store.header(path)
    which = find(header, family, part)
    stated = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config
    module = empty(which, header, stated)
    sources = which.sources(header)
    wanted = module.state_dict()
    compare(header, which, sources, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    keeps, few = before(module), store.kept(path)
    held: dict[str, list[str]] = {}  # name in the file -> names of ours in it
    for name, source in sources.items():
        if name in keeps and source.name in few and not source.way:
            keeps[name](few[source.name])
        else:
            held.setdefault(source.name, []).append(name)
    for old, tensor in store.each(path, held):
        for name in held[old]:
            if name in keeps:
                keeps[name](sources[name].take(tensor).reshape(wanted[name].shape).to(device))
                continue
            layer, _, own = name.rpartition(".")
            number = fit(sources[name].take(tensor), wanted[name], device, dtype)
            module.get_submodule(layer).load_state_dict({own: number}, strict=False, assign=True)
    return module.eval().requires_grad_(False)


def outline(
    path: str | os.PathLike[str],
    *,
    family: str | None = None,
    part: str | None = None,
    config: Mapping[str, Any] | DataclassInstance | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """The network in a file on the meta device: its names and shapes in a type, no numbers; of the file the header
    alone is read.

    Args:
        family, part, config, dtype: see `load`.

    Raises:
        UnknownName, InvalidFile: as `load` does of a header.
    """
    header = store.header(path)
    stated = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config
    return empty(find(header, family, part), header, stated).to(dtype).eval().requires_grad_(False)


def counted(path: str | os.PathLike[str], *, family: str | None = None, part: str | None = None) -> Counter[str]:
    """How many numbers of each type a network in a file holds, by the file's header alone.

    Args:
        family, part: see `load`.

    Raises:
        UnknownName, InvalidFile: as `load` does of a header.
    """
    header, found = store.header(path), Counter[str]()
    for source in find(header, family, part).sources(header).values():
        spec = header.tensors[source.name]
        found[spec.dtype] += math.prod(source.shape(spec.shape))
    return found


def save(
    module: nn.Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a network with its family and config, so that `load` needs nothing else.

    Args:
        metadata: more strings for the file.
        dtype: of its floating-point numbers; None keeps them.

    Raises:
        UnknownName: the module is no network of a family.
        InvalidFile: the place cannot be written.
    """
    family = of(module)
    config: Any = module.config  # every network of a family has one
    said = {
        **(metadata or {}),
        FAMILY_KEY: family.name,
        CONFIG_KEY: json.dumps(dataclasses.asdict(config), sort_keys=True),
    }
    state = module.state_dict()
    return store.write(path, {name: cast(tensor, dtype) for name, tensor in state.items()}, said)


def empty(family: Family, header: store.Header, stated: Mapping[str, Any] | None) -> nn.Module:
    """The network of a file on the meta device: names and shapes, no numbers."""
    config = family.config(header, stated)
    try:
        with torch.device("meta"):
            return family.build(config)
    except (DanqingError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise InvalidFile(f"{header.path} says that it is {family.title}, but none can be built so: {error}") from None


def compare(
    header: store.Header, family: Family, sources: Mapping[str, Source], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a file whose names or shapes are not exactly the network's, or whose numbers are not floating-point
    ones."""
    given = {name: source.shape(header.tensors[source.name].shape) for name, source in sources.items()}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [n for n, shape in given.items() if n in wanted and squeezed(shape, wanted[n]) != wanted[n]]
    # Every number of our networks is a real one; whole numbers are a quantised file's, whose scales are tensors of
    # their own.
    types = {name: header.tensors[source.name].dtype for name, source in sources.items()}
    whole = [
        n for n, dtype in types.items() if n in wanted and not dtype.startswith(("F64", "F32", "F16", "BF16", "F8"))
    ]
    if not (missing or unexpected or misshapen or whole):
        return
    lines = [f"{header.path} does not fit {family.title}:"]
    lines += report("missing", missing, {n: near(n, unexpected) for n in missing[:LISTED]})
    lines += report("unexpected", unexpected, {n: near(n, missing or wanted) for n in unexpected[:LISTED]})
    shapes = {n: f"is {list(given[n])}, should be {list(wanted[n])}" for n in misshapen[:LISTED]}
    lines += report("of another shape", misshapen, shapes)
    lines += report(
        "of no floating-point type",
        whole,
        {n: f"is {types[n]}: quantised weights are not read" for n in whole[:LISTED]},
    )
    lines.append("Nothing was loaded: use a file of this network, or state the config that it was made with")
    raise InvalidFile("\n  ".join(lines))


def report(kind: str, names: list[str], remarks: Mapping[str, str]) -> list[str]:
    """The lines for one kind of difference."""
    lines = [f"{kind}: {name}" + (f" ({remarks[name]})" if remarks[name] else "") for name in names[:LISTED]]
    return [*lines, f"{kind}: {len(names) - LISTED} more"] if len(names) > LISTED else lines


def near(name: str, others: list[str] | Mapping[str, Any]) -> str:
    """A remark with the most similar of other names, or nothing."""
    found = nearest(name, list(others)[:2000])
    return f"nearest: {found[0]}" if found else ""


def squeezed(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a 1×1 convolution, (out, in, 1, 1), as a linear layer's where one is wanted; any other as it is."""
    return shape[:2] if len(wanted) == 2 and shape[2:] == (1, 1) else shape


def fit(tensor: Tensor, wanted: Tensor, device: str | torch.device, dtype: torch.dtype | None) -> Tensor:
    """A tensor of the file as the network holds it."""
    narrow = tensor.is_floating_point() and tensor.element_size() == 1
    return cast(
        tensor.reshape(wanted.shape).to(device), torch.bfloat16 if narrow and dtype is None else dtype
    ).contiguous()
