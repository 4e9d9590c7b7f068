"""Control networks, by the controls of a request: each adds to the skips of what it steers, in its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ...adapt.base import layers
from ...errors import InvalidFile, InvalidInput
from ...nets.controlnet import ControlNet
from ...nets.controlnet_mmdit import MMDiTControl
from ...nets.controlnet_union import ControlNetUnion
from ...nets.mmdit import MMDiT
from ...nets.sized import told_as
from ...nets.unet import UNet
from ...pictures import read as pictures
from ...request.request import Request, Resolved
from ...tiles import Tiling
from ...types import Conditioning
from ...weights import relative, store
from ...weights.load import load
from ..say import Say, each
from ..steps import window
from . import networks
from .attachment import Asked, Attached, Attachment, Target, Warn
from .hints import drawer, hint
from .mmdit_control import MMDiTSteering
from .steering import BALANCES, TYPES, How, Member, Steering, acting

#: How many control networks a model keeps: each is half as large as it.
KEPT = 2
#: What steers a model: of a UNet, of an MMDiT.
Steers = ControlNet | MMDiTSteering


def settled(request: Request, net: nn.Module, model: str) -> Request:
    """The request with the network of every control named.

    Raises:
        InvalidInput: one that does not fit the model; UnknownName: one that is not there; InvalidFile: a picture that
            cannot be read.
    """
    if not request.controls:
        return request
    widths = networks.made_as(net)
    if widths is None:
        raise InvalidInput(
            f"control {request.controls[0].name}: no network is known that steers a {type(net).__name__}"
        )
    for one in request.controls:
        pictures.picture(one.image)
        drawer(one)
    named = (one.model_copy(update={"file": networks.chosen(one, widths, model)}) for one in request.controls)
    return request.but(controls=tuple(named))


def asked_for(request: Resolved, warn: Warn, mine: Callable[[str], bool]) -> Iterator[Asked]:
    """The file of every control that acts in some step, of the families that are meant; of the others it warns."""
    for place, control in enumerate(request.controls):
        path = networks.locate(control.file)
        first, last, steps = window(request, control.start, control.end)
        if not mine(networks.family(path)):
            continue
        drawer(control, warn)
        if control.weight and first < last:
            yield Asked(path, path.name, How(place, control, request))
        else:
            why = "its weight is 0" if not control.weight else f"none of {steps} steps lies in its window"
            warn(f"control {control.name} changes nothing: {why}.")


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The file of every control that acts in some step, but for T2I-Adapters."""
    return asked_for(request, warn, lambda family: family != "t2i-adapter")


def read(asked: Asked, target: Target, strict: bool) -> Steers:
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
    found = load(asked.path, config=networks.stated(asked.path), device=like.device, dtype=like.dtype)
    if isinstance(found, MMDiTControl) and isinstance(net, MMDiT):
        return MMDiTSteering(found, net, target.codec)
    if not isinstance(found, ControlNet):
        raise InvalidFile(f"{asked.path} holds a {type(found).__name__}, and no network that steers by a picture")
    return found


def shown(how: How, net: Steers, like: Tensor, request: Resolved) -> Say:
    """Lays what is seen of the hint, at the size that is painted, over every term and the base.

    Args:
        like: of whose type and on whose device the hint is.
    """
    picture = hint(how.control, request).to(like)
    if isinstance(net, ControlNetUnion):
        picture = picture.clamp_min(0)  # which was shown black where it is to paint
    return laid(how, seen(net, picture, request))


def seen(net: Steers, picture: Tensor, request: Resolved) -> Tensor:
    """What a network sees of a hint at the size that is painted, tile by tile where it is painted so."""
    halved, tile = net.factor, request.tiling.size
    tiling = Tiling(tile=tile and tile // halved, closing=request.tiling.panorama)
    return tiling.joined((request.height // halved, request.width // halved), lambda cut: net.see(cut(picture)))


def laid(how: How, over: Tensor) -> Say:
    """Lays what a control is shown over every term and the base, and marks who is steered, where not all are."""
    side = BALANCES[how.control.balance]

    def more(heard: float, said: Conditioning) -> Conditioning:
        mark = {} if side.base else {how.heard: torch.full((1, 1), heard, device=over.device)}
        return replace(said, maps={**said.maps, how.name: over}, extra={**said.extra, **mark})

    return each(partial(more, 1.0), partial(more, 0.0))


def attach(attached: Attached, found: Iterable[tuple[Asked, Steers]], target: Target, warn: Warn) -> Attached:
    """Every control beside the others; those of one network that is shown several are shown together.

    Raises:
        InvalidInput: a network of several kinds does not know the one that is asked for.
    """
    together: dict[object, tuple[Steers, list[Member]]] = {}
    like = next(target.nets["denoiser"].parameters())
    for asked, net in found:
        how: How = asked.how
        attached = attached.add(asked.path, say=[partial(shown, how, net, like)])
        key: object = how.place
        if isinstance(net, ControlNetUnion):
            if TYPES.get(how.control.name, net.config.types) >= net.config.types:
                known = ", ".join(name for name, place in TYPES.items() if place < net.config.types)
                raise InvalidInput(f"control {how.control.name}: {asked.name} knows {known}: use another network")
            key = asked.path, how.control.balance
        member = Member(how, acting(target.denoiser, how.request, how.control))
        together.setdefault(key, (net, []))[1].append(member)
    denoiser = target.denoiser
    on = (
        partial(denoiser.add_control, Steering(told_as(denoiser.net, net), members))
        for net, members in together.values()
    )
    return replace(attached, on=(*attached.on, *on))


CONTROL = Attachment(
    find=find,
    read=read,
    attach=attach,
    settle=settled,
    does="Control networks, each shown a picture's edges, depth, pose or another hint.",
    uses=("controls",),
    kept=KEPT,
)
