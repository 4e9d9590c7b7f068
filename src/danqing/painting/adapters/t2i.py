"""T2I-Adapters, by the controls of a request: each adds to the levels of a UNet what it makes of a hint once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import InvalidFile, InvalidInput
from ...nets.ports import NO_RESIDUALS, Residuals
from ...nets.t2i_adapter import XL_FACTOR, T2IAdapter
from ...nets.trunk import Down
from ...request.request import Resolved
from ...types import Conditioning
from ...weights.load import load
from ..say import Say
from .attachment import Asked, Attached, Attachment, Target, Warn
from .control import asked_for, laid
from .hints import hint
from .steering import BALANCES, How, Member, acting

#: How many hints' features are kept: those of a picture's tiles.
KEPT = 16


def read(asked: Asked, target: Target, strict: bool) -> T2IAdapter:
    """The network, in the type and on the device of what it steers."""
    like = next(target.nets["denoiser"].parameters())
    found = load(asked.path, family="t2i-adapter", device=like.device, dtype=like.dtype)
    if not isinstance(found, T2IAdapter):
        raise InvalidFile(f"{asked.path} holds no T2I-Adapter")
    return found


class Adding:
    """What a T2I-Adapter adds in the call of a network that is under way.

    Args:
        net: the adapter.
        member: the control, and when it acts.
    """

    def __init__(self, net: T2IAdapter, member: Member):
        self.net, self.member = net, member
        self._now: list[Tensor] = []
        self._known: list[tuple[Tensor, list[Tensor]]] = []

    def __call__(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        """A `denoise.Control`, asked before each call: the middle's residual, where the adapter has one."""
        how, self._now = self.member.how, []
        if not self.member.acts(time):
            return NO_RESIDUALS
        heard: Any = 1.0 if BALANCES[how.control.balance].base else cond.extra[how.heard][:, :, None, None]
        levels = [how.control.weight * one * heard for one in self.features(cond.maps[how.name][:1])]
        self._now = levels
        return Residuals(mid=levels[3]) if self.net.config.downscale_factor == XL_FACTOR else NO_RESIDUALS

    def features(self, shown: Tensor) -> list[Tensor]:
        """Of a hint, (1, C, H, W): made once, for every step is shown the same."""
        for known, found in self._known:
            if known.shape == shown.shape and torch.equal(known, shown):
                return found
        found = self.net(shown)
        self._known = [(shown, found), *self._known[: KEPT - 1]]
        return found

    def put(self, net: nn.Module, add_control: Callable[[Any], Callable[[], None]]) -> Callable[[], object]:
        """Add to what each level gives from now on; the returned call takes everything off."""
        off = ExitStack()
        off.callback(add_control(self))
        for i, place in enumerate(places(net, self.net)):
            handle = place.register_forward_hook(partial(self._add, i))
            off.callback(handle.remove)
        return off.close

    def _add(self, i: int, layer: nn.Module, given: object, x: Tensor) -> Tensor | None:
        now = self._now
        if i == len(now) - 1:
            self._now = []  # which were made for one call
        return x + now[i] if now else None


def places(net: nn.Module, adapter: T2IAdapter) -> list[nn.Module]:
    """The layers whose answers the levels are added to: a stage's last; that which halves the grid after the first, of
    an adapter for XL, whose grids begin there.

    Raises:
        InvalidInput: the network has other levels than the adapter.
    """
    xl = adapter.config.downscale_factor == XL_FACTOR
    stages = [stage for stage in net.modules() if isinstance(stage, Down)]
    levels = adapter.config.channels[:-1] if xl else adapter.config.channels
    found: list[nn.Module] = [list(stage.attentions)[-1] for stage in stages]
    widths = tuple(cast(Any, list(stage.resnets)[-1]).conv2.out_channels for stage in stages)
    if widths != levels:
        raise InvalidInput(f"a T2I-Adapter of the widths {levels} was given; possible are those of the model, {widths}")
    return [stages[0].downsamplers[0], *found[1:]] if xl else found


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The file of every control that is a T2I-Adapter and acts in some step."""
    return asked_for(request, warn, lambda family: family == "t2i-adapter")


def shown(how: How, net: T2IAdapter, request: Resolved) -> Say:
    """Lays the hint, at the size that is painted, over every term and the base."""
    picture = hint(how.control, request).clamp_min(0).to(next(net.parameters()))
    return laid(how, picture if net.config.in_channels == 3 else picture.mean(1, keepdim=True))


def attach(attached: Attached, found: Iterable[tuple[Asked, T2IAdapter]], target: Target, warn: Warn) -> Attached:
    """Every adapter beside the others."""
    for asked, net in found:
        how: How = asked.how
        adding = Adding(net, Member(how, acting(target.denoiser, how.request, how.control)))
        places(target.nets["denoiser"], net)
        on = partial(adding.put, target.nets["denoiser"], target.denoiser.add_control)
        attached = attached.add(asked.path, on, say=[partial(shown, how, net)])
    return attached


T2I = Attachment(
    find=find,
    read=read,
    attach=attach,
    does="T2I-Adapters, smaller than control networks, which make of a hint once what all steps add.",
    uses=("controls",),
)
