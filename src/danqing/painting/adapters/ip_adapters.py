"""Image prompts: given pictures that a picture is to resemble, each through an IP-Adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ...adapt import layouts
from ...adapt.base import layers
from ...adapt.lora import LoRA
from ...errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from ...nets.drafted import DraftedUNet, Drawn, share_names
from ...nets.ip_adapter import KEEPERS, Branch, IPAdapter, IPAdapterConfig, places
from ...nets.unet import CrossAttention, UNet
from ...pictures import read as pictures
from ...request.image_prompt import ImagePrompt
from ...request.request import Request, Resolved
from ...store import library
from ...types import Conditioning
from ...weights import registry, store
from ...weights.load import load
from ..say import During, Say, each
from ..steps import window
from . import sight
from .attachment import Asked, Attached, Attachment, Target, Warn

#: Which attentions read the style of a picture and which its layout, by how many levels a UNet has: Stable Diffusion 1
#: and 2 have four, XL has three. Source: Wang et al. 2024, InstantStyle, section 3.2, and its published code.
BLOCKS: Mapping[int, Mapping[str, tuple[str, ...]]] = {
    3: {"style": ("up_blocks.0.attentions.1.",), "layout": ("down_blocks.2.attentions.1.",)},
    4: {"style": ("up_blocks.1.",), "layout": ("down_blocks.2.", "mid_block.")},
}
#: What the name of an adapter of faces tells of it that its tensors do not: its version.
SECOND = "plusv2"
#: How many adapters a model keeps: each takes up to 2 GB.
KEPT = 2
#: How far, in parts of itself, the ratio of a mask may be from the picture's.
ASKEW = 0.02


class How(NamedTuple):
    """How an adapter is used: the request's image prompt, and which one it is, by which its tensors are named."""

    prompt: ImagePrompt
    name: str


class Adapter(NamedTuple):
    """What was read: the adapter, and the changes of the UNet's layers that its file holds beside, where it does."""

    net: IPAdapter
    changes: LoRA | None


def settled(request: Request, net: nn.Module, model: str) -> Request:
    """The request with the adapter named of every image prompt that counts.

    Raises:
        InvalidInput: none is named, and several fit the model. InvalidFile: none does, or a picture cannot be read.
    """
    named = list[ImagePrompt]()
    for prompt in request.image_prompts:
        for source in filter(None, (prompt.image, prompt.negative, prompt.mask)):
            pictures.picture(source)
        chosen = prompt.file or not prompt.weight
        named.append(prompt if chosen else prompt.model_copy(update={"file": _only(net, model)}))
    return request.but(image_prompts=tuple(named)) if named else request


