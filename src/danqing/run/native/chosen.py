"""Which kernels compute on this machine."""

from __future__ import annotations

from . import attention, convolution, normalise


def kernels() -> dict[str, str]:
    """Of each kernel its instruction set, or why torch computes in its place."""
    found = (*attention.KERNELS.values(), normalise.KERNEL, convolution.KERNEL)
    return {kernel.name: kernel.reason() or kernel.instructions for kernel in found}
