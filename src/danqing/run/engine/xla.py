"""Networks compiled by XLA for the processor, through torchax and JAX: https://github.com/google/torchax.

A graph goes to JAX operation by operation, which takes longer than anything else, so what JAX makes of it is kept on
the disk (StableHLO), and what XLA makes of that by JAX's own cache beside it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverloadPacket
from torch.export import ExportedProgram

from ... import atomic
from ...log import timed
from ..device import threads
from ..native import library
from . import whole
from .engines import Engine

#: Raised whenever something else is kept of the same graph.
FORM = 1
#: What computes.
PACKAGES = ("torchax", "jax")
#: Bytes of what XLA compiled that are kept on the disk; of more JAX removes the oldest.
KEPT = 4 << 30
#: The variable that says to XLA how many threads to start.
THREADS = "PJRT_NPROC"


def folder() -> Path:
    """Where graphs are kept."""
    return library.cache().with_name("xla")


def reason(where: torch.device) -> str:
    """Why XLA cannot compute on a device, "" if it can."""
    if where.type != "cpu":
        return f"XLA computes on processors here, not on {where.type}"
    there = find_spec("torchax") and find_spec("jax")
    return "" if there else 'torchax and JAX are not installed: run `pip install "danqing[xla]"`'


@contextmanager
def placeholders() -> Iterator[None]:
    """While torchax is imported, operators that this torch has no more are there by name: it lists what it can compute,
    some of it for other versions."""
    own = OpOverloadPacket.__getattr__

    def found(packet: OpOverloadPacket, name: str) -> Any:
        try:
            return own(packet, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return object()  # which no graph holds

    OpOverloadPacket.__getattr__ = found  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        OpOverloadPacket.__getattr__ = own


@cache
def torchax() -> Any:
    """What of torchax turns graphs into functions of JAX, loaded late; what XLA compiles is kept in our folder."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with placeholders(), timed("torchax loaded"):
        export = import_module("torchax.export")
        import_module("torchax").default_env()  # which makes the list
    torch.backends.mha.set_fastpath_enabled(fast)  # which torchax turns off
    jax().config.update("jax_compilation_cache_dir", str(folder() / "compiled"))
    jax().config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax().config.update("jax_compilation_cache_max_size", KEPT)
    return export


@cache
def jax() -> Any:
    """The package, loaded late; it computes by as many threads as torch when it was."""
    import_module("jax.export")
    package, own = import_module("jax"), os.environ.get(THREADS)
    os.environ[THREADS] = own or str(threads())
    try:
        package.devices("cpu")  # reads it, once in a process
    finally:
        del os.environ[THREADS]
        os.environ |= {THREADS: own} if own else {}
    return package


def of_torch(tensor: Tensor) -> Any:
    """A tensor as JAX reads it, in the same memory where that is aligned as JAX wants it."""
    return jax().dlpack.from_dlpack(tensor.detach().contiguous())


def numbers_of(program: ExportedProgram) -> dict[str, Tensor]:
    """The numbers of a graph's network by name, in the order in which its function takes them.

    Raises:
        Unfit: JAX would round them.
    """
    held = {**program.state_dict, **program.constants}
    found = {name: held[name] for name in (*program.graph_signature.parameters, *program.graph_signature.buffers)}
    if wide := {value.dtype for value in found.values()} & {torch.float64, torch.complex128}:
        raise whole.Unfit(f"JAX computes in 32 bits at most, and it holds {str(wide.pop()).removeprefix('torch.')}")
    return found


def function(program: ExportedProgram, names: Sequence[str]) -> Callable[..., Any]:
    """A graph as a function of JAX, (numbers, inputs) -> outputs; its constants are in it."""
    with warnings.catch_warnings(), timed("a graph made for JAX"):
        warnings.simplefilter("ignore")  # of torch, about torchax
        ours, states, answer = torchax().exported_program_to_jax(program, export_raw=True)
    if [*ours] != [*names]:
        raise whole.Unfit("torchax takes its numbers in another order")
    constants = [of_torch(one) for one in states[len(names) :]]
    return lambda numbers, inputs: answer([*numbers, *constants], inputs)


def build(program: ExportedProgram, tensors: Sequence[Tensor]) -> whole.Ask:
    """Compile a graph for the shapes of some inputs, or take what was kept of it. Whatever is wrong with what is kept
    costs time and nothing else."""
    held = numbers_of(program)
    torchax()
    path = folder() / f"{whole.digest_of(program, tensors, FORM, *map(version, PACKAGES))}.stablehlo"
    given = [of_torch(one) for one in held.values()], tuple(map(of_torch, tensors))
    found: Any = None
    with suppress(Exception):
        digest, said = path.read_bytes()[:64], path.read_bytes()[64:]
        if hashlib.blake2b(said).digest() == digest:
            found = jax().export.deserialize(bytearray(said))
    if found is None:
        found = jax().export.export(jax().jit(function(program, [*held])))(*given)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            said = bytes(found.serialize())
            atomic.write(path, hashlib.blake2b(said).digest() + said)
    with timed("compiled by XLA"):
        compiled = jax().jit(found.call).lower(*given).compile()

    def ask(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return [torch.from_dlpack(one).clone() for one in compiled(given[0], tuple(map(of_torch, tensors)))]

    return ask


def attach(net: nn.Module) -> Callable[[], None]:
    """Have a network compiled when it is first called with a shape."""
    return whole.attach(net, build)


XLA = Engine(
    attach=attach,
    reason=reason,
    aside=whole.aside,
    keeps=True,
    record=lambda: {name: version(name) for name in PACKAGES},
    does="Whole networks by XLA (torchax, JAX), for each size once, kept on the disk; processors alone.",
)
