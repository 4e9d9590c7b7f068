"""Laws of the part that UNets share: the way down, the middle, and the skips that they leave."""

import pytest
import torch
from torch import Tensor

from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig
from danqing.nets.ports import Context
from danqing.nets.trunk import Backbone
from danqing.nets.unet import TextTrunk, UNet, UNetConfig

TEXT = UNetConfig(
    block_out_channels=(16, 32, 32),
    layers_per_block=3,
    transformer_layers=(0, 1, 2),
    attention_heads=(2, 2, 4),
    cross_attention_dim=12,
    norm_num_groups=4,
    pooled_channels=6,
)
PIXELS = PixelUNetConfig(block_out_channels=(16, 32), layers_per_block=1, attention_heads=(0, 1), norm_num_groups=4)


def seen(net: TextTrunk | Backbone) -> tuple[Tensor, list[Tensor]]:
    """The middle and the skips of two pictures."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, net.config.in_channels, 16, 16, generator=generator).double()
    tokens, pooled = (torch.randn(2, *shape, generator=generator).double() for shape in ((5, 12), (6,)))
    with torch.no_grad():
        return net.down(x, Context(time=net.embed(x, torch.tensor([3.0, 700.0]), pooled), tokens=tokens))


@pytest.mark.parametrize(("kind", "config"), [(UNet, TEXT), (PixelUNet, PIXELS)])
def test_the_skips_are_those_that_the_configuration_counts(kind, config):
    middle, skips = seen(kind(config).double())
    assert tuple(skip.shape[1] for skip in skips) == config.skip_channels and len(skips) == config.skips
    assert middle.shape[1] == config.block_out_channels[-1]


def test_a_trunk_has_the_names_of_its_network_and_comes_to_the_same_middle_and_skips():
    torch.manual_seed(0)
    net, trunk = UNet(TEXT).double(), TextTrunk(TEXT).double()
    weights = net.state_dict()
    trunk.load_state_dict({name: weights.pop(name) for name in trunk.state_dict()}, strict=True)
    assert {name.partition(".")[0] for name in weights} == {"up_blocks", "conv_norm_out", "conv_out"}
    (middle, skips), (copied, copies) = seen(net), seen(trunk)
    assert torch.equal(middle, copied) and all(map(torch.equal, skips, copies))
