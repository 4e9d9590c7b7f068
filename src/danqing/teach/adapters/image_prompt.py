"""An IP-Adapter of one's own pictures: a picture as a prompt, seen through an image tower that stands still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn

from ...adapt.base import Detach
from ...learn.training.experiment import Count
from ...nets.drafted import DraftedUNet, Drawn, share_names
from ...nets.ip_adapter import IPAdapter, IPAdapterConfig
from ...painting.adapters import ip_adapters, towers
from ...store import library
from .batches import Item
from .shown import NAME, OwnShown


@dataclass(frozen=True, kw_only=True)
class OwnImagePrompt(OwnShown):
    """A picture's summary as tokens, and of a model of ours also as what is added to the text's summary, from which it
    drafts; and its latent as the draft itself, which the adapter changes from its beginning.

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
        more = {}
        if self._summary:
            more = {"kind": "summary", "summary": self._summary, "inner": self.inner, "drawn": self._drawn}
        return IPAdapterConfig(tokens=self.tokens, width=width, seen=self._tower[1], layers=widths, **more)

    @cached_property
    def _drawn(self) -> int:
        """C of the latent of which a draft is made: the model's, and that of an adapter that it goes on from."""
        path = library.ip_adapters().get(self.begin, Path(self.begin).expanduser())
        return ip_adapters.config_of(path).drawn if path.is_file() else self.frozen.codec.channels

    def put_on(self, learned: nn.Module) -> Detach:
        off = super().put_on(learned)
        if not cast(IPAdapter, learned).config.drawn:
            return off
        shares = cast(DraftedUNet, self.frozen.nets["denoiser"]).shares
        shares[NAME] = Drawn(NAME)

        def both() -> None:
            shares.pop(NAME)
            off()

        return both

    def drafts(self, learned: IPAdapter, items: Sequence[Item], shown: Tensor) -> Mapping[str, Tensor]:
        if not learned.config.drawn:
            return {}
        net = cast(DraftedUNet, self.frozen.nets["denoiser"])
        side = net.config.draft_size
        latents = torch.stack([self.batches.latents[item] for item in items or [(0, False)]]).to(shown)
        made = learned.image_proj.draft(F.interpolate(latents, (side, side), mode="area"))
        assert made is not None
        weight = shown.reshape(-1, 1, 1, 1).expand(-1, 1, side, side)
        return dict(zip(share_names(NAME), (weight, made), strict=True))

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
