"""An IP-Adapter of one's own pictures: a picture as a prompt, seen through an image tower that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...learn.training.experiment import Count
from ...nets.ip_adapter import IPAdapterConfig
from ...painting.adapters import towers
from .batches import Item
from .shown import OwnShown


@dataclass(frozen=True, kw_only=True)
class OwnImagePrompt(OwnShown):
    """A picture's summary as tokens, and of a model of ours also as what is added to the text's summary, from which it
    drafts.

    Args:
        tower: the name or file of the image tower; the one that ships for a model of ours, else the user's first.
        inner: of the hidden layer of what is added to the text's summary.
    """

    KIND: ClassVar[str] = "image-prompt"

    tower: str = ""
    inner: Count = 1024

    @property
    def name(self) -> str:
        return f"{self.own.folder}-image-prompt"

    @cached_property
    def _summary(self) -> int:
        """P of the text's summary where the network reads that alone, else 0."""
        return getattr(self.frozen.nets["denoiser"].config, "pooled_channels", 0) if self.frozen.square else 0

    @cached_property
    def _what(self) -> str:
        return "matched" if self._summary else "projected"

    @cached_property
    def _tower(self) -> tuple[Path, int]:
        return towers.any_of(self._what, self.tower)

    def config(self, width: int, widths: tuple[int, ...]) -> IPAdapterConfig:
        more = {"kind": "summary", "summary": self._summary, "inner": self.inner} if self._summary else {}
        return IPAdapterConfig(tokens=self.tokens, width=width, seen=self._tower[1], layers=widths, **more)

    def made(self):
        made = super().made()
        if self._summary and not self.begin:
            for each in (made.image_proj.get_submodule(name) for name in ("skip", "down")):
                torch.nn.init.zeros_(each.get_parameter("weight"))
        return made

    @cached_property
    def _seen(self) -> dict[Item, Tensor]:
        return {}

    def seen(self, item: Item, draw: torch.Generator | None) -> Tensor:
        if item not in self._seen:
            path, (i, turned) = self._tower[0], item
            image = Image.fromarray(self.own.pictures[i])
            image = towers.kind_of(path).square(ImageOps.mirror(image) if turned else image)
            self._seen[item] = towers.says(path, self._what, image)
        return self._seen[item]
