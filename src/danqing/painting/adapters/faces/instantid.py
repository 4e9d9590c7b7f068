"""InstantID: an IP-Adapter of a recogniser's numbers, and a control network of where a face lies, which reads the
adapter's tokens in the place of words.

Source: Wang et al. 2024, "InstantID: zero-shot identity-preserving generation in seconds", section 3.2, and its
published code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....denoise import Denoiser
from ....errors import DanqingError, InvalidFile, InvalidInput
from ....finish.align import Array
from ....hint.face import drawn
from ....nets.controlnet import ControlNet, Shown
from ....nets.ip_adapter import Branch, IPAdapter
from ....nets.ports import NO_RESIDUALS, Residuals
from ....nets.sized import told_as
from ....nets.unet import CrossAttention
from ....pictures import read as pictures
from ....request.kept_face import KeptFace
from ....request.request import Resolved
from ....store import library
from ....types import Conditioning
from ....weights import store
from ...say import During, Say, each
from .. import control, networks
from ..attachment import Asked, Attached, Target, Warn
from ..hints import levels
from .reading import chosen, missing, require, seen
from .way import Given, Read, Way, files, paired

#: What the names of files of the control network have of it.
WORDS = ("instantid", "instant-id", "instant_id", "identitynet")
#: The name of the control network in a folder as it is published.
NETWORK = "ControlNetModel"
HUB = "InstantX/InstantID at the hub (Apache-2.0)"


# ------------------------------------------------------------------------------------------------------------- choosing


def completed(one: KeptFace, given: Given, parts: list[str]) -> KeptFace:
    """The face with its control network named; what is missing is added to the parts."""
    network = one.control or (_beside(given.file) or _network(given.net, parts) if one.place else "")
    if network:
        _steers(network, given.net, given.model)
    parts += missing(given.config, one.recogniser)
    return one.model_copy(update={"control": network})


def _network(net: nn.Module, parts: list[str]) -> str:
    """The name of the control network that fits, or "" where it is one of the missing parts."""
    named = (name for name in networks.names() if any(word in name.casefold() for word in WORDS))
    for name in named:
        if _steering(networks.locate(name), net):
            return name
    parts.append(
        f"the network that reads where a face lies ({NETWORK} of {HUB}) as instantid.safetensors in the folder "
        f"controlnet of your models ({library.home('controlnet')}) or stated as control (a face whose place is free "
        "has place=0)"
    )
    return ""


def _beside(file: str) -> str:
    """The control network in the folder of an adapter that is stated by its path, as both are published; or ""."""
    folder = Path(os.path.expanduser(file))
    there = (folder if folder.is_dir() else folder.parent) / NETWORK
    return str(there) if file and folder.exists() and there.is_dir() else ""


def _steering(path: Path, net: nn.Module) -> bool:
    made = networks.made_as(net)
    try:
        return made is not None and networks.made_for(store.header(path)).fits(made)
    except (DanqingError, OSError):
        return False


def _steers(given: str, net: nn.Module, model: str) -> None:
    path = networks.locate(given)
    if not _steering(path, net):
        title = networks.made_for(store.header(path)).title
        raise InvalidInput(f"face: the control network {given} is made for {title}, and {model} is not of that family")


# -------------------------------------------------------------------------------------------------------------- reading


@torch.inference_mode()
def read(net: IPAdapter, one: KeptFace, adapter: str, warn: Warn) -> Read:
    """What is read of a face.

    Args:
        adapter: its name, for messages.

    Raises:
        InvalidFile: what reads faces is not there, or a picture cannot be read. InvalidInput: no face in a picture.
    """
    file = require(net.config, one.recogniser, adapter)
    image = pictures.over_white(pictures.picture(one.image))
    face = chosen(image, one.number, warn)
    tokens = net(None, paired(seen(image, face, file, net.config.face).numbers))
    posed = pictures.over_white(pictures.picture(one.pose)) if one.pose else image
    points = chosen(posed, 0, warn).landmarks if one.pose else face.landmarks
    return Read(tokens, points, posed.size, files([file]))


def branch(name: str, keys: Tensor, values: Tensor, layer: CrossAttention, one: KeptFace, kind: str) -> Branch:
    """What an attention is put on."""
    return Branch(name, keys, values, layer.heads)


INSTANTID = Way(kinds=("plus",), completed=completed, read=read, branch=branch)


# ------------------------------------------------------------------------------------------------------------ the place


def network(asked: Asked, target: Target, strict: bool) -> ControlNet:
    """The control network.

    Raises:
        InvalidFile: it is none, or made for another model.
    """
    net = control.read(asked, target, strict)
    if type(net) is not ControlNet:
        raise InvalidFile(f"{asked.path} holds no network that reads where a face lies: use {NETWORK} of {HUB}")
    return net


def placed(
    attached: Attached, asked: Asked, net: ControlNet, it: Read, like: Tensor, one: KeptFace, target: Target, name: str
) -> Attached:
    """The same with the residuals of where a face lies."""
    placing = Placing(told_as(target.denoiser.net, net), name, it.tokens.to(like), one.place)
    say = partial(_placed, one, name, net, it, like)
    return attached.add(asked.path, partial(_steer, target.denoiser, placing), say=[say])


def _steer(denoiser: Denoiser, placing: Placing) -> Any:
    return denoiser.add_control(placing)


@dataclass(frozen=True, eq=False)
class Placing:
    """A `danqing.denoise.Control`: the residuals of the network that reads where a face lies, its tokens in the place
    of the text's. It acts where the face is spoken of.

    Args:
        net: as of a `ControlNet` that is told what the denoiser's network is.
        name: under which the face is said: in ``extra``, (B,), 0 for none and 1 for it; in ``maps``, ``NAME place``,
            what is seen of its points.
        tokens: (2, N, D).
        weight: of the residuals.
    """

    net: Any
    name: str
    tokens: Tensor
    weight: float

    def __call__(self, x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        if self.name not in cond.extra:
            return NO_RESIDUALS
        shown = [Shown(cond.maps[f"{self.name} place"], self.weight)]
        return self.net(x, time, self.tokens[cond.extra[self.name]], shown=shown, pooled=cond.pooled)


def _placed(one: KeptFace, name: str, net: ControlNet, it: Read, like: Tensor, request: Resolved) -> Say:
    """Over every term and the base what is seen of the face's points at the size that is painted, within its times."""
    size = request.width, request.height
    hint = levels(drawn(size, [laid(it.points, it.size, size)]))
    seen_of_it = control.seen(net, hint.to(like), request)

    def more(said: Conditioning) -> Conditioning:
        return replace(said, maps={**said.maps, f"{name} place": seen_of_it})

    return During(each(more, more), one.start, one.end)


def laid(points: Array, own: tuple[int, int], size: tuple[int, int]) -> Array:
    """Points of a picture of one size in one of another: all of it is in the middle, its ratio as it was."""
    scale = min(size[0] / own[0], size[1] / own[1])
    return (points + 0.5) * scale - 0.5 + [(size[i] - scale * own[i]) / 2 for i in (0, 1)]
