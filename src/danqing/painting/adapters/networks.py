"""The control networks in the folders of models: by name, by what they are shown, and by the model that they fit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ...errors import DanqingError, InvalidFile, InvalidInput, UnknownName, nearest
from ...inputs.parse import json_of
from ...nets.mmdit import MMDiT
from ...nets.t2i_adapter import XL_FACTOR
from ...nets.unet import UNet
from ...request.control import KINDS, Control
from ...store import library
from ...weights import store
from ...weights.facts import Shapes
from ...weights.families.adapters.controlnet_mmdit import HINT
from ...weights.family import CONFIG_KEY
from ...weights.formats.format import Header
from ...weights.registry import candidates

#: What diffusers calls the file of a network, whose folder has its name.
UNNAMED = re.compile(r"(.+)/diffusion_pytorch_model[\w.-]*")
#: Where Stability AI's files say which hint they are for: 0 blurred, 1 edges, 2 depth.
CONTROL_TYPE, EDGES = "control_type", 1
#: How many names a refusal lists.
LISTED = 9
#: What people call the models whose text is so wide.
TITLES = {768: "SD1.x", 1024: "SD2.x", 2048: "SDXL", 4096: "SD3"}
#: And those whose summary is so wide.
SUMMARIES = {2816: "SDXL", 2048: "SD3"}


class Made(NamedTuple):
    """For which networks a control network is made.

    Args:
        text: the width of the text that it reads; 0 for one that reads none.
        pooled: the width of the summary that it reads; 0 for none.
        width: of the first level; 0 for one that is not told.
    """

    text: int = 0
    pooled: int = 0
    width: int = 0

    def fits(self, net: Made) -> bool:
        """Whether it can steer a network of these widths."""
        every = zip(self, net, strict=True)
        return self.pooled == net.pooled and all(own in (0, other) for own, other in every)

    @property
    def title(self) -> str:
        """What people call such models."""
        if self.text in TITLES:
            return TITLES[self.text]
        return SUMMARIES.get(self.pooled, f"models whose first level is {self.width} wide")


def made_as(net: nn.Module) -> Made | None:
    """The widths of a denoiser's network; None of one that nothing is known to steer."""
    if isinstance(net, UNet):
        c = net.config
        return Made(text=c.cross_attention_dim, pooled=c.pooled_channels, width=c.block_out_channels[0])
    if isinstance(net, MMDiT):
        c = net.config
        return Made(text=c.joint_attention_dim, pooled=c.pooled_projection_dim, width=c.width)
    return None


def _adapter(facts: Mapping[str, Any], shapes: Shapes) -> Made:
    wide = {"text": 2048, "pooled": 2816} if facts["downscale_factor"] == XL_FACTOR else {}
    return Made(width=facts["channels"][0], **wide)


def _of_mmdit(facts: Mapping[str, Any], shapes: Shapes) -> Made:
    width = shapes[HINT][0]
    return Made(text=facts["joint_attention_dim"], pooled=facts["pooled_projection_dim"], width=width)


#: Of families whose names alone do not tell it: (what the shapes say of the config, the shapes) -> the widths.
MADE: Mapping[str, Callable[[Mapping[str, Any], Shapes], Made]] = {
    "t2i-adapter": _adapter,
    "controlnet-mmdit": _of_mmdit,
}


def made_for(header: Header) -> Made:
    """The widths of a control network's file in any layout, those of changes too: by its names' ends."""
    found = candidates(header)
    if found and found[0].name in MADE:
        return MADE[found[0].name](found[0].facts(header).inferred, found[0].shapes(header))
    shapes = {f".{name.removeprefix('control_model.')}": shape for name, shape in header.shapes.items()}

    def width(axis: int, *ends: str) -> int:
        found = (shape for name, shape in shapes.items() if name.endswith(ends) and len(shape) > axis)
        return next((shape[axis] for shape in found), 0)

    return Made(
        text=width(1, ".attn2.to_k.weight", ".attn2.to_k.down"),
        pooled=width(1, ".add_embedding.linear_1.weight", ".label_emb.0.0.weight", ".label_emb.0.0.down"),
        width=shapes.get(".conv_in.weight", (0,))[0] or width(0, ".input_blocks.0.0.weight", ".input_blocks.0.0.up"),
    )


def family(path: Path) -> str:
    """The family of the network in a file; "" where it states changes of another."""
    found = candidates(store.header(path))
    return found[0].name if found else ""


