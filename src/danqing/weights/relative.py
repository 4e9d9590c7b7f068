"""Control networks that a file states as changes of the UNet that they steer.

    Control-LoRA (Stability AI): W = W_unet + up · down        (the mark ``lora_controlnet``)
    difference (sd-webui-controlnet): W = W_unet + D           (the mark ``difference``)

A tensor that the file holds whole is taken as it is, one that it does not hold is the UNet's. Source: the names in
ComfyUI's comfy/controlnet.py, which reads both.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from ..errors import InvalidFile
from ..nets.controlnet import ControlNet, ControlNetConfig
from ..nets.unet import UNetConfig
from . import store
from .facts import count
from .families.adapters.controlnet import HINT, RELATIVE
from .layouts import ldm
from .load import near, report

PREFIX = "control_model."


def is_relative(names: Collection[str]) -> bool:
    """Whether a file with these tensors states changes of a UNet."""
    return any(mark in names for mark in RELATIVE)


@torch.no_grad()
def load(
    path: str | os.PathLike[str],
    config: UNetConfig,
    base: Mapping[str, Tensor],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ControlNet:
    """The control network of a file of changes.

    Args:
        config, base: of the UNet that it steers: its shape, and its tensors by name.

    Raises:
        InvalidFile: the file does not fit that UNet; the message lists what is missing or of another shape.
    """
    held = {name: tensor for name, tensor in store.read(path).items() if name not in RELATIVE}
    added = "difference" in store.header(path).tensors
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in held.items()}
    keymap = ldm.controlnet({name.replace(".up", ".weight"): () for name in bare})  # which asks which blocks there are
    given = {new: bare[old] for old, new in keymap.names(bare).items()}
    if absent := [name for name in (f"{HINT}.conv_in.weight", f"{HINT}.conv_out.weight") if name not in given]:
        raise InvalidFile(f"{path} states the changes of no control network that is known here: it lacks {absent[0]}")
    blocks = range(0, count(given, HINT + ".blocks.{}.weight"), 2)
    widths = (*(given[f"{HINT}.blocks.{i}.weight"].shape[1] for i in blocks), given[f"{HINT}.conv_out.weight"].shape[1])
    shape = {**asdict(config), "in_channels": base["conv_in.weight"].shape[1]}
    channels = given[f"{HINT}.conv_in.weight"].shape[1]
    with torch.device("meta"):
        net = ControlNet(ControlNetConfig(**shape, hint_widths=widths, hint_channels=channels))
    state, wrong = dict[str, Tensor](), dict[str, str]()
    for name, wanted in net.state_dict().items():
        made = _made(name, given, base, added)
        if made is None or made.shape != wanted.shape:
            wrong[name] = (
                near(name, list(given)) if made is None else f"is {list(made.shape)}, not {list(wanted.shape)}"
            )
            continue
        state[name] = made.to(device, dtype or base["conv_in.weight"].dtype)
    if wrong:
        lines = [
            f"{path} was made for another UNet than the one that it is to steer:",
            *report("odd", list(wrong), wrong),
        ]
        raise InvalidFile("\n  ".join(lines))
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval().requires_grad_(False)


def _made(name: str, given: Mapping[str, Tensor], base: Mapping[str, Tensor], added: bool) -> Tensor | None:
    """A tensor of the control network, in at least float32 where it is a sum; None where neither has it."""
    stem, _, end = name.rpartition(".")
    up, down, own = given.get(f"{stem}.up"), given.get(f"{stem}.down"), base.get(name)
    if end == "weight" and up is not None and down is not None and own is not None:
        change = up.float().flatten(1) @ down.float().flatten(1)
        return own.float() + change.reshape(own.shape).to(own.device) if change.numel() == own.numel() else change
    whole = given.get(name)
    if whole is None or not added or own is None:
        return own if whole is None else whole
    return own.float() + whole.to(own.device).reshape(own.shape).float() if whole.numel() == own.numel() else whole
