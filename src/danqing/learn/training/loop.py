"""The one training loop: a generator that resumes exactly.

Everything random in a step is keyed by (seed, step): which items it sees (``data.Order``), which noise it draws
(``data.keyed``), and what its layers draw from torch's global generators (``data.globally``). So a checkpoint holds the
weights, the averages, the optimisers and the step, and a run that was killed anywhere ends, bit for bit, with the
weights of an unbroken run.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import DanqingError, InvalidFile, InvalidInput
from ...noise import globally, keyed
from . import checkpoint, parallel


class Objective(Protocol):
    """(model, batch, noise) -> losses. A loss named as an optimiser is minimised by it, and None lets that optimiser
    rest in this step; any other is only reported."""

    def __call__(self, model: nn.Module, batch: Any, noise: torch.Generator) -> Mapping[str, Tensor | None]: ...


@runtime_checkable
class Staged(Protocol):
    """An objective that is another one at other steps: ``at(step)`` says which, a pure function of the step."""

    def at(self, step: int) -> Objective: ...


@dataclass(frozen=True, kw_only=True)
class Lazy:
    """``seldom`` at each step that ``every`` divides, ``often`` at all others.

    A regulariser that is costly and slow to change is added in ``seldom``, with ``every`` times its weight (Karras et
    al. 2020, "StyleGAN2", section 3.1: R1 at every 16th step); two objectives that let each other's optimiser rest
    alternate.
    """

    often: Objective
    seldom: Objective
    every: int

    def at(self, step: int) -> Objective:
        return self.seldom if step % self.every == 0 else self.often


class Diverged(DanqingError):
    """A loss or a gradient is no number any more; nothing of that step was applied."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the loop yields after each step: the step just done (from 1), its losses, and the seconds it took."""

    step: int
    losses: Mapping[str, float]
    seconds: float