def _only(net: nn.Module, model: str) -> str:
    """The name of the one adapter that fits a network."""
    known = library.ip_adapters()
    those = {path: name for name, path in reversed(known.items()) if suits(path, net)}
    fitting = sorted(name for path, name in those.items() if config_of(path).kind not in KEEPERS)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InvalidInput(
            f"an image prompt is read through an IP-Adapter, and none was named; there are {', '.join(fitting)}: state "
            "file"
        )
    there = f"of {', '.join(known)} none fits {model}" if known else "none is in the folders of models"
    raise InvalidFile(
        f"an image prompt is read through an IP-Adapter, and {there}: put one that was made for your model, such as "
        "ip-adapter_sd15.safetensors of h94/IP-Adapter at the hub, into a folder ipadapter of them, or state file"
    )


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The adapters of the image prompts that count in some step, from the user's folders of models or by their paths;
    of the others it warns.

    Raises:
        UnknownName: there is none of a name.
    """
    for i, prompt in enumerate(request.image_prompts):
        first, last, steps = window(request, prompt.start, prompt.end)
        if not prompt.weight or first >= last:
            why = "its weight is 0" if not prompt.weight else f"none of {steps} steps lies in its times"
            warn(f"an image prompt changes nothing: {why}.")
            continue
        path, known = Path(os.path.expanduser(prompt.file)), library.ip_adapters()
        if not path.is_file():
            if prompt.file not in known:
                raise UnknownName("IP-Adapter", prompt.file, (*known, "the path of a file"))
            path = known[prompt.file]
        if prompt.mask:
            width, height = pictures.picture(prompt.mask).size
            if abs(width * request.height / (height * request.width) - 1) > ASKEW:
                size = f"{request.width}×{request.height}"
                warn(f"the mask of {width}×{height} of an image prompt was stretched over the picture of {size}.")
        yield Asked(path, path.name, How(prompt, f"image prompt {i}"))


def read(asked: Asked, target: Target, strict: bool) -> Adapter:
    """A file's adapter, in fp32, on the processor, where it makes what the painter's device is given.

    Raises:
        InvalidFile: it is none, or made for another UNet.
    """
    unet, config = target.nets["denoiser"], config_of(asked.path)
    if not _fits(config, unet):
        shapes = _shapes(unet)
        here = f"has {len(shapes)}, to {shapes[0][1]} numbers" if shapes else "has none, for it reads words otherwise"
        fitting = sorted({path.name for path in library.ip_adapters().values() if suits(path, unet)})
        there = f"{', '.join(fitting)} would fit" if fitting else "none in the folders of models would fit"
        raise InvalidFile(
            f"{asked.name} was made for a denoiser of {len(config.layers)} attentions to words of {config.width} "
            f"numbers each, and this one {here}: {there}"
        )
    net = load(asked.path, family="ip-adapter", dtype=torch.float32)
    assert isinstance(net, IPAdapter)
    if config.kind == "face-id-plus":
        net.image_proj.shortcut = SECOND in asked.name.lower()
    return Adapter(net, _changes(net, target, asked.name) if config.rank else None)


def config_of(path: Path) -> IPAdapterConfig:
    """The shape of the adapter in a file."""
    header = store.header(path)
    return registry.find(header, "ip-adapter").config(header)


def _fits(config: IPAdapterConfig, unet: nn.Module) -> bool:
    attends = bool(config.layers) and tuple((channels, config.width) for channels in config.layers) == _shapes(unet)
    drawn = unet.config.in_channels - unet.config.out_channels if isinstance(unet, DraftedUNet) else 0
    told = config.summary in (0, getattr(getattr(unet, "config", None), "pooled_channels", 0))
    return attends and told and config.drawn in (0, drawn)


def _shapes(unet: nn.Module) -> tuple[tuple[int, int], ...]:
    """Of each attention to the text its width and that of the tokens."""
    own: dict[str, Any] = {**layers(unet)}
    return tuple(own[f"{place}.to_k"].weight.shape[:2] for place in places(unet))


def suits(path: Path, unet: nn.Module) -> bool:
    """Whether the adapter in a file is made for a network; of a broken file, no."""
    try:
        return _fits(config_of(path), unet)
    except DanqingError:
        return False


def _changes(net: IPAdapter, target: Target, name: str) -> LoRA:
    """The changes of all attentions, those of the picture to itself among them, as a LoRA of the UNet."""
    names = [each for place in places(target.nets["denoiser"]) for each in (f"{place.removesuffix('2')}1", place)]
    tensors: dict[str, Tensor] = {}
    for key, tensor in net.ip_adapter.state_dict().items():
        number, _, inner = key.partition(".")
        if "_lora." in inner:
            tensors[f"unet.{names[int(number)]}.{inner}"] = tensor
    return layouts.read(tensors, {"denoiser": target.nets["denoiser"]}, name=name)


def like_of(unet: nn.Module) -> Tensor:
    """A number of the UNet's, on its device and in its precision."""
    return next(parameter for parameter in unet.parameters() if parameter.is_floating_point())


# ----------------------------------------------------------------------------------------------------------- attaching


def attach(attached: Attached, found: Iterable[tuple[Asked, Adapter]], target: Target, warn: Warn) -> Attached:
    """A branch at every attention that reads the picture; what a file changes beside is put on once, at its own
    strength, whatever the weights.

    Raises:
        InvalidFile: what the adapter sees pictures through is not there, or a picture cannot be read.
        InvalidInput: blocks that nobody knows of this UNet, or no face in a picture.
    """
    unet, changed = target.nets["denoiser"], set[Path]()
    for asked, adapter in found:
        prompt, name = asked.how
        weights = _weights(prompt, unet)
        seen = sight.tokens(adapter.net, prompt, asked.name, warn)
        drafts = sight.drafts(adapter.net, prompt, target)
        on = [branched(unet, adapter.net, seen.tokens, name, weights)]
        if drafts:
            on.append(partial(shares, unet, name))
        if adapter.changes and asked.path not in changed:
            on.append(partial(adapter.changes.on("denoiser", 1.0).attach, unet))
            changed.add(asked.path)
        summary = None if seen.summary is None else (prompt.weight * seen.summary).to(like_of(unet))
        attached = attached.add(
            asked.path, *on, say=[partial(_said, prompt, name, summary, drafts, like_of(unet).device)]
        )
        for path in seen.files:
            attached = attached.add(path)
    return attached


