"""Faces that are kept, each by the way of its adapter: InstantID's, PuLID's, or that of drawn portraits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import InvalidFile, InvalidInput, UnknownName
from ....nets.drafted import Share, share_names
from ....nets.ip_adapter import IPAdapterConfig, places
from ....nets.unet import CrossAttention
from ....pictures import read as pictures
from ....request.kept_face import KeptFace
from ....request.request import Request, Resolved
from ....store import library
from ....types import Conditioning
from ...say import During, Say, each
from ...steps import window
from .. import ip_adapters, networks, sight
from ..attachment import Asked, Attached, Attachment, Target, Warn
from . import instantid
from .instantid import INSTANTID
from .portrait import PORTRAIT
from .pulid import HUB as PULID_HUB
from .pulid import PULID
from .way import Given, Read, Way

#: By the kind of an adapter.
WAYS: dict[str, Way] = {kind: way for way in (INSTANTID, PULID, PORTRAIT) for kind in way.kinds}
#: The names of the adapter in a folder as it is published.
ADAPTERS = ("ip-adapter.bin", "ip-adapter.safetensors")
#: The weight from which on a face has all of the draft. At 0.8, the usual one, it has 0.6: then words still change an
#: expression; docs/identity.md has what it costs.
WHOLE = 4 / 3
#: How many networks a model keeps: an adapter and a control network of two faces.
KEPT = 4


class How(NamedTuple):
    """How a file is used: the request's face, under which name its tensors are said, and whether it is the network that
    reads where the face lies."""

    face: KeptFace
    name: str
    places: bool = False


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
            f"face: it is kept through the attentions of a UNet that reads words, and {model} has none: use "
            "danqing-mini for drawn portraits, or a model of Stable Diffusion XL for photographs"
        )
    for one in request.faces:
        for source in filter(None, (one.image, one.pose)):
            pictures.picture(source)
    return request.but(faces=tuple(one if _free(one) else _complete(one, net, model) for one in request.faces))


def _free(one: KeptFace) -> bool:
    return not (one.weight or one.place)


def _complete(one: KeptFace, net: nn.Module, model: str) -> KeptFace:
    """The same with all files named; what is missing is said at once."""
    parts = list[str]()
    file = one.file or _only(net, model, parts)
    config = _fitting(file, net, model) if file else IPAdapterConfig(kind="plus", face=512)
    found = WAYS[config.kind].completed(one, Given(file, config, net, model), parts)
    if parts:
        raise InvalidFile(f"a face is kept by several parts, and these are missing: {'; '.join(parts)}")
    return found.model_copy(update={"file": file})


def _adapters(net: nn.Module) -> dict[str, Path]:
    """Name -> file of the adapters in the folders of models that keep faces and fit a network, one name of each."""
    every = {path: name for name, path in reversed(library.ip_adapters().items())}
    return {name: path for path, name in every.items() if ip_adapters.suits(path, net) and _keeps(path)}


def _keeps(path: Path) -> bool:
    config = ip_adapters.config_of(path)
    return config.kind in WAYS and config.face > 0


def _only(net: nn.Module, model: str, parts: list[str]) -> str:
    """The name of the one adapter that fits, or "" where it is one of the missing parts."""
    fitting = sorted(_adapters(net))
    if len(fitting) > 1:
        raise InvalidInput(f"face: several adapters fit {model}, and none was named; there are {', '.join(fitting)}")
    if not fitting:
        parts.append(
            f"an adapter that fits {model} (for danqing-mini the package danqing-families brings one; for Stable "
            f"Diffusion XL there are {ADAPTERS[0]} of {instantid.HUB} and pulid_v1.1.safetensors of {PULID_HUB}) in "
            f"the folder ipadapter of your models ({library.home('ip-adapter')}) or stated as file"
        )
    return fitting[0] if fitting else ""


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
    return (instantid.network if asked.how.places else ip_adapters.read)(asked, target, strict)


# ------------------------------------------------------------------------------------------------------------ attaching


def attach(attached: Attached, found: Iterable[tuple[Asked, Any]], target: Target, warn: Warn) -> Attached:
    """Of every face a branch at each attention to the words, and the residuals of where it lies. What faces have of the
    draft is said before any of them adds to the text's summary, from which it is made.

    Raises:
        InvalidFile: what reads faces is not there, or a picture cannot be read. InvalidInput: no face in a picture.
    """
    unet, known, drafts = target.nets["denoiser"], dict[str, Read](), list[Callable[[Resolved], Say]]()
    like, before = ip_adapters.like_of(unet), attached.say
    for asked, net in found:
        how: How = asked.how
        if how.places:
            it = known[how.name]
            attached = instantid.placed(attached, asked, net, it, like, how.face, target, how.name)
            continue
        way = WAYS[net.net.config.kind]
        known[how.name] = it = way.read(net.net, how.face, asked.name, warn)
        weights = dict.fromkeys(places(unet), how.face.weight)
        branch = partial(_branch, way, how, net.net.config.kind)
        on = [ip_adapters.branched(unet, net.net, it.tokens, how.name, weights, branch)] if how.face.weight else []
        if it.draft is not None:
            on.append(partial(ip_adapters.shares, unet, how.name))
            drafts.append(partial(_drawn, how, it.draft, target))
        attached = attached.add(asked.path, *on, say=[partial(_said, how, like, it.added)])
        for path in it.files:
            attached = attached.add(path)
    return replace(attached, say=(*before, *drafts, *attached.say[len(before) :]))


def _branch(way: Way, how: How, kind: str, name: str, keys: Tensor, values: Tensor, layer: CrossAttention) -> nn.Module:
    return way.branch(name, keys, values, layer, how.face, kind)


def _said(how: How, like: Tensor, added: Callable[[Tensor], Tensor], request: Resolved) -> Say:
    """With every term the face and what it adds to the text's summary, and no face with the base; within its times."""

    def more(which: int, said: Conditioning) -> Conditioning:
        extra = {**said.extra, how.name: torch.tensor([which], device=like.device)}
        if said.pooled is None or not which:
            return replace(said, extra=extra)
        own = added(said.pooled.float().cpu()).to(said.pooled)
        return replace(said, extra=extra, pooled=said.pooled + how.face.weight * own)

    return During(each(partial(more, 1), partial(more, 0)), how.face.start, how.face.end)


def _drawn(how: How, draft: Callable[[Tensor, Tensor], Tensor], target: Target, request: Resolved) -> Say:
    """With every term what the face has of the draft, all of it at `WHOLE` and of several the mean, and nothing with
    the base; within its times."""
    unet: Any = target.nets["denoiser"]
    device, face = ip_adapters.like_of(unet).device, how.face
    latent = sight.latent(face.image, request, target.codec, unet.config.draft_size, device)

    def more(which: int, said: Conditioning) -> Conditioning:
        if said.pooled is None:
            return said
        made = draft(latent, said.pooled.float().cpu()).to(device)
        share = Share(torch.full_like(made[:, :1], which * face.weight / WHOLE), made)
        return replace(said, extra={**said.extra, **dict(zip(share_names(how.name), share, strict=True))})

    return During(each(partial(more, 1), partial(more, 0)), face.start, face.end)


FACES = Attachment(
    find=find,
    read=read,
    attach=attach,
    settle=settled,
    does="Faces that are kept: drawn portraits, or photographs by an adapter of PuLID's or InstantID's two networks.",
    uses=("faces",),
    kept=KEPT,
)
