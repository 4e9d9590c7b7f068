"""Control networks, by the controls of a request: each adds to the skips of what it steers, in its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ... import schedule as schedules
from ...adapt.base import layers
from ...denoise import Denoiser, coefficients
from ...errors import InvalidFile, InvalidInput
from ...nets.controlnet import ControlNet
from ...nets.ports import NO_RESIDUALS, Residuals
from ...nets.unet import UNet
from ...pictures.read import picture as read_picture
from ...request.control import Balance, Control
from ...request.request import Request, Resolved
from ...solve import core
from ...store import controls
from ...tiles import Tiling
from ...types import Conditioning
from ...weights import relative, store
from ...weights.load import load
from ..say import Say, each
from ..steps import later, window
from .attachment import Asked, Attached, Attachment, Target, Warn
from .hints import hint

#: How many control networks a model keeps: each is half as large as it.
KEPT = 2


class How(NamedTuple):
    """How a control is used: which of the request it is, what it says, and the request."""

    place: int
    control: Control
    request: Resolved

    @property
    def name(self) -> str:
        """Under which its hint lies over the picture."""
        return f"control {self.place}"


class Side(NamedTuple):
    """What balance is held between words and hint.

    Args:
        curve: (of the i-th residual, of n) -> by how much it is multiplied.
        base: whether what guidance leads away from is steered too.
    """

    curve: Callable[[int, int], float]
    base: bool


#: Source: sd-webui-controlnet, whose soft weights are 0.825^(12 - i) whatever the number of residuals; diffusers, whose
#: guess mode has residuals rise from 0.1 to 1.
BALANCES: Mapping[Balance, Side] = {
    "balanced": Side(lambda i, n: 1.0, True),
    "prompt": Side(lambda i, n: 0.825 ** (12 - i), True),
    "control": Side(lambda i, n: 0.825 ** (12 - i), False),
    "guess": Side(lambda i, n: 10 ** (i / max(n - 1, 1) - 1), False),
}


def settled(request: Request, net: nn.Module, model: str) -> Request:
    """The request with the network of every control named.

    Raises:
        InvalidInput: one that does not fit the model; UnknownName: one that is not there; InvalidFile: a picture that
            cannot be read.
    """
    if not request.controls:
        return request
    if not isinstance(net, UNet):
        raise InvalidInput(
            f"control {request.controls[0].name}: no network is known that steers a {type(net).__name__}"
        )
    c = net.config
    widths = controls.Made(text=c.cross_attention_dim, pooled=c.pooled_channels, width=c.block_out_channels[0])
    for one in request.controls:
        read_picture(one.image)
    named = (one.model_copy(update={"file": controls.chosen(one, widths, model)}) for one in request.controls)
    return request.but(controls=tuple(named))


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The file of every control that acts in some step."""
    for place, control in enumerate(request.controls):
        first, last, steps = window(request, control.start, control.end)
        if control.weight and first < last:
            path = controls.locate(control.file)
            yield Asked(path, path.name, How(place, control, request))
        else:
            why = "its weight is 0" if not control.weight else f"none of {steps} steps lies in its window"
            warn(f"control {control.name} changes nothing: {why}.")


def read(asked: Asked, target: Target, strict: bool) -> ControlNet:
    """The network, in the type and on the device of what it steers."""
    net = target.nets["denoiser"]
    like = next(net.parameters())
    if relative.is_relative(store.header(asked.path).tensors):
        if not isinstance(net, UNet):
            raise InvalidFile(f"{asked.name} states changes of a UNet, and the model has another network")
        base = {
            f"{name}.{part}": tensor
            for name, layer in layers(net).items()
            for part, tensor in layer.named_parameters(recurse=False)
        }
        return relative.load(asked.path, net.config, base, device=like.device, dtype=like.dtype)
    found = load(
        asked.path,
        family="controlnet",
        config=controls.stated(asked.path),
        device=like.device,
        dtype=like.dtype,
    )
    assert isinstance(found, ControlNet)
    return found


