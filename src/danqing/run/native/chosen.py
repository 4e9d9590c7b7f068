"""Which kernels compute on this machine."""

from __future__ import annotations

from . import attention, convolution, direct, gated, linear, normalise, octets
from .library import Kernel


def running() -> str:
    """The kernels that run here, each with its instruction set, as a record names them; "none" where none does."""
    found = (f"{kernel.name} {kernel.instructions}" for kernel in every() if not kernel.reason())
    return ", ".join(found) or "none"


def every() -> tuple[Kernel, ...]:
    """All kernels."""
    convolutions = (way.kernel for way in convolution.WAYS.values())
    return (
        *attention.KERNELS.values(),
        gated.KERNEL,
        normalise.KERNEL,
        *convolutions,
        direct.KERNEL,
        *linear.KERNELS.values(),
        octets.KERNEL,
    )


def kernels() -> dict[str, str]:
    """Of each kernel its instruction set, or why torch computes in its place."""
    return {kernel.name: kernel.reason() or kernel.instructions for kernel in every()}
