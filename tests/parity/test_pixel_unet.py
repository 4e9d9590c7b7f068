"""The UNet in pixels against diffusers: the same weights, the same output; and the shapes of the published DDPMs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from danqing.errors import InvalidInput
from danqing.nets.pixel_unet import CIFAR10, LSUN, MINI, PixelUNet, PixelUNetConfig, ScoreUNet, diffusers_config

SMALL: dict[str, Any] = {"block_out_channels": (8, 16, 24), "norm_num_groups": 4}
TINY = {
    "ddpm": replace(CIFAR10, attention_heads=(0, 1, 0), **SMALL),
    "learned variance": replace(MINI, attention_heads=(0, 2, 3), mid_attention_heads=3, **SMALL),
    "classes": replace(CIFAR10, attention_heads=(1, 0, 0), classes=5, scale_shift=True, layers_per_block=1, **SMALL),
}


def shapes(net: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}


def pair(config: PixelUNetConfig, cls: type[PixelUNet] = PixelUNet, **more: Any) -> tuple[PixelUNet, UNet2DModel]:
    torch.manual_seed(0)
    theirs = UNet2DModel(**{**diffusers_config(config), **more}).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    ours = cls(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("config", [CIFAR10, LSUN, MINI], ids=["cifar10", "lsun", "mini"])
def test_a_full_shape_has_the_published_names_and_shapes(config: PixelUNetConfig):
    with torch.device("meta"):
        assert shapes(PixelUNet(config)) == shapes(UNet2DModel(**diffusers_config(config)))


def test_the_configuration_published_with_ddpm_cifar10_is_ours():
    stated = {  # google/ddpm-cifar10-32, config.json
        "attention_head_dim": None,
        "block_out_channels": [128, 256, 256, 256],
        "center_input_sample": False,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "in_channels": 3,
        "layers_per_block": 2,
        "norm_eps": 1e-6,
        "norm_num_groups": 32,
        "out_channels": 3,
        "time_embedding_type": "positional",
        "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    }
    ours = diffusers_config(CIFAR10)
    for name, value in stated.items():
        made = ours.get(name, value)
        assert (list(made) if isinstance(made, tuple) else made) == value, name
    with torch.device("meta"):
        assert sum(p.numel() for p in PixelUNet(CIFAR10).parameters()) == sum(
            p.numel() for p in UNet2DModel(**stated).parameters()
        )


@pytest.mark.parametrize("config", TINY.values(), ids=TINY)
@torch.no_grad()
def test_the_same_weights_give_the_same_output(config: PixelUNetConfig):
    ours, theirs = pair(config)
    x, time = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([3.0, 977.0])
    labels = torch.tensor([4, 1]) if config.classes else None
    pooled = torch.eye(5)[labels] if labels is not None else None
    torch.testing.assert_close(ours(x, time, pooled=pooled), theirs(x, time, labels).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_score_network_gives_the_same_output():
    ours, theirs = pair(TINY["ddpm"], ScoreUNet, time_embedding_type="fourier")
    x, sigma = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0.5, 30.0])
    torch.testing.assert_close(ours(x, sigma), theirs(x, sigma).sample, rtol=1e-5, atol=1e-5)


def test_a_shape_that_diffusers_cannot_hold_is_refused():
    with pytest.raises(InvalidInput, match="width"):
        diffusers_config(replace(CIFAR10, attention_heads=(0, 2, 1, 1)))