def names() -> dict[str, Path]:
    """Name -> file of every control network; one of diffusers' folders has the folder's name."""
    found: dict[str, Path] = {}
    for name, path in library.controls().items():
        folder = UNNAMED.fullmatch(name)
        found.setdefault(folder[1] if folder else name, path)
    return {name: path for name, path in found.items() if not name.startswith("diffusion_pytorch_model")}


def locate(given: str) -> Path:
    """The file of a control network by its path, its folder's, or its name in the folders of models.

    Raises:
        UnknownName: there is none.
    """
    path = Path(os.path.expanduser(given))
    if path.is_dir():
        path = next(iter(sorted(path.glob("diffusion_pytorch_model*.safetensors"))), path / "diffusion_pytorch_model")
    if path.is_file():
        return path
    known = names()
    wanted = re.sub(r"\.(safetensors|pth|ckpt|pt|bin|gguf)$", "", given.replace("\\", "/"))
    for fold in (str, str.casefold):
        for name, there in known.items():
            if fold(wanted) == fold(name):
                return there
    raise UnknownName("control network", given, [*known, "the path of a file"])


def chosen(control: Control, net: Made, model: str) -> str:
    """The name, or the file as given, of the network for a control.

    Raises:
        InvalidInput: there is none that fits the model, or the one that is stated does not; it names those that fit.
        UnknownName: the one that is stated is not there.
    """
    if control.file:
        path = locate(control.file)
        if not (made := made_for(store.header(path))).fits(net):
            raise InvalidInput(
                f"control {control.name}: {control.file} is made for {made.title}, and {model} is not of that family; "
                f"{_possible(control, net)}"
            )
        return control.file
    words = (control.name, control.name.replace("-", ""), *KINDS.get(control.name, ()))
    named = [name for name in names() if any(_has(name, word) for word in words)]
    for name in (*named, *(name for name in names() if _has(name, "union"))):
        if _fits(name, net):
            return name
    others = f"{', '.join(map(repr, named[:LISTED]))} is made for other models" if named else "none lies in the folders"
    raise InvalidInput(f"control {control.name}: no network for it fits {model}: {others}; {_possible(control, net)}")


def _possible(control: Control, net: Made) -> str:
    fitting = [name for name in names() if _fits(name, net)]
    near = nearest(control.name, fitting, count=LISTED, cutoff=0.0) or fitting
    here = f"those that fit are {', '.join(map(repr, near[:LISTED]))}" if fitting else "none that fits is here"
    where = f"put one into the folder controlnet of your models ({library.home('controlnet')})"
    return f"{here}: name one as {control.name}@NAME, or {where}"


def _fits(name: str, net: Made) -> bool:
    try:
        return made_for(store.header(names()[name])).fits(net)
    except (DanqingError, OSError):
        return False


def _has(name: str, word: str) -> bool:
    """Whether a file's name has a word, whatever stands between its words."""
    return re.search(rf"(?<![a-z]){re.escape(word)}(?![a-z])", name.casefold()) is not None


def stated(path: Path) -> dict[str, Any]:
    """What a network's name, the config.json beside it and its numbers say that its shapes do not."""
    config: Mapping[str, Any] = {}
    beside = path.parent / "config.json"
    if beside.is_file():
        try:
            config = json_of(beside.read_bytes())
        except (ValueError, OSError):
            raise InvalidFile(f"{beside} is no JSON: get it again") from None
    return STATED.get(family(path), _means)(path, config)


def _means(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """That residuals are means."""
    return {"pooled_residuals": bool(config.get("global_pool_conditions", _has(path.stem, "shuffle")))}


def _levels(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the summary is heard, the heads, and which hint of Stability AI's three it was made for."""
    header = store.header(path)
    if CONFIG_KEY in header.metadata:
        return {}
    said = {key: config[key] for key in ("num_attention_heads", "attention_head_dim") if key in config}
    if config:
        said["silent"] = bool(config.get("force_zeros_for_pooled_projection", True))
    if CONTROL_TYPE in header.tensors:
        said["edges"] = int(store.read(path, [CONTROL_TYPE])[CONTROL_TYPE].flatten()[0]) == EDGES
    elif "context_embedder.weight" not in header.tensors:
        said["edges"] = any(_has(name, "canny") for name in (path.stem, path.parent.name))
    return said


#: Of families of which something else than means is stated.
STATED: Mapping[str, Callable[[Path, Mapping[str, Any]], dict[str, Any]]] = {"controlnet-mmdit": _levels}