def _weights(prompt: ImagePrompt, unet: nn.Module) -> dict[str, float]:
    """How strongly each attention reads the picture, by its name."""
    if prompt.blocks == "all":
        return dict.fromkeys(places(unet), prompt.weight)
    parts = BLOCKS.get(len(unet.config.block_out_channels)) if isinstance(unet, UNet) and type(unet) is UNet else None
    if parts is None:
        raise InvalidInput(
            f"blocks: {prompt.blocks} was given; which attentions read a style or a layout is known of Stable "
            "Diffusion 1, 2 and XL alone: leave blocks out"
        )
    read = tuple(start for part in prompt.blocks.split("+") for start in parts[part])
    return {place: prompt.weight * place.startswith(read) for place in places(unet)}


def branch(name: str, keys: Tensor, values: Tensor, layer: CrossAttention) -> Branch:
    """The branch of an IP-Adapter at an attention."""
    return Branch(name, keys, values, layer.heads)


def branched(
    unet: nn.Module,
    net: IPAdapter,
    tokens: Tensor,
    name: str,
    weights: Mapping[str, float],
    made: Callable[[str, Tensor, Tensor, CrossAttention], nn.Module] = branch,
) -> Callable[[], Callable[[], object]]:
    """What puts on a branch of a name, which reads the tokens of an adapter, at every attention of some weight."""
    like, branches = like_of(unet), dict[CrossAttention, nn.Module]()
    for i, (place, layer) in enumerate(places(unet).items()):
        if weights[place]:
            keys, values = net.keys_values(tokens, i)
            branches[layer] = made(name, keys.to(like), (weights[place] * values).to(like), layer)
    return partial(_put, name, branches)


def _put(name: str, branches: Mapping[CrossAttention, nn.Module]) -> Callable[[], object]:
    for layer, branch in branches.items():
        layer.branches[name] = branch
    return lambda: [layer.branches.pop(name) for layer in branches]


def shares(unet: nn.Module, name: str) -> Callable[[], object]:
    """Have a UNet's draft hold what is said to be a picture's under a name."""
    held = cast(DraftedUNet, unet).shares
    held[name] = Drawn(name)
    return lambda: held.pop(name)


def _said(
    prompt: ImagePrompt,
    name: str,
    summary: Tensor | None,
    drafts: sight.Drafts | None,
    device: torch.device,
    request: Resolved,
) -> Say:
    """With every term the picture, and none, or the one to keep away from, with the base; within the prompt's times.

    What is added to the text's summary holds for all that is painted: it counts by the part of it that the mask leaves.
    """
    mask = sight.region(prompt.mask, (request.width, request.height)).to(device) if prompt.mask else None
    maps = {} if mask is None else {f"{name} mask": mask}
    added = summary if mask is None or summary is None else summary * mask.mean().to(summary)
    shares = [dict(zip(share_names(name), share, strict=True)) for share in drafts(request)] if drafts else [{}, {}]

    def more(which: int, said: Conditioning) -> Conditioning:
        extra = {**said.extra, name: torch.tensor([which], device=device), **shares[which]}
        pooled = said.pooled if said.pooled is None or added is None else said.pooled + added[which].to(said.pooled)
        return replace(said, extra=extra, maps={**said.maps, **maps}, pooled=pooled)

    return During(each(partial(more, 1), partial(more, 0)), prompt.start, prompt.end)


IP_ADAPTERS = Attachment(
    find=find,
    read=read,
    attach=attach,
    settle=settled,
    does="Image prompts, each a picture to resemble, through IP-Adapters.",
    uses=("image_prompts",),
    kept=KEPT,
)
