"""Tiny networks and random changes of their layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, LowRank
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import SD1, SDXL, UNet, UNetConfig, size_embedding

SMALL: dict[str, Any] = {"norm_num_groups": 4, "cross_attention_dim": 12}
#: The topologies of the published models, narrow.
CONFIGS = {
    "sd1": replace(SD1, block_out_channels=(8, 16, 16, 16), attention_heads=(2, 2, 2, 2), **SMALL),
    "sdxl": replace(
        SDXL,
        block_out_channels=(8, 8, 16),
        transformer_layers=(0, 1, 2),
        mid_transformer_layers=2,
        attention_heads=(1, 2, 2),
        pooled_channels=20 + 6 * 256,
        **SMALL,
    ),
    "shallow": replace(SD1, block_out_channels=(8, 16), transformer_layers=(1, 0), attention_heads=(2, 2), **SMALL),
}
TEXT = CLIPTextConfig(
    vocab_size=64, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=8, projection_dim=0, eos_token_id=63,
)  # fmt: skip


class Bench:
    """What the tests share, as functions."""

    configs = CONFIGS
    text_config = TEXT

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(7)

    def draw(self, *shape: int, scale: float = 0.3) -> Tensor:
        return scale * torch.randn(*shape, generator=self.generator)

    def shake(self, net: Any) -> Any:
        """Random numbers in every place, norms and biases too; for use."""
        with torch.no_grad():
            for p in net.parameters():
                p.add_(self.draw(*p.shape, scale=0.1))
        return net.eval().requires_grad_(False)

    def unet(self, config: UNetConfig = CONFIGS["shallow"]) -> UNet:
        torch.manual_seed(0)
        return self.shake(UNet(config))

    def tower(self, **changes: Any) -> CLIPText:
        torch.manual_seed(0)
        return self.shake(CLIPText(replace(TEXT, **changes)))

    def inputs(self, config: UNetConfig) -> dict[str, Tensor]:
        """What `call` gives a UNet; "summary" is the text's, without SDXL's sizes, which are zeros."""
        draw = torch.Generator().manual_seed(1)
        return {
            "x": torch.randn(2, config.in_channels, 8, 8, generator=draw),
            "time": torch.tensor([5.0, 955.0]),
            "tokens": torch.randn(2, 5, config.cross_attention_dim, generator=draw),
            "summary": torch.randn(2, max(0, config.pooled_channels - 6 * 256), generator=draw),
        }

    def call(self, net: UNet) -> Tensor:
        dtype = net.conv_norm_out.weight.dtype
        words = {name: value.to(dtype) for name, value in self.inputs(net.config).items()}
        summary = words.pop("summary")
        pooled = torch.cat([summary, size_embedding(torch.zeros(2, 6)).to(dtype)], dim=1) if summary.numel() else None
        with torch.no_grad():
            return net(**words, pooled=pooled)

    def read_text(self, tower: CLIPText) -> Tensor:
        with torch.no_grad():
            return tower(torch.tensor([[62, 3, 4, 5, 63, 0, 0, 0]])).tokens

    def low_rank(self, layer: nn.Module, rank: int = 3) -> tuple[Tensor, Tensor]:
        """(up, down) for a linear layer or a convolution, as kohya shapes them."""
        shape = getattr(layer, "weight").shape  # noqa: B009
        ones = (1,) * (len(shape) - 2)
        return self.draw(shape[0], rank, *ones), self.draw(rank, *shape[1:])

    def deltas(self, net: nn.Module, names: Iterable[str] | None = None, scale: float = 0.5) -> dict[str, Delta]:
        known = {name: layer for name, layer in layers(net).items() if isinstance(layer, nn.Linear | nn.Conv2d)}
        return {name: Delta(LowRank(*self.low_rank(known[name]), scale=scale)) for name in (names or known)}


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def targets() -> dict[str, nn.Module]:
    """The networks of a model, for tests that only read for them."""
    bench = Bench()
    return {"denoiser": bench.unet(), "text": bench.tower(), "text_2": bench.tower(hidden_size=16)}
