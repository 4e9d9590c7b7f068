"""The UNet against diffusers': the published shapes by key, tiny ones by output."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch
from diffusers import UNet2DConditionModel

from danqing.errors import InvalidInput
from danqing.nets.drafted import MINI
from danqing.nets.ports import Residuals
from danqing.nets.unet import (
    SD1,
    SD2,
    SDXL,
    SDXL_REFINER,
    UNet,
    UNetConfig,
    diffusers_config,
    size_embedding,
)

PUBLISHED = {"sd1": SD1, "sd2": SD2, "sdxl": SDXL, "sdxl-refiner": SDXL_REFINER, "mini": MINI}
SMALL = {"norm_num_groups": 4, "cross_attention_dim": 24}
TINY = {
    "sd1": replace(SD1, block_out_channels=(8, 16, 16, 24), attention_heads=(2, 2, 2, 2), **SMALL),
    "sd2": replace(SD2, block_out_channels=(8, 16, 16, 24), attention_heads=(1, 2, 4, 4), **SMALL),
    "sdxl": replace(
        SDXL,
        block_out_channels=(8, 16, 24),
        attention_heads=(1, 2, 4),
        transformer_layers=(0, 1, 2),
        mid_transformer_layers=2,
        pooled_channels=20 + 6 * 256,
        **SMALL,
    ),
    "mini": replace(MINI, block_out_channels=(8, 16, 24), attention_heads=(1, 2, 4), **SMALL),
    "inpainting": replace(
        SD1, in_channels=9, block_out_channels=(8, 16), transformer_layers=(1, 0), attention_heads=(2, 2), **SMALL
    ),
}


@pytest.mark.parametrize("config", PUBLISHED.values(), ids=PUBLISHED)
def test_a_full_shape_has_the_published_names_and_shapes(config: UNetConfig) -> None:
    with torch.device("meta"):
        ours, theirs = UNet(config), UNet2DConditionModel(**diffusers_config(config))
    assert shapes(ours) == shapes(theirs)


def shapes(net: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}


def shake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights in every place, norms and biases too, so that no term can be forgotten or exchanged unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return net.eval()


def pair(config: UNetConfig) -> tuple[UNet, UNet2DConditionModel]:
    torch.manual_seed(0)
    theirs = cast(UNet2DConditionModel, shake(UNet2DConditionModel(**diffusers_config(config))))
    ours = UNet(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def call(config: UNetConfig, size: tuple[int, int]) -> tuple[list[torch.Tensor], dict, dict]:
    """Positional inputs, our keywords, diffusers' keywords."""
    draw = torch.Generator().manual_seed(1)
    args = [
        torch.randn(2, config.in_channels, *size, generator=draw),
        torch.tensor([3.0, 977.0]),
        torch.randn(2, 7, config.cross_attention_dim, generator=draw),
    ]
    if not config.pooled_channels:
        return args, {}, {}
    ids = torch.tensor([[1024.0, 768, 0, 0, 1024, 768], [512.0, 512, 32, 16, 512, 512]])
    ids = ids if config.pooled_channels > 6 * 256 else ids[:, :0]  # the small model's summary is the text's alone
    summary = torch.randn(2, config.pooled_channels - 256 * ids.shape[1], generator=draw)
    ours = {"pooled": torch.cat([summary, size_embedding(ids)], dim=1)}
    return args, ours, {"added_cond_kwargs": {"text_embeds": summary, "time_ids": ids}}


@pytest.mark.parametrize("size", [(16, 16), (13, 18)], ids=["even", "odd"])
@pytest.mark.parametrize("config", TINY.values(), ids=TINY)
@torch.no_grad()
def test_the_same_weights_give_the_same_output(config: UNetConfig, size: tuple[int, int]) -> None:
    ours, theirs = pair(config)
    args, our_words, their_words = call(config, size)
    torch.testing.assert_close(ours(*args, **our_words), theirs(*args, **their_words).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_residuals_are_added_where_diffusers_adds_a_control_networks() -> None:
    config = TINY["sd1"]
    ours, theirs = pair(config)
    args, _, _ = call(config, (16, 16))
    skips, mid = [], []
    draw = torch.Generator().manual_seed(2)
    ours.mid_block.register_forward_hook(lambda *a: mid.append(torch.randn(a[2].shape, generator=draw)))
    ours.down_blocks[-1].register_forward_hook(
        lambda _, a, __: skips.extend(torch.randn(s.shape, generator=draw) for s in a[1])
    )
    ours(*args)
    assert len(skips) == config.skips
    got = ours(*args, residuals=Residuals(down=tuple(skips[: config.skips]), mid=mid[0]))
    want = theirs(
        *args, down_block_additional_residuals=tuple(skips[: config.skips]), mid_block_additional_residual=mid[0]
    ).sample
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_a_shape_that_diffusers_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        diffusers_config(replace(MINI, mid_transformer_layers=0))
