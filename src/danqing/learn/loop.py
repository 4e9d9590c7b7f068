"""The one training loop: a generator that resumes exactly.

Everything random in a step is keyed by (seed, step): which items it sees (``data.Order``) and which noise it draws
(``data.keyed``). So a checkpoint holds the weights, the averages, the optimisers and the step, and a run that was killed
anywhere ends, bit for bit, with the weights of an unbroken run.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from danqing.errors import InvalidFile
from danqing.learn.data import keyed


class Objective(Protocol):
    """(model, batch, noise) -> losses. A loss named as an optimiser is minimised by it; any other is only reported."""

    def __call__(self, model: nn.Module, batch: Any, noise: torch.Generator) -> dict[str, Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the loop yields after each step: the step just done (from 1), its losses, and the seconds it took."""

    step: int
    losses: Mapping[str, float]
    seconds: float


class EMA:
    """An exponential moving average of weights: w' <- d w' + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)) at update n.

    The ramp keeps the random start out of the average. Source: Polyak & Juditsky 1992; Ho et al. 2020, appendix B.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9995):
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - d)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


@dataclass(frozen=True)
class Trapezoid:
    """A learning-rate factor: linear warm-up, flat, linear decay to zero over the last ``decay`` steps (Hägele et al. 2024).

    ``steps=None`` never decays, for a run whose end is not known yet.
    """

    warmup: int = 100
    steps: int | None = None
    decay: int = 0

    def __call__(self, step: int) -> float:
        up = min(1.0, (step + 1) / max(1, self.warmup))
        if self.steps is None or not self.decay:
            return up
        return min(up, max(0.0, (self.steps - step) / self.decay))


@dataclass(kw_only=True)
class Training:
    """All that a training is: the model, what it minimises, what it sees, and where its state lives.

    Args:
        model: the module, on its device.
        objective: see ``Objective``.
        batches: step -> batch, a pure function of the step; ``Order`` and ``keyed`` make it one.
        optimisers: by the name of the loss each minimises.
        rate: step -> factor on every learning rate.
        seed: keys the noise.
        ema: the average, or None.
        clip: the largest norm of the gradient; larger ones are scaled down.
        autocast: a context for the forward pass; ``run.precision.autocast`` chooses it for the machine.
        scaler: the loss scaler of fp16 on CUDA; disabled elsewhere.
    """

    model: nn.Module
    objective: Objective
    batches: Callable[[int], Any]
    optimisers: Mapping[str, Optimizer]
    rate: Callable[[int], float] = field(default_factory=Trapezoid)
    seed: int = 0
    ema: EMA | None = None
    clip: float = 1.0
    autocast: Callable[[], AbstractContextManager] = nullcontext
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))  # type: ignore[reportPrivateImportUsage]
    step: int = 0

    def __post_init__(self) -> None:
        self._base = {
            name: [group["lr"] for group in optimiser.param_groups] for name, optimiser in self.optimisers.items()
        }

    def run(self, steps: int) -> Iterator[Progress]:
        """Train up to step ``steps``, yielding after each; the caller's ``for`` logs, saves, samples and stops."""
        while self.step < steps:
            began = time.perf_counter()
            losses = self._one(self.step)
            self.step += 1
            yield Progress(step=self.step, losses=losses, seconds=time.perf_counter() - began)

    def _one(self, step: int) -> dict[str, float]:
        self.model.train()
        noise, batch = keyed(self.seed, "noise", step), self.batches(step)
        with self.autocast():
            losses = self.objective(self.model, batch, noise)
        for name, optimiser in self.optimisers.items():
            for group, base in zip(optimiser.param_groups, self._base[name], strict=True):
                group["lr"] = base * self.rate(step)
            optimiser.zero_grad(set_to_none=True)
            self.scaler.scale(losses[name]).backward()
            self.scaler.unscale_(optimiser)
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            losses[f"{name}_grad"] = nn.utils.clip_grad_norm_(parameters, self.clip)
            self.scaler.step(optimiser)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.model)
        return {name: float(value.detach()) for name, value in losses.items()}

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "ema": None if self.ema is None else {"model": self.ema.model.state_dict(), "updates": self.ema.updates},
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.ema is not None:
            self.ema.model.load_state_dict(state["ema"]["model"])
            self.ema.updates = int(state["ema"]["updates"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def save(self, path: Path) -> None:
        """Write a checkpoint beside ``path``, then rename: a kill leaves the old one or the new one, whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        torch.save(self.state(), beside)
        os.replace(beside, path)

    def resume(self, path: Path) -> bool:
        """Continue from ``path`` if it exists; says whether it did. Reads tensors and plain values only, never code.

        Raises:
            InvalidFile: it is damaged or no checkpoint, or one of another training: of other weights, say, or optimisers.
        """
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InvalidFile(f"{path} is no checkpoint of a training ({error}). Delete it to begin anew.") from error
        try:
            self.restore(state)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InvalidFile(f"{path} is no checkpoint of this training ({reason}). Delete or move it to begin anew.") from error
        return True
