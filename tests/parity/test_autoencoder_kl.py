"""AutoencoderKL against diffusers': the published shapes by key, tiny ones by output."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import diffusers
import pytest
import torch
import torch.nn.functional as F

from danqing.nets.autoencoder_kl import MINI, SD1, SD3, SDXL, AutoencoderKL, AutoencoderKLConfig, diffusers_config

PUBLISHED = {"sd1": SD1, "sdxl": SDXL, "sd3": SD3, "mini": MINI}
TINY = {
    "sd1": replace(SD1, block_out_channels=(8, 16, 24), norm_num_groups=4, layers_per_block=1),
    "sd3": replace(SD3, block_out_channels=(8, 16), norm_num_groups=8),
    "mini": replace(MINI, block_out_channels=(8, 16), norm_num_groups=8, patch=2),
}


@pytest.mark.parametrize("config", PUBLISHED.values(), ids=PUBLISHED)
def test_a_full_shape_has_the_published_names_and_shapes(config: AutoencoderKLConfig) -> None:
    with torch.device("meta"):
        ours, theirs = AutoencoderKL(config), diffusers.AutoencoderKL(**diffusers_config(config))
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def shake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights in every place, norms and biases too, so that no term can be forgotten or exchanged unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return net.eval()


@pytest.mark.parametrize("config", TINY.values(), ids=TINY)
@torch.no_grad()
def test_the_same_weights_give_the_same_posterior_and_picture(config: AutoencoderKLConfig) -> None:
    """With a patch, diffusers' model stands between the two pixel shuffles."""
    torch.manual_seed(0)
    theirs = cast(diffusers.AutoencoderKL, shake(diffusers.AutoencoderKL(**diffusers_config(config))))
    ours = AutoencoderKL(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(2, 3, 4 * config.factor, 3 * config.factor)
    got, want = ours.encode(image), theirs.encode(F.pixel_unshuffle(image, config.patch)).latent_dist
    torch.testing.assert_close(got.mean, want.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(got.logvar, want.logvar, rtol=0, atol=1e-5)
    torch.testing.assert_close(got.kl(), want.kl())
    picture = F.pixel_shuffle(theirs.decode(want.mean).sample, config.patch)
    torch.testing.assert_close(ours.decode(want.mean), picture, rtol=0, atol=1e-5)
