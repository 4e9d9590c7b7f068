"""The precision to compute in, chosen for the machine: the fast one of one processor is the unusable one of another."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F

from ..errors import UnknownName
from .device import find_device
from .measured import chosen
from .processor import Cpu, cpu

NAMES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: The environment variable that overrides the choice.
VARIABLE = "DANQING_PRECISION"
#: A processor with one of these multiplies bfloat16 in hardware; one without is up to a hundred times slower in it.
FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


def precision_name(dtype: torch.dtype) -> str:
    """The short name of a dtype: "fp32", "bf16", "fp16", else torch's own name."""
    return next((short for short, d in NAMES.items() if d == dtype), str(dtype).removeprefix("torch."))


def find_precision(device: str | torch.device | None = None, override: str | torch.dtype | None = None) -> torch.dtype:
    """The dtype to paint in on ``device``.

    In this order: ``override``, the variable DANQING_PRECISION, on a processor what was measured there, what is usually
    fast: bfloat16 on a processor with AVX512-BF16 or AMX-BF16 and on CUDA from compute capability 8, float16 on CUDA 7
    and on MPS, float32 elsewhere.

    Args:
        device: as for `danqing.run.device.find_device`.
        override: "fp32", "bf16", "fp16", or a dtype; None or "auto" leaves the choice to the machine.

    Raises:
        UnknownName: another name in ``override`` or in the variable; the nearest is offered.
    """
    if isinstance(override, torch.dtype):
        return override
    if stated := _stated(override):
        return stated
    where = find_device(device)
    return (NAMES.get(chosen().precision) if where.type == "cpu" else None) or choose(where)


def training_precision(device: str | torch.device | None = None) -> torch.dtype:
    """The dtype to train in: as `find_precision`, but for what was measured, which says nothing of gradients.

    Raises:
        UnknownName: another name in the variable.
    """
    return _stated(None) or choose(find_device(device))


def _stated(override: str | None) -> torch.dtype | None:
    """What somebody said outright, "auto" being nothing."""
    for kind, given in (("precision", override), (f"precision in {VARIABLE}", os.environ.get(VARIABLE))):
        if given and given.lower() != "auto":
            if given.lower() not in NAMES:
                raise UnknownName(kind, given, ("auto", *NAMES))
            return NAMES[given.lower()]
        if given:
            break  # "auto" said outright is not overridden by the variable
    return None


def choose(where: torch.device) -> torch.dtype:
    """What is fast on a device that is here."""
    if where.type == "cpu":
        return choose_cpu(cpu())
    if where.type == "cuda":
        major, _ = torch.cuda.get_device_capability(where)
        # Before 7 float16 runs at a small fraction of float32's rate, and bfloat16 is emulated before 8.
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
    if where.type == "xpu":
        return torch.bfloat16 if torch.xpu.is_bf16_supported() else torch.float16
    return torch.float16 if where.type == "mps" else torch.float32


def choose_cpu(processor: Cpu) -> torch.dtype:
    """From the flags where they decide; where there are none, or on ARM, from a short measurement."""
    if processor.flags & FAST_BF16:
        return torch.bfloat16
    if "avx2" in processor.flags or platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        return torch.float32
    return torch.bfloat16 if speedup(torch.bfloat16) >= 1.5 else torch.float32


@functools.cache
def speedup(dtype: torch.dtype) -> float:
    """How much faster this processor is in ``dtype`` than in fp32: the worse of a matrix product and a convolution."""
    matrix = torch.ones(256, 256)
    grid, kernel = torch.ones(1, 64, 24, 24), torch.ones(64, 64, 3, 3)
    grid, kernel = (v.to(memory_format=torch.channels_last) for v in (grid, kernel))

    def ratio(work: Callable[..., object], *inputs: torch.Tensor) -> float:
        return seconds(work, *inputs) / seconds(work, *(v.to(dtype) for v in inputs))

    return min(ratio(torch.matmul, matrix, matrix), ratio(lambda x, w: F.conv2d(x, w, padding=1), grid, kernel))


def seconds(work: Callable[..., object], *inputs: torch.Tensor) -> float:
    """The shortest of five runs after one that is not counted."""
    work(*inputs)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        work(*inputs)
        times.append(time.perf_counter() - begin)
    return min(times)


def autocast(device: str | torch.device | None = None) -> AbstractContextManager[object]:
    """A context for a training's forward pass: the machine's fast precision, or nothing where that is float32.

    float16 needs a scaled loss and is therefore used on CUDA alone, where `scaler` gives one.
    """
    where = find_device(device)
    dtype = training_precision(where)
    if dtype == torch.bfloat16 or (dtype == torch.float16 and where.type == "cuda"):
        return torch.autocast(where.type, dtype=dtype)
    return nullcontext()


def scaler(device: str | torch.device | None = None) -> torch.amp.GradScaler:
    """The loss scaler that goes with `autocast`: at work in float16 on CUDA, else one that changes nothing."""
    where = find_device(device)
    return torch.amp.GradScaler(where.type, enabled=where.type == "cuda" and training_precision(where) == torch.float16)
