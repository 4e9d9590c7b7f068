"""What every training run shares: where data and runs lie, pictures laid out in a grid, and how this machine computes
fast."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from danqing.learn.training.drive import drive
from danqing.learn.training.loop import EMA, Objective, Training, Trapezoid
from danqing.learn.training.optim import Muon
from danqing.learn.training.winograd import by_winograd
from danqing.pictures.sheet import contact
from danqing.run.precision import autocast, find_precision, scaler

__all__ = ["DATA", "RUNS", "adams", "averaged", "by_muon", "drive", "fast", "grid", "quick", "set_up", "threads"]

DATA, RUNS = Path("data"), Path("runs")
M = TypeVar("M", bound=nn.Module)


def grid(pictures: np.ndarray | Sequence[np.ndarray], columns: int) -> Image.Image:
    """Pictures (B, H, W, 3) of bytes, row by row."""
    return contact([Image.fromarray(picture) for picture in np.asarray(pictures)], columns)


def threads() -> int:
    """How many threads a training takes: all cores of an idle machine, one of a loaded one."""
    cores = os.cpu_count() or 1
    loaded = hasattr(os, "getloadavg") and os.getloadavg()[0] > cores / 2
    return 1 if loaded else cores


def quick(net: nn.Module, device: torch.device) -> nn.Module:
    """A convolutional network made to train fast on a device, in place: channels-last, compiled on a GPU, its 3×3
    convolutions by Winograd where float32 is the fast precision of a CPU."""
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if device.type == "cuda":
        net.compile(dynamic=False)
    if device.type == "cpu" and find_precision(device) == torch.float32:
        by_winograd(net)
    return net


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True


def adams(model: nn.Module, rates: Mapping[str, float], betas: tuple[float, float]) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each named part of a model, at its rate: what two adversaries learn by."""
    parts = {name: list(model.get_submodule(name).parameters()) for name in rates}
    return {name: torch.optim.Adam(part, lr=rates[name], betas=betas, fused=True) for name, part in parts.items()}


def by_muon(
    model: nn.Module,
    objective: Objective,
    batches: Callable[[int], Any],
    groups: list[dict],
    *,
    steps: int,
    decay: int,
    average: float,
) -> Training:
    """A training by one Muon on the model's device: a warm-up of 100 steps, a cool-down over the last ``decay`` of
    ``steps``, an average of the weights that forgets by ``average`` a step, and the machine's fast precision."""
    where = next(model.parameters()).device
    return Training(
        model=model,
        objective=objective,
        batches=batches,
        optimisers={"loss": Muon(groups, dtype=find_precision(where))},
        rate=Trapezoid(100, steps, decay),
        ema=EMA(model, average),
        autocast=lambda: fast(where),
        scaler=scaler(where),
    )


def averaged(run: Training, kind: type[M]) -> M:
    """The averaged model of a training that has one, which is of this kind."""
    assert run.ema is not None and isinstance(run.ema.model, kind)
    return run.ema.model


@contextmanager
def fast(device: torch.device) -> Iterator[None]:
    """Autocast, and on a CPU attention as plain matrix products: its fused backward pass is the slower one there by a
    tenth of a step."""
    kernel = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with autocast(device), kernel:
        yield
