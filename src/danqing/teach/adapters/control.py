"""A ControlNet of one's own pictures: a copy of a UNet's way down that is shown a hint of each and learns to follow
it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...adapt.base import Detach
from ...denoise import Control
from ...errors import InvalidInput
from ...hint.fit import at_size
from ...hint.records import hint
from ...learn.training.experiment import Count, Free
from ...learn.training.optim import Muon, muon_groups
from ...nets.controlnet import ControlNet, ControlNetConfig, Shown
from ...nets.ports import Residuals
from ...nets.sized import told_as
from ...nets.unet import UNet, UNetConfig
from ...painting.adapters import hinting
from ...run.device import send
from ...run.precision import autocast, training_precision
from ...types import Conditioning
from ...weights.load import save
from ..base import Above
from .base import OwnAdapter
from .batches import Item

#: Under which name the hint lies over a picture.
NAME = "learned-control"
#: First layers, which meet the data: no hidden matrices.
EDGES = ("conv_in", "controlnet_cond_embedding.conv_in", "time_embedding", "add_embedding")


@dataclass(frozen=True, kw_only=True)
class OwnControl(OwnAdapter):
    """A control network. It begins as a copy of the UNet's way down behind convolutions of zeros, so that at first it
    changes nothing (Zhang et al. 2023, section 3).

    Args:
        hint: what it is shown of a picture, as `danqing hint` takes it: "edges", "palette", "edges:low=50".
        widths: of the convolutions that embed the hint, each but the first of which halves it: one more than the codec
            halves pictures; 16, 32, 64, … where none are given.
        middle: what of the UNet's middle is copied: all of it, or one residual block without attention.
        rate: Muon's, of all that lies between.
        edge_rate: AdamW's, of first layers and of vectors.
        words: whether it reads the words as well; otherwise its attentions are left out.
    """

    KIND: ClassVar[str] = "control"

    steps: Free[Count] = 4000
    sample_every: Free[Count] = 500
    batch: Count = 16
    rate: Above = 0.01
    edge_rate: Above = 1e-3
    average: float = 0.99
    unsaid: float = 0.3
    mirror: bool = False
    hint: str = "edges"
    widths: tuple[int, ...] = ()
    middle: Literal["whole", "one"] = "whole"
    words: bool = True

    @property
    def _unet(self) -> UNet:
        net = self.frozen.nets["denoiser"]
        if not isinstance(net, UNet):
            raise InvalidInput(f"{self.frozen.model.name} has no UNet: a control network is learned for those alone")
        return net

    @property
    def name(self) -> str:
        return f"{self.own.folder}-{self.hint.partition(':')[0]}"

    def made(self) -> ControlNet:
        net, factor = self._unet, self.frozen.codec.factor
        if self.prior:
            raise InvalidInput(
                "prior: without a hint a control network changes nothing, so there is nothing to preserve"
            )
        widths = self.widths or tuple(16 << i for i in range(factor.bit_length()))
        if 2 ** (len(widths) - 1) != factor:
            raise InvalidInput(
                f"widths: {len(widths)} were given; a hint is {factor} times as large: {factor.bit_length()}"
            )
        shape = {f.name: getattr(net.config, f.name) for f in fields(UNetConfig)}
        shape |= {"in_channels": self.frozen.codec.channels, "hint_widths": widths}
        if not self.words:
            shape |= {"transformer_layers": (0,) * len(net.config.transformer_layers), "mid_transformer_layers": 0}
        made = ControlNet(ControlNetConfig(**shape, mid_resnets=2 if self.middle == "whole" else 1))
        return copied(made, net).to(self.frozen.where)

    def optimiser(self, learned: nn.Module) -> torch.optim.Optimizer:
        # AdamW moves all weights of a layer alike at first, and six convolutions of them in a row would say one number.
        groups = muon_groups(learned, lr=self.rate, adam_lr=self.edge_rate, weight_decay=self.decay, edges=EDGES)
        return Muon(groups, dtype=training_precision(self.frozen.where))

    def put_on(self, learned: nn.Module) -> Detach:
        net, denoiser = cast(ControlNet, learned), self.frozen.denoiser
        return denoiser.add_control(steering(net, told_as(denoiser.net, net)))

    # ------------------------------------------------------------------------------------------------------ the hints

    @cached_property
    def _hints(self) -> list[np.ndarray]:
        """Of each picture its hint, (H, W, 3) or (H, W) of bytes."""
        record = hint(self.hint)
        draw = hinting.make(record)
        found = (np.asarray(at_size(record, draw, Image.fromarray(p)).convert("RGB")) for p in self.own.pictures)
        return [each[..., 0].copy() if (each[..., :1] == each).all() else each for each in found]

    def _levels(self, items: Iterable[Item]) -> Tensor:
        """(B, 3, H, W), 0 to 1."""
        there = (self._hints[i][:, ::-1] if turned else self._hints[i] for i, turned in items)
        whole = np.stack([each if each.ndim == 3 else each[..., None].repeat(3, 2) for each in there])
        return torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 255

    def more(self, items: Sequence[Item]) -> Mapping[str, Tensor]:
        return {NAME: send(self._levels(items), self.frozen.where)}

    @property
    def _first(self) -> list[int]:
        """The pictures of a sheet: those of its prompts, in turn."""
        return [i % len(self.own.pictures) for i in range(len(self.shown))]

    @property
    def hinted(self) -> Mapping[str, Tensor]:
        return {NAME: send(self._levels((i, False) for i in self._first), self.frozen.where)}

    @property
    def above(self) -> list[Image.Image]:
        return [Image.fromarray(self._hints[i]) for i in self._first]

    def usage(self) -> dict[str, str]:
        return {**super().usage(), "hint": self.hint}

    def write(self, learned: nn.Module, folder: Path, said: Mapping[str, str]) -> Path:
        kept = {"danqing.hint": self.hint, **said}
        return save(learned, folder / f"{self.name}.safetensors", kept, dtype=torch.bfloat16)


def copied(control: ControlNet, net: UNet) -> ControlNet:
    """The control network with the UNet's own weights wherever a name is of both; of a convolution that reads more
    channels in the UNet those of its first ones."""
    mine, theirs = control.state_dict(), net.state_dict()
    for name, value in mine.items():
        other = theirs.get(name)
        if other is not None and other.shape[:1] == value.shape[:1] and other.shape[2:] == value.shape[2:]:
            mine[name] = (other if other.ndim < 2 else other[:, : value.shape[1]]).to(value)
    control.load_state_dict(mine)
    return control


def steering(net: ControlNet, told: nn.Module) -> Control:
    """What adds the network's residuals to those of a denoiser, by the hint that lies over each picture.

    Args:
        told: the network as it is told what the denoiser is: of Stable Diffusion XL sizes too.
    """

    def control(x: Tensor, time: Tensor, cond: Conditioning) -> Residuals:
        with autocast(x.device) if x.dtype != torch.float32 else torch.autocast(x.device.type, enabled=False):
            seen = Shown(net.see(cond.maps[NAME].float()))
            found: Residuals = told(x.float(), time, cond.tokens, shown=[seen], pooled=cond.pooled)
        return found.map(lambda residual: residual.to(x.dtype))

    return control
