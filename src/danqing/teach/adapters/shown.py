"""What adapters share that are shown pictures: keys and values of tokens at every attention to the words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...adapt.base import Detach, layers
from ...errors import InvalidInput
from ...learn.training.experiment import Count, Free
from ...nets.ip_adapter import IPAdapter, IPAdapterConfig, places
from ...nets.ports import Context
from ...nets.unet import CrossAttention
from ...run.device import send
from ...store import library
from ...types import Conditioning
from ...weights.load import load, save
from .base import OwnAdapter
from .batches import Item

#: Under which name a picture's tokens are said.
NAME = "learned-picture"


@dataclass(frozen=True, kw_only=True)
class OwnShown(OwnAdapter):
    """An IP-Adapter (Ye et al. 2023). At first its keys are those of the text and its values nothing, so that it
    changes nothing.

    Args:
        tokens: that a picture becomes.
        unseen: the share of pictures that are not shown, so that guidance has something to count from.
        begin: the name or file of an adapter of the same shape to go on from.
    """

    steps: Free[Count] = 2000
    sample_every: Free[Count] = 500
    average: float = 0.99
    unsaid: float = 0.5
    unseen: Annotated[float, Field(ge=0, lt=1)] = 0.1
    tokens: Count = 4
    begin: str = ""

    # ------------------------------------------------------------------------------------------------ of each kind

    @abstractmethod
    def config(self, width: int, widths: tuple[int, ...]) -> IPAdapterConfig:
        """Its shape, for words of so many numbers and attentions of these widths."""

    @abstractmethod
    def seen(self, item: Item, draw: torch.Generator | None) -> Tensor:
        """What it reads of a picture, (1, …); without a generator, of that very one."""

    def tokens_of(self, learned: IPAdapter, seen: Tensor) -> Tensor:
        """(B, …) -> tokens (B, N, D)."""
        return learned(seen)

    def drafts(self, learned: IPAdapter, items: Sequence[Item], shown: Tensor) -> Mapping[str, Tensor]:
        """What pictures have of the draft, as ``extra`` holds it under `NAME`, by whether each is shown, (B,); of no
        picture that of one that is not."""
        return {}

    # --------------------------------------------------------------------------------------------------- the training

    def made(self) -> IPAdapter:
        net = self.frozen.nets["denoiser"]
        if not places(net):
            raise InvalidInput(
                f"{self.frozen.model.name} has no attentions to words of a UNet: a picture is shown to those alone"
            )
        if self.prior:
            raise InvalidInput("prior: without a picture the adapter changes nothing, so there is nothing to preserve")
        keys = keys_of(net)
        config = self.config(keys[0].shape[1], tuple(key.shape[0] for key in keys))
        return self._begun(config) if self.begin else begun(config, keys).to(self.frozen.where)

    def _begun(self, config: IPAdapterConfig) -> IPAdapter:
        path = Path(self.begin).expanduser()
        path = path if path.is_file() else library.ip_adapters().get(self.begin, path)
        made = load(path, family="ip-adapter", device=str(self.frozen.where), dtype=torch.float32)
        assert isinstance(made, IPAdapter)
        if made.config != config:
            raise InvalidInput(f"begin: {self.begin} is of the shape {made.config}, and {config} is to be learned")
        return made.requires_grad_(True)

    def put_on(self, learned: nn.Module) -> Detach:
        net = cast(IPAdapter, learned)
        found = list(places(self.frozen.nets["denoiser"]).values())
        for i, layer in enumerate(found):
            layer.branches[NAME] = Learning(net, i, layer)

        def off() -> None:
            for layer in found:
                layer.branches.pop(NAME)

        return off

    def beside(self, told: Conditioning, items: Sequence[Item], draw: torch.Generator | None) -> Conditioning:
        if not self._on:
            return told
        learned = cast(IPAdapter, self._on[0][0])
        seen = [self.seen(item, draw) for item in items] or [torch.zeros_like(self.seen((0, False), None))]
        numbers = send(torch.cat(seen), self.frozen.where).float()
        shown = torch.ones(len(items)) if draw is None else torch.rand(len(items), generator=draw) >= self.unseen
        shown = (shown if items else torch.zeros(1)).to(numbers)
        numbers = numbers * shown.reshape(-1, *(1,) * (numbers.ndim - 1))
        added, pooled = learned.image_proj.summary(numbers), told.pooled
        if added is not None and pooled is not None:
            pooled = pooled + added.to(pooled)
        said = self.tokens_of(learned, numbers).to(told.tokens)
        own = self.drafts(learned, items, shown)
        return replace(told, pooled=pooled, extra={**told.extra, NAME: said, **own})

    def write(self, learned: nn.Module, folder: Path, said: Mapping[str, str]) -> Path:
        return save(learned, folder / f"{self.name}.safetensors", said, dtype=torch.float16)


def keys_of(net: nn.Module) -> list[Tensor]:
    """What makes a UNet's keys of the text, of each attention in the order of `places`, (C, D)."""
    own: dict[str, Any] = {**layers(net)}
    return [own[f"{place}.to_k"].weight for place in places(net)]


def begun(config: IPAdapterConfig, keys: Sequence[Tensor]) -> IPAdapter:
    """An adapter at its beginning: its keys are those of the text, as `keys_of` has them, and its values nothing, so
    that attention adds nothing."""
    made = IPAdapter(config)
    for i, key in enumerate(keys):
        part: Any = made.ip_adapter[str(2 * i + 1)]
        part.to_k_ip.weight.data.copy_(key)
        nn.init.zeros_(part.to_v_ip.weight)
    return made


class Learning(nn.Module):
    """``softmax(q k'ᵀ / √d) v'`` with the keys and values of an adapter while it learns; without a picture nothing."""

    def __init__(self, net: IPAdapter, place: int, layer: CrossAttention):
        super().__init__()
        self._net, self._layer, self.place = (net,), (layer,), place  # held by others

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        """(B, heads, N, d) -> the same."""
        tokens = ctx.extra.get(NAME)
        if tokens is None:
            return q.new_zeros(())
        with torch.autocast(q.device.type, enabled=False):
            both = self._net[0].keys_values(tokens.float(), self.place)
        keys, values = (self._layer[0].split(x.to(q)) for x in both)
        return F.scaled_dot_product_attention(q, keys, values)