@dataclass(frozen=True, eq=False)
class Steering:
    """A control, as a denoiser asks it: the network's residuals, weighed, in the steps of its window.

    Args:
        name: under which what is seen of the hint lies over the picture.
        acts: (time of the network) -> whether it is in the window.
    """

    name: str
    net: ControlNet
    control: Control
    acts: Callable[[Tensor], bool]

    def __call__(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        if not self.acts(time):
            return NO_RESIDUALS
        if BALANCES[self.control.balance].base:
            return self.told(x, time, cond)
        rows = cond.extra[self.heard][:, 0].nonzero()[:, 0]
        part = self.told(x[rows], time[rows], cond.map(lambda v: v[rows]))
        return over(part, lambda one: one.new_zeros(len(x), *one.shape[1:]).index_copy(0, rows, one))

    @property
    def heard(self) -> str:
        """Under which it is marked who is steered, where not all are."""
        return f"{self.name} heard"

    def told(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        """The residuals of those that are steered."""
        seen = cond.maps[self.name]
        if seen.shape[-2:] != x.shape[-2:]:
            raise InvalidInput(
                f"control {self.control.name}: the network sees a picture as {seen.shape[-1]}×{seen.shape[-2]} cells, "
                f"and this model as {x.shape[-1]}×{x.shape[-2]}: use one that was made for it"
            )
        return weighed(self.net(x, time, cond.tokens, seen=seen, pooled=cond.pooled), self.control)


def weighed(found: Residuals, control: Control) -> Residuals:
    """Residuals by the control's weight and its balance; at weight 1, balanced, those that were found."""
    count, curve = len(found.down) + (found.mid is not None), BALANCES[control.balance].curve
    weights = iter([control.weight * curve(i, count) for i in range(count)])
    return over(found, lambda one: one if (weight := next(weights)) == 1 else one * weight)


def over(found: Residuals, change: Callable[[Tensor], Tensor]) -> Residuals:
    """Each residual changed, the middle's last."""
    down = tuple(map(change, found.down))
    return Residuals(down=down, mid=None if found.mid is None else change(found.mid))


def acting(denoiser: Denoiser, request: Resolved, control: Control) -> Callable[[Tensor], bool]:
    """Whether a time of the network, (B,), is in the control's window, as prompts that change over the steps go by time:
    what a solver asks between the beginnings of two steps is the earlier one's."""
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


def shown(how: How, net: ControlNet, request: Resolved) -> Say:
    """Lays what is seen of the hint, at the size that is painted, over every term and the base."""
    like = next(net.parameters())
    halved = 2 ** (len(net.config.hint_widths) - 1)
    picture = hint(how.control, request).to(like)
    tile = request.tiling.size
    tiling = Tiling(tile=tile and tile // halved, closing=request.tiling.panorama)
    seen = tiling.joined((request.height // halved, request.width // halved), lambda cut: net.see(cut(picture)))

    side = BALANCES[how.control.balance]

    def more(heard: float, said: Conditioning) -> Conditioning:
        mark = {} if side.base else {f"{how.name} heard": torch.full((1, 1), heard, device=like.device)}
        return replace(said, maps={**said.maps, how.name: seen}, extra={**said.extra, **mark})

    return each(partial(more, 1.0), partial(more, 0.0))


def attach(attached: Attached, found: Iterable[tuple[Asked, ControlNet]], target: Target, warn: Warn) -> Attached:
    """Every control beside the others."""
    for asked, net in found:
        how: How = asked.how
        steering = Steering(how.name, net, how.control, acting(target.denoiser, how.request, how.control))
        on = partial(target.denoiser.add_control, steering)
        attached = attached.add(asked.path, on, say=[partial(shown, how, net)])
    return attached


CONTROL = Attachment(
    find=find,
    read=read,
    attach=attach,
    does="Control networks, each shown a picture's edges, depth, pose or another hint.",
    uses=("controls",),
    kept=KEPT,
)
