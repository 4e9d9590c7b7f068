"""Perturbed self-attentions against diffusers' processors, on tiny networks of the same weights."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import PAGIdentitySelfAttnProcessor2_0, PAGJointAttnProcessor2_0
from tests.parity import test_mmdit as mmdit
from tests.parity import test_unet as unet
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.nets.perturbed import MARK, attentions, chosen, perturb
from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig
from danqing.nets.vae import VAE, VAEConfig

MARKED = {MARK: torch.ones(2, 1)}


def doubled(x: Tensor) -> Tensor:
    """What diffusers' processors read: the rows, and those to perturb."""
    return torch.cat([x, x])


@pytest.mark.parametrize("layers", [(), ("down_blocks.1", "mid_block"), ("up_blocks.1.attentions.0",)])
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
@torch.no_grad()
def test_a_unet_is_perturbed_as_diffusers_perturbs_it(name: str, layers: tuple[str, ...]) -> None:
    config = unet.TINY[name]
    ours, theirs = unet.pair(config)
    args, our_words, their_words = unet.call(config, (16, 16))
    plain = ours(*args, **our_words)
    processors = dict(theirs.attn_processors)
    for place in chosen(ours, layers):
        processors[f"{place}.processor"] = PAGIdentitySelfAttnProcessor2_0()
    theirs.set_attn_processor(processors)
    added = {k: {name: doubled(one) for name, one in v.items()} for k, v in their_words.items()}
    want_plain, want = theirs(*map(doubled, args), **added).sample.chunk(2)
    off = perturb(ours, layers)
    torch.testing.assert_close(ours(*args, **our_words, extra=MARKED), want, rtol=0, atol=1e-5)
    assert torch.equal(ours(*args, **our_words), plain) and not torch.allclose(want, want_plain, atol=1e-3)
    off()
    assert torch.equal(ours(*args, **our_words, extra=MARKED), plain)


@pytest.mark.parametrize("name", ["sd3", "3.5 large"])
@torch.no_grad()
def test_of_joint_attention_cells_see_themselves_and_the_text(name: str) -> None:
    config = mmdit.TINY[name]
    ours, theirs = mmdit.pair(config)
    x, time, tokens, pooled = mmdit.inputs(config, 6, 10)
    layer = chosen(ours)
    assert len(layer) == 1
    processors = {
        name: PAGJointAttnProcessor2_0() if name == f"{next(iter(layer))}.processor" else one
        for name, one in theirs.attn_processors.items()
    }
    if not config.qk_norm:  # diffusers' processor leaves the norms of queries and keys out
        theirs.set_attn_processor(processors)
        want = theirs(*map(doubled, (x, tokens, pooled, time)), return_dict=False)[0].chunk(2)[1]
        perturb(ours)
        mmdit.close(ours(x, time, tokens, pooled=pooled, extra=MARKED), want)
        return
    one = next(iter(layer.values()))
    image, text = torch.randn(1, 1, config.width), torch.randn(1, 4, config.width)
    plain, apart = one(image, text, None), one.apart(image, text, None)
    torch.testing.assert_close(apart, plain)  # of one cell nothing is taken away


@torch.no_grad()
def test_of_one_cell_nothing_is_perturbed() -> None:
    torch.manual_seed(0)
    net = PixelUNet(PixelUNetConfig(block_out_channels=(32,), attention_heads=(2,), layers_per_block=1)).eval()
    for p in net.parameters():
        p.add_(0.1 * torch.randn(p.shape))
    x, time = torch.randn(2, 3, 1, 1), torch.tensor([3.0, 500.0])
    perturb(net, ("down_blocks.0", "mid_block", "up_blocks.0"))
    torch.testing.assert_close(net(x, time, extra=MARKED), net(x, time))
    x = torch.randn(2, 3, 4, 4)
    assert not torch.allclose(net(x, time, extra=MARKED), net(x, time), atol=1e-3)


def test_attentions_to_the_text_are_none_of_a_picture_to_itself() -> None:
    ours, _ = unet.pair(unet.TINY["sd1"])
    assert attentions(ours) and all(name.endswith("attn1") for name in attentions(ours))


def test_a_layer_that_is_not_there_is_refused_with_those_that_are() -> None:
    ours, _ = unet.pair(unet.TINY["sd1"])
    with pytest.raises(InvalidInput, match="mid_block"):
        chosen(ours, ("middle",))
    with pytest.raises(InvalidInput, match="no attention"):
        chosen(VAE(VAEConfig(image_size=16, latent_dim=6, widths=(4, 8), norm_num_groups=2)))
