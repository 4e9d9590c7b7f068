"""Faces that are kept: InstantID, an IP-Adapter of a recogniser's numbers, and a control network of where a face lies,
which reads the adapter's tokens in the place of words.

Source: Wang et al. 2024, "InstantID: zero-shot identity-preserving generation in seconds", section 3.2, and its
published code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....denoise import Denoiser
from ....errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from ....finish.align import Array
from ....hint.face import drawn
from ....identity import analysis
from ....installed import path as shipped
from ....nets.controlnet import ControlNet, Shown
from ....nets.ip_adapter import IPAdapterConfig, places
from ....nets.ports import NO_RESIDUALS, Residuals
from ....nets.sized import told_as
from ....pictures import read as pictures
from ....request.kept_face import KeptFace
from ....request.request import Request, Resolved
from ....store import library
from ....types import Conditioning
from ....weights import store
from ...say import During, Say, each
from ...steps import window
from .. import control, ip_adapters, networks
from ..attachment import Asked, Attached, Attachment, Target, Warn
from ..hints import levels
from .reading import chosen, missing, require, seen

#: What the names of files of the control network have of it.
WORDS = ("instantid", "instant-id", "instant_id", "identitynet")
#: The names of both in a folder as it is published.
ADAPTERS, NETWORK = ("ip-adapter.bin", "ip-adapter.safetensors"), "ControlNetModel"
HUB = "InstantX/InstantID at the hub (Apache-2.0)"
#: How many networks a model keeps: an adapter and a control network of two faces.
KEPT = 4


class How(NamedTuple):
    """How a file is used: the request's face, under which name its tensors are said, and whether it is the network that
    reads where the face lies."""

    face: KeptFace
    name: str
    places: bool = False


class Read(NamedTuple):
    """What was read of a face.

    Args:
        tokens: those of no face, then its own, (2, N, D).
        points: (5, 2), and the size of the picture in which they lie.
        files: by which.
    """

    tokens: Tensor
    points: Array
    size: tuple[int, int]
    files: tuple[Path, ...]


# ------------------------------------------------------------------------------------------------------------- choosing


def settled(request: Request, net: nn.Module, model: str) -> Request:
    """The request with the adapter and the control network named of every face that counts.

    Raises:
        InvalidInput: the model cannot keep faces, or not one adapter alone fits it. UnknownName: one that is stated is
            not there. InvalidFile: parts are missing, or a picture cannot be read.
    """
    if not request.faces:
        return request
    if not places(net):
        raise InvalidInput(
            f"face: it is kept through the attentions of a UNet that reads words, and {model} has none: use a model of "
            "Stable Diffusion XL"
        )
    for one in request.faces:
        for source in filter(None, (one.image, one.pose)):
            pictures.picture(source)
    return request.but(faces=tuple(one if _free(one) else _complete(one, net, model) for one in request.faces))


def _free(one: KeptFace) -> bool:
    return not (one.weight or one.place)


def _complete(one: KeptFace, net: nn.Module, model: str) -> KeptFace:
    """The same with both files named; what is missing is said at once."""
    parts = list[str]()
    file = one.file or _only(net, model, parts)
    config = _fitting(file, net, model) if file else IPAdapterConfig(kind="plus", face=512)
    network = one.control or (_beside(file) or _network(net, parts) if one.place else "")
    if network:
        _steers(network, net, model)
    parts += missing(config, one.recogniser)
    if parts:
        raise InvalidFile(f"a face is kept by several parts, and these are missing: {'; '.join(parts)}")
    return one.model_copy(update={"file": file, "control": network})


def _adapters(net: nn.Module) -> dict[str, Path]:
    """Name -> file of the adapters in the folders of models that keep faces and fit a network, one name of each."""
    every = {path: name for name, path in reversed(library.ip_adapters().items())}
    return {name: path for path, name in every.items() if ip_adapters.suits(path, net) and _keeps(path)}


def _keeps(path: Path) -> bool:
    config = ip_adapters.config_of(path)
    return config.kind == "plus" and config.face > 0


def _only(net: nn.Module, model: str, parts: list[str]) -> str:
    """The name of the one adapter that fits, or "" where it is one of the missing parts."""
    fitting = sorted(_adapters(net))
    if len(fitting) > 1:
        raise InvalidInput(f"face: several adapters fit {model}, and none was named; there are {', '.join(fitting)}")
    if not fitting:
        parts.append(
            f"an adapter that fits {model} (for Stable Diffusion XL {ADAPTERS[0]} of {HUB}) in the folder ipadapter of "
            f"your models ({library.home('ip-adapter')}) or stated as file"
        )
    return fitting[0] if fitting else ""


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


def locate(given: str) -> Path:
    """The file of an adapter by its path, its folder's, or its name in the folders of models.

    Raises:
        UnknownName: there is none.
    """
    path, known = Path(os.path.expanduser(given)), library.ip_adapters()
    if path.is_dir():
        path = next((path / name for name in ADAPTERS if (path / name).is_file()), path)
    if path.is_file():
        return path
    if given not in known:
        raise UnknownName("adapter of faces", given, (*known, "the path of a file"))
    return known[given]


def _fitting(file: str, net: nn.Module, model: str) -> IPAdapterConfig:
    """The shape of the adapter in a file that is stated.

    Raises:
        InvalidInput: it does not fit the model, or keeps no faces so.
    """
    path = locate(file)
    config = ip_adapters.config_of(path)
    fits = ip_adapters.suits(path, net)
    if fits and _keeps(path):
        return config
    why = (
        f"is an adapter of the kind {config.kind}, which is read as an image prompt: --image-prompt"
        if fits
        else f"is made for another model than {model}"
    )
    others = sorted(_adapters(net))
    there = f"those that fit are {', '.join(others)}" if others else "none that fits is in the folders of models"
    raise InvalidInput(f"face: {file} {why}; {there}")


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


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """Both files of every face that counts in some step; of the others it warns."""
    for i, one in enumerate(request.faces):
        first, last, steps = window(request, one.start, one.end)
        if _free(one) or first >= last:
            why = "its weight and its place are 0" if _free(one) else f"none of {steps} steps lies in its times"
            warn(f"a face changes nothing: {why}.")
            continue
        path = locate(one.file)
        yield Asked(path, path.name, How(one, f"face {i}"))
        if one.place:
            network = networks.locate(one.control)
            yield Asked(network, network.name, How(one, f"face {i}", places=True))


def read(asked: Asked, target: Target, strict: bool) -> Any:
    """The adapter, or the control network.

    Raises:
        InvalidFile: it is none, or made for another model.
    """
    if not asked.how.places:
        return ip_adapters.read(asked, target, strict)
    net = control.read(asked, target, strict)
    if type(net) is not ControlNet:
        raise InvalidFile(f"{asked.path} holds no network that reads where a face lies: use {NETWORK} of {HUB}")
    return net


# ------------------------------------------------------------------------------------------------------------ attaching


def attach(attached: Attached, found: Iterable[tuple[Asked, Any]], target: Target, warn: Warn) -> Attached:
    """Of every face a branch at each attention to the words, and the residuals of where it lies.

    Raises:
        InvalidFile: what reads faces is not there, or a picture cannot be read. InvalidInput: no face in a picture.
    """
    unet, known = target.nets["denoiser"], dict[str, Read]()
    like = ip_adapters.like_of(unet)
    for asked, net in found:
        how: How = asked.how
        if not how.places:
            known[how.name] = it = told(net.net, how.face, asked.name, warn)
            weights = dict.fromkeys(places(unet), how.face.weight)
            on = [ip_adapters.branched(unet, net.net, it.tokens, how.name, weights)] if how.face.weight else []
            attached = attached.add(asked.path, *on, say=[partial(_said, how, like.device)])
            for path in it.files:
                attached = attached.add(path)
            continue
        it = known[how.name]
        placing = Placing(told_as(target.denoiser.net, net), how.name, it.tokens.to(like), how.face.place)
        say = partial(_placed, how, net, it, like)
        attached = attached.add(asked.path, partial(_steer, target.denoiser, placing), say=[say])
    return attached


def _steer(denoiser: Denoiser, placing: Placing) -> Any:
    return denoiser.add_control(placing)


@torch.inference_mode()
def told(net: nn.Module, one: KeptFace, adapter: str, warn: Warn) -> Read:
    """What is read of a face.

    Args:
        adapter: its name, for messages.

    Raises:
        As `attach`.
    """
    config: IPAdapterConfig = net.config  # pyright: ignore[reportAssignmentType]
    file = require(config, one.recogniser, adapter)
    image = pictures.over_white(pictures.picture(one.image))
    face = chosen(image, one.number, warn)
    numbers = seen(image, face, file, config.face).numbers
    tokens = net(None, torch.cat([torch.zeros_like(numbers), numbers]))
    posed = pictures.over_white(pictures.picture(one.pose)) if one.pose else image
    points = chosen(posed, 0, warn).landmarks if one.pose else face.landmarks
    ours = (path for each in analysis.FILES if (path := shipped(analysis.FOLDER, each)) is not None)
    return Read(tokens, points, posed.size, tuple(dict.fromkeys((file, *ours))))


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


def _said(how: How, device: torch.device, request: Resolved) -> Say:
    """With every term the face, and no face with the base; within its times."""

    def more(which: int, said: Conditioning) -> Conditioning:
        return replace(said, extra={**said.extra, how.name: torch.tensor([which], device=device)})

    return During(each(partial(more, 1), partial(more, 0)), how.face.start, how.face.end)


def _placed(how: How, net: ControlNet, it: Read, like: Tensor, request: Resolved) -> Say:
    """Over every term and the base what is seen of the face's points at the size that is painted, within its times."""
    size = request.width, request.height
    hint = levels(drawn(size, [laid(it.points, it.size, size)]))
    seen_of_it = control.seen(net, hint.to(like), request)

    def more(said: Conditioning) -> Conditioning:
        return replace(said, maps={**said.maps, f"{how.name} place": seen_of_it})

    return During(each(more, more), how.face.start, how.face.end)


def laid(points: Array, own: tuple[int, int], size: tuple[int, int]) -> Array:
    """Points of a picture of one size in one of another: all of it is in the middle, its ratio as it was."""
    scale = min(size[0] / own[0], size[1] / own[1])
    return (points + 0.5) * scale - 0.5 + [(size[i] - scale * own[i]) / 2 for i in (0, 1)]


FACES = Attachment(
    find=find,
    read=read,
    attach=attach,
    settle=settled,
    does="Faces that are kept, each by InstantID's adapter and its control network of where a face lies.",
    uses=("faces",),
    kept=KEPT,
)
