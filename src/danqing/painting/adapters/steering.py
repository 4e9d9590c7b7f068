"""A control network as a denoiser asks it: which hints act in a step, who is steered, and how strongly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ... import schedule as schedules
from ...denoise import Denoiser, coefficients
from ...errors import InvalidInput
from ...nets.controlnet import Shown
from ...nets.ports import NO_RESIDUALS, Residuals
from ...request.control import Balance, Control
from ...request.request import Resolved
from ...solve import core
from ...types import Conditioning
from ..steps import later, window

#: What the kinds of a union are, by their place in it.
TYPES: Mapping[str, int] = {
    "pose": 0,
    "depth": 1,
    **dict.fromkeys(("soft-edge", "scribble"), 2),
    **dict.fromkeys(("edges", "line-art", "drawn-lines", "straight"), 3),
    "normal": 4,
    "segmentation": 5,
    **dict.fromkeys(("tile", "blur"), 6),
    "inpaint": 7,
}


class Side(NamedTuple):
    """What balance is held between words and hint.

    Args:
        curve: (of the i-th residual, of n) -> by how much it is multiplied.
        base: whether what guidance leads away from is steered too.
    """

    curve: Callable[[int, int], float]
    base: bool


def soft(i: int, n: int) -> float:
    """0.825^(12 - i) of up to 13 residuals, as a UNet has them; of more the same curve, drawn out.

    Source: sd-webui-controlnet, whose soft weights these are for UNets.
    """
    return 0.825 ** (12 - 12 * i / max(n - 1, 12))


#: Source: diffusers, whose guess mode has residuals rise from 0.1 to 1; sd-webui-controlnet for the others.
BALANCES: Mapping[Balance, Side] = {
    "balanced": Side(lambda i, n: 1.0, True),
    "prompt": Side(soft, True),
    "control": Side(soft, False),
    "guess": Side(lambda i, n: 10 ** (i / max(n - 1, 1) - 1), False),
}


class How(NamedTuple):
    """How a control is used: which of the request it is, what it says, and the request."""

    place: int
    control: Control
    request: Resolved

    @property
    def name(self) -> str:
        """Under which its hint lies over the picture."""
        return f"control {self.place}"

    @property
    def heard(self) -> str:
        """Under which it is marked who is steered, where not all are."""
        return f"{self.name} heard"


class Member(NamedTuple):
    """A control, and whether it acts at a time of the network, (B,)."""

    how: How
    acts: Callable[[Tensor], bool]


def acting(denoiser: Denoiser, request: Resolved, control: Control) -> Callable[[Tensor], bool]:
    """Whether a time of the network, (B,), is in the control's window. As for prompts that change over the steps, what
    a solver asks between the beginnings of two steps is the earlier one's."""
    first, last, steps = window(request, control.start, control.end)
    times = schedules.spacing(request.sampling.spacing)(denoiser.schedule, request.sampling.steps)
    points = later(core.points(denoiser.schedule, times), request)
    t = torch.tensor([point.t for point in points], dtype=torch.float32)
    network = coefficients(denoiser.prediction, denoiser.schedule, t).time.double()

    def begins(step: int) -> float:
        """A time between those of a step and of the one before, next to the former."""
        if step in (0, steps):
            return math.inf if step == 0 else -math.inf
        return float(network[step] + (network[step - 1] - network[step]) / 1000)

    upper, lower = begins(first), begins(last)
    return lambda time: lower < float(time[0]) <= upper


@dataclass(frozen=True, eq=False)
class Steering:
    """A `denoise.Control`: the residuals of a network for the controls that it is shown at once, in the steps of each.

    Args:
        net: (x, time, tokens, *, shown, pooled) -> residuals, as of a `ControlNet` that is told what the denoiser's
            network is; it is shown one at a time, or several where it knows several kinds.
        members: of one balance.
    """

    net: Callable[..., Residuals]
    members: Sequence[Member]

    def __call__(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        now = [member.how for member in self.members if member.acts(time)]
        if not now:
            return NO_RESIDUALS
        side = BALANCES[now[0].control.balance]
        if side.base:
            return curved(self.told(now, x, time, cond), side)
        rows = cond.extra[now[0].heard][:, 0].nonzero()[:, 0]
        found = self.told(now, x[rows], time[rows], cond.map(lambda v: v[rows]))
        return curved(found, side).map(lambda one: one.new_zeros(len(x), *one.shape[1:]).index_copy(0, rows, one))

    def told(self, now: Sequence[How], x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        """The residuals of those that are steered."""
        for how in now:
            grid, cells = cond.maps[how.name].shape[-2:], x.shape[-2:]
            if grid != cells:
                raise InvalidInput(
                    f"control {how.control.name}: its network sees a picture as {grid[1]}×{grid[0]} cells, and this "
                    f"model as {cells[1]}×{cells[0]}: use one that was made for it"
                )
        shown = [Shown(cond.maps[how.name], how.control.weight, TYPES.get(how.control.name, 0)) for how in now]
        return self.net(x, time, cond.tokens, shown=shown, pooled=cond.pooled)


def curved(found: Residuals, side: Side) -> Residuals:
    """Residuals by a balance."""
    count = len(found.down) + (found.mid is not None)
    weights = iter([side.curve(i, count) for i in range(count)])
    return found.map(lambda one: one if (weight := next(weights)) == 1 else one * weight)