class EMA:
    """An exponential moving average of weights: w' <- d w' + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)) at
    update n.

    The ramp keeps the random start out of the average. Source: Polyak & Juditsky 1992; Ho et al. 2020, appendix B.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9995):
        self.decay, self.updates = decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - d)  # pyright: ignore[reportPrivateImportUsage]
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.updates += 1


@dataclass(frozen=True)
class Trapezoid:
    """A learning-rate factor: linear warm-up, flat, linear decay to zero over the last ``decay`` steps (Hägele et al.
    2024).

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

    Each loss is differentiated with respect to its own optimiser's parameters alone, and all are before any optimiser
    steps: theta_i <- step_i(theta_i, d loss_i / d theta_i at theta). So losses may share a graph, as those of a GAN do.

    Args:
        model: the module, on its device.
        objective: see ``Objective``; one that depends on the step is ``Staged``, e.g. ``Lazy``.
        batches: index -> batch, a pure function of the index; ``Order`` and ``keyed`` make it one. The index counts
            batches: it is the step, except that each step takes ``accumulate`` of them in each process, (step a + part)
            n + rank.
        optimisers: by the name of the loss each minimises. No parameter may be in two.
        rate: step -> factor on every learning rate.
        seed: keys the noise.
        ema: the average, or None.
        clip: the largest norm of each optimiser's gradient; larger ones are scaled down.
        accumulate: over how many batches a step's gradient is the mean, at least 1: a batch as large, in the memory of
            a small one.
        autocast: a context for the forward pass; ``run.precision.autocast`` chooses it for the machine.
        scaler: the loss scaler of fp16 on CUDA; disabled elsewhere. An overflow makes only the optimiser step that it
            befell be left out, and halves the scale of all.
        settings: plain values that a checkpoint must share to be resumed from; empty ones are not compared.
        notes: what a person should know before it starts, e.g. which files were skipped.

    Raises:
        InvalidInput: a parameter in two optimisers, an optimiser whose loss is missing or reaches none of its
            parameters.
        Diverged: by `run`, when a minimised loss or its gradient is no finite number. What the loss scaler can still
            cure by a smaller scale is left to it.
    """

    model: nn.Module
    objective: Objective | Staged
    batches: Callable[[int], Any]
    optimisers: Mapping[str, Optimizer]
    rate: Callable[[int], float] = field(default_factory=Trapezoid)
    seed: int = 0
    ema: EMA | None = None
    clip: float = 1.0
    accumulate: int = 1
    autocast: Callable[[], AbstractContextManager] = nullcontext
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))  # pyright: ignore[reportPrivateImportUsage]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    step: int = 0

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise InvalidInput(f"accumulate: {self.accumulate} was given; possible is a whole number from 1")
        self._base, self._parameters = {}, {}
        owners: dict[Tensor, str] = {}
        for name, optimiser in self.optimisers.items():
            self._base[name] = [group["lr"] for group in optimiser.param_groups]
            self._parameters[name] = [p for group in optimiser.param_groups for p in group["params"] if p.requires_grad]
            for p in self._parameters[name]:
                if owners.setdefault(p, name) != name:
                    both = f"{owners[p]!r} and {name!r}"
                    raise InvalidInput(
                        f"the optimisers {both} share a parameter of shape {tuple(p.shape)}: give it to one of them"
                    )
        if not all(self._parameters.values()):
            raise InvalidInput(
                "an optimiser has no parameter that requires a gradient: leave it out, or call requires_grad_(True)"
            )

    def run(self, steps: int) -> Iterator[Progress]:
        """Train up to step ``steps``, yielding after each; the caller's ``for`` logs, saves, samples and stops."""
        averages = [] if self.ema is None else [self.ema.model]
        parallel.broadcast_([t for m in (self.model, *averages) for t in (*m.parameters(), *m.buffers())])
        while self.step < steps:
            began = time.perf_counter()
            losses = self._one(self.step)
            self.step += 1
            yield Progress(step=self.step, losses=losses, seconds=time.perf_counter() - began)

    def _one(self, step: int) -> dict[str, float]:
        self.model.train()
        losses = self._gradients(step)
        awake = {name: optimiser for name, optimiser in self.optimisers.items() if name in losses}
        for name, optimiser in awake.items():
            parallel.average_gradients(self._parameters[name])
            self.scaler.unscale_(optimiser)
            losses[f"{name}_grad"] = nn.utils.get_total_norm(
                [p.grad for p in self._parameters[name] if p.grad is not None]
            )
        means = parallel.mean([float(value) for value in losses.values()])
        values = dict(zip(losses, means, strict=True))
        self._finite(step, {name: values[name] for loss in awake for name in (loss, f"{loss}_grad")})
        for name, optimiser in awake.items():
            if (norm := values[f"{name}_grad"]) > self.clip:
                nn.utils.clip_grads_with_norm_(self._parameters[name], self.clip, torch.tensor(norm))
            for group, base in zip(optimiser.param_groups, self._base[name], strict=True):
                group["lr"] = base * self.rate(step)
            self.scaler.step(optimiser)
        if awake:
            self.scaler.update()
        parallel.broadcast_(
            list(self.model.buffers())
        )  # statistics of batches are those of the first process, as in its checkpoint
        if self.ema is not None:
            self.ema.update(self.model)
        return values

    def _batches(self, step: int) -> list[int]:
        """The indices of the batches that this process sees in a step."""
        return [(step * self.accumulate + part) * parallel.count() + parallel.rank() for part in range(self.accumulate)]

    def _gradients(self, step: int) -> dict[str, Tensor]:
        """Put the gradient of each loss into its optimiser's parameters; the mean of every loss over the batches of the
        step."""
        objective = self.objective.at(step) if isinstance(self.objective, Staged) else self.objective
        device = next(self.model.parameters()).device
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for index in self._batches(step):
            with globally(device, self.seed, "model", index):
                batch, noise = self.batches(index), keyed(self.seed, "noise", index)
                with self.autocast():
                    found = objective(self.model, batch, noise)
                self._backward(found)
            for name, loss in found.items():
                if loss is not None:
                    losses[name] = losses.get(name, 0) + loss.detach() / self.accumulate
        for name in self.optimisers:
            if name in losses and all(p.grad is None for p in self._parameters[name]):
                raise InvalidInput(
                    f"the loss {name!r} depends on no parameter of its optimiser: was something detached?"
                )
        return losses

    def _backward(self, losses: Mapping[str, Tensor | None]) -> None:
        if missing := [name for name in self.optimisers if name not in losses]:
            given = ", ".join(losses)
            raise InvalidInput(
                f"the objective gives no loss for the optimiser {missing[0]!r}, but {given}; None would let it rest"
            )
        awake = [(name, loss) for name in self.optimisers if (loss := losses[name]) is not None]
        for left, (name, loss) in zip(reversed(range(len(awake))), awake, strict=True):
            # Without ``inputs`` a generator's loss would leave its gradient in the discriminator too.
            scaled = self.scaler.scale(loss / self.accumulate)
            scaled.backward(inputs=self._parameters[name], retain_graph=left > 0)

    def _finite(self, step: int, values: Mapping[str, float]) -> None:
        wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
        if not wrong or (self.scaler.is_enabled() and self.scaler.get_scale() > 1):
            return
        each = self.accumulate * parallel.count()
        batches = f"batch {step}" if each == 1 else f"batches {step * each} to {(step + 1) * each - 1}"
        what = ", ".join(f"{name} is {value}" for name, value in wrong.items())
        raise Diverged(
            f"{what} in step {step + 1}, on {batches}: the weights are still those of step {step}, and the last "
            "checkpoint stays. "
            f"Look at that batch, or lower the learning rate"
        )

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "ema": None if self.ema is None else {"model": self.ema.model.state_dict(), "updates": self.ema.updates},
            "scaler": self.scaler.state_dict(),
            "order": self._order(),
            "settings": dict(self.settings),
        }

    def _order(self) -> dict[str, Any]:
        """What says which batch and which noise a step sees. One process that accumulates two batches sees those of two
        processes."""
        return {"seed": self.seed, "batches a step": self.accumulate * parallel.count()}

    def _differs(self, state: Mapping[str, Any]) -> list[str]:
        """Why a state is not one of this training, known before anything of it is taken over."""
        averages = None if self.ema is None else self.ema.model.state_dict()
        said = checkpoint.weights_differ(self.model.state_dict(), state["model"])
        if averages is not None and state["ema"] is None:
            said.append("it has no average of the weights")
        elif averages is not None:
            said += [f"in the average {line}" for line in checkpoint.weights_differ(averages, state["ema"]["model"])]
        if set(state["optimisers"]) != set(self.optimisers):
            said.append(f"its optimisers are {sorted(state['optimisers'])}, here {sorted(self.optimisers)}")
        said += checkpoint.settings_differ(
            self._order(), state.get("order", self._order())
        )  # none in older checkpoints
        if self.settings and state.get("settings"):
            return checkpoint.settings_differ(self.settings, state["settings"]) or said
        return said

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state``.

        Raises:
            InvalidInput: it is one of other weights, other optimisers, another seed or other settings; nothing was
                taken over.
        """
        if said := self._differs(state):
            more = f" and {len(said) - 4} more" if len(said) > 4 else ""
            raise InvalidInput("; ".join(said[:4]) + more)
        self.model.load_state_dict(state["model"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if self.ema is not None:
            self.ema.model.load_state_dict(state["ema"]["model"])
            self.ema.updates = int(state["ema"]["updates"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.step = int(state["step"])

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all; of several processes the first does.

        Raises:
            InvalidFile: it cannot be written; the one before it stays.
        """
        if parallel.rank() == 0:
            checkpoint.write(path, self.state())

    def resume(self, path: Path) -> bool:
        """Continue from ``path`` if it exists; says whether it did. Reads tensors and plain values only, never code.

        Raises:
            InvalidFile: it is damaged or no checkpoint, or one of another training: of other weights, say, or
                optimisers; or the processes do not see the same file. The file stays as it is.
        """
        there = path.exists()
        if there:
            state = checkpoint.read(path)
            try:
                self.restore(state)
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                reason = str(error) if isinstance(error, InvalidInput) else f"{type(error).__name__}: {error}"
                remedy = "Resume it as it was begun, or begin anew in another folder"
                raise InvalidFile(f"{path} is no checkpoint of this training ({reason}). {remedy}.") from error
        if parallel.most(self.step) + parallel.most(-self.step) != 0:
            raise InvalidFile(
                f"not all processes find the same checkpoint {path}: its folder must be one that all of them share"
            )
        return there
