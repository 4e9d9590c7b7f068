"""Our MMDiT against diffusers': the same weights give the same answer, and the published shapes are the same."""

from dataclasses import replace

import pytest
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel

from danqing.nets import mmdit
from danqing.nets.mmdit import MMDiT, MMDiTConfig, diffusers_config, spread
from danqing.nets.ports import Residuals

SD3_LIKE = MMDiTConfig(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    num_layers=3,
    num_attention_heads=2,
    attention_head_dim=16,
    joint_attention_dim=24,
    pooled_projection_dim=20,
    pos_embed_max_size=12,
)
SD35_MEDIUM_LIKE = replace(SD3_LIKE, dual_attention_layers=(0, 1), qk_norm=True, pos_embed_max_size=16)
SD35_LARGE_LIKE = replace(SD3_LIKE, num_layers=2, num_attention_heads=3, qk_norm=True)
ODD = replace(SD3_LIKE, patch_size=1, out_channels=5, num_layers=1, dual_attention_layers=(0,))
TINY = {"sd3": SD3_LIKE, "3.5 medium": SD35_MEDIUM_LIKE, "3.5 large": SD35_LARGE_LIKE, "odd": ODD}


def shake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random weights in every place, so that no term can be forgotten unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.15 * torch.randn(p.shape, generator=generator))
    return net.eval()


def pair(config: MMDiTConfig) -> tuple[MMDiT, SD3Transformer2DModel]:
    torch.manual_seed(0)
    theirs = shake(SD3Transformer2DModel(**diffusers_config(config)))
    ours = MMDiT(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours.eval(), theirs


def inputs(config: MMDiTConfig, height: int = 8, width: int = 8, batch: int = 2):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return (
        normal(batch, config.in_channels, height, width),
        torch.tensor([1000.0, 3.7])[:batch],
        normal(batch, 7, config.joint_attention_dim),
        normal(batch, config.pooled_projection_dim),
    )


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.1  # an answer worth comparing
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (12, 4), (2, 2)])
@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_the_network_equals_the_published_one(name, size):
    config = TINY[name]
    ours, theirs = pair(config)
    x, time, tokens, pooled = inputs(config, *size)
    expected = theirs(x, tokens, pooled, time, return_dict=False)[0]
    close(ours(x, time, tokens, pooled=pooled), expected)


@pytest.mark.parametrize("config", [SD3_LIKE, replace(SD3_LIKE, num_layers=6)])
@pytest.mark.parametrize("blocks", [1, 2, 3])
@torch.no_grad()
def test_controls_enter_where_the_published_ones_do(config, blocks):
    ours, theirs = pair(config)
    x, time, tokens, pooled = inputs(config)
    generator = torch.Generator().manual_seed(2)
    controls = [torch.randn(2, 16, config.width, generator=generator) for _ in range(blocks)]
    expected = theirs(x, tokens, pooled, time, block_controlnet_hidden_states=controls, return_dict=False)[0]
    close(ours(x, time, tokens, pooled=pooled, residuals=Residuals(down=spread(controls, config))), expected)


@torch.no_grad()
def test_a_published_controlnet_steers_both_alike():
    ours, theirs = pair(SD3_LIKE)
    arguments = diffusers_config(replace(SD3_LIKE, num_layers=2))
    control = shake(SD3ControlNetModel(**{k: v for k, v in arguments.items() if v is not None}), seed=3)
    x, time, tokens, pooled = inputs(SD3_LIKE)
    hint = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    controls = control(x, hint, 0.7, tokens, pooled, time, return_dict=False)[0]
    expected = theirs(x, tokens, pooled, time, block_controlnet_hidden_states=controls, return_dict=False)[0]
    close(ours(x, time, tokens, pooled=pooled, residuals=Residuals(down=spread(controls, SD3_LIKE))), expected)


@pytest.mark.parametrize("name", TINY)
def test_the_position_table_is_the_published_one(name):
    config = TINY[name]
    theirs = SD3Transformer2DModel(**diffusers_config(config)).pos_embed.pos_embed
    torch.testing.assert_close(MMDiT(config).pos_embed.pos_embed, theirs, rtol=0, atol=1e-6)


#: Billions of numbers in the published files, as their cards round them (the position table counts).
PUBLISHED = {"SD3_MEDIUM": 2.1, "SD35_MEDIUM": 2.5, "SD35_LARGE": 8.1}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_the_published_ones(name):
    config = getattr(mmdit, name)
    with torch.device("meta"):
        ours, theirs = MMDiT(config), SD3Transformer2DModel(**diffusers_config(config))
    shapes = [{k: tuple(v.shape) for k, v in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert round(sum(v.numel() for v in ours.state_dict().values()) / 1e9, 1) == PUBLISHED[name]
