"""How trainings here are usually put together: optimisers, the average, fast precision, and pictures in a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..learn.training.loop import EMA, Objective, Training, Trapezoid
from ..learn.training.optim import Muon
from ..pictures.sheet import contact
from ..run.precision import autocast, scaler, training_precision

M = TypeVar("M", bound=nn.Module)


def grid(pictures: np.ndarray | Sequence[np.ndarray], columns: int) -> Image.Image:
    """Pictures (B, H, W, 3) of bytes, row by row."""
    return contact([Image.fromarray(picture) for picture in np.asarray(pictures)], columns)


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
        optimisers={"loss": Muon(groups, dtype=training_precision(where))},
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
