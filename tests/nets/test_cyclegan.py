"""Laws of CycleGAN's networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from danqing.errors import InvalidInput
from danqing.nets.cyclegan import (
    HORSE2ZEBRA,
    MINI,
    PATCH_34,
    PATCH_70,
    CycleGAN,
    CycleGANConfig,
    PatchGAN,
    PatchGANConfig,
)
from danqing.weights.families import cyclegan
from danqing.weights.layouts.keymap import KeyMap

TINY = CycleGANConfig(channels=4, blocks=2)


def picture(size: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def network() -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(TINY)


@torch.no_grad()
def test_a_picture_of_any_size_in_steps_of_four_keeps_it_and_others_are_refused():
    assert network()(picture(20)).shape == (1, 3, 20, 20)
    with pytest.raises(InvalidInput, match="multiples of 4"):
        network()(picture(18))


@torch.no_grad()
def test_a_batch_equals_its_singles():
    for net in (network().double(), PatchGAN(replace(PATCH_34, channels=4)).double()):
        x = picture(24, 3).double()
        torch.testing.assert_close(torch.cat([net(one[None]) for one in x]), net(x))


@torch.no_grad()
def test_the_contrast_and_brightness_of_a_channel_do_not_matter_after_the_first_norm():
    """Up to the reflected borders all is the same, so scaling the picture scales what the norm takes away."""
    net, x = network().double(), picture(16).double()
    torch.testing.assert_close(net(0.5 * x), net(x), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("config", "patch"), [(PATCH_34, 34), (PATCH_70, 70), (PatchGANConfig(halvings=1), 16)])
def test_a_logit_sees_a_patch_of_the_stated_size(config, patch):
    """By the gradient of one logit, without the norms, which see all of the picture."""
    net = PatchGAN(replace(config, channels=2)).double()
    for i, layer in enumerate(net.model):
        if isinstance(layer, nn.InstanceNorm2d):
            net.model[i] = nn.Identity()
        elif isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.weight, 0.1, 1.0)
    x = picture(4 * patch // 8 * 8).double().requires_grad_()
    logits = net(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum((0, 2)).nonzero().flatten()
    assert seen.max() - seen.min() + 1 == patch == config.patch


def test_every_parameter_gets_a_gradient():
    """But the biases that an instance norm takes away."""
    net, other = network(), PatchGAN(replace(PATCH_34, channels=4))
    other(net(picture(32))).square().sum().backward()
    useless = {
        f"{name}.bias" for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    }
    without = [name for name, p in (*net.named_parameters(), *other.named_parameters()) if p.grad is None]
    assert without == []
    assert [name for name, p in net.named_parameters() if name not in useless and not p.grad.abs().sum() > 0] == []


def published(config: CycleGANConfig, second: int = 5) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a generator as pytorch-CycleGAN-and-pix2pix writes them."""
    c, n, found = config.channels, config.blocks, {}

    def convolution(number: str, *shape: int, biased: int) -> None:
        found[f"model.{number}.weight"], found[f"model.{number}.bias"] = shape, (biased,)

    convolution("1", c, 3, 7, 7, biased=c)
    convolution("4", 2 * c, c, 3, 3, biased=2 * c)
    convolution("7", 4 * c, 2 * c, 3, 3, biased=4 * c)
    for i in range(n):
        convolution(f"{10 + i}.conv_block.1", 4 * c, 4 * c, 3, 3, biased=4 * c)
        convolution(f"{10 + i}.conv_block.{second}", 4 * c, 4 * c, 3, 3, biased=4 * c)
    convolution(f"{10 + n}", 4 * c, 2 * c, 3, 3, biased=2 * c)  # transposed: (in, out, ..)
    convolution(f"{13 + n}", 2 * c, c, 3, 3, biased=c)
    convolution(f"{17 + n}", 3, c, 7, 7, biased=3)
    return found


@pytest.mark.parametrize("config", [HORSE2ZEBRA, MINI, TINY])
def test_the_generator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in CycleGAN(config).state_dict().items()}
    assert mine == published(config)
    assert CycleGANConfig(**cyclegan.generator_facts(mine).inferred) == config


def test_statistics_of_old_files_are_dropped_and_a_dropout_layer_moves_no_weight():
    old = dict.fromkeys(published(TINY, second=6))
    old |= {f"model.{n}.{end}": None for n in (2, 5) for end in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(KeyMap((cyclegan.RULES,)).names(old).values()) == set(published(TINY))


@pytest.mark.parametrize("config", [PATCH_70, PATCH_34, PatchGANConfig(channels=8, halvings=4)])
def test_the_discriminator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in PatchGAN(config).state_dict().items()}
    c, expected = config.channels, {}
    widths = [3, *(c * min(2**k, 8) for k in range(config.halvings + 1)), 1]
    for k, (read, out) in enumerate(pairwise(widths)):
        number = 3 * k - 1 if k else 0
        expected |= {f"model.{number}.weight": (out, read, 4, 4), f"model.{number}.bias": (out,)}
    assert mine == expected
    assert PatchGANConfig(**cyclegan.discriminator_facts(mine).inferred) == config


def test_the_published_size_is_that_of_the_paper():
    """11.4 and 2.8 million weights."""
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in net.parameters())
            for net in (CycleGAN(HORSE2ZEBRA), PatchGAN(PATCH_70), CycleGAN(MINI))
        ]
    assert [round(size / 1e6, 1) for size in sizes[:2]] == [11.4, 2.8] and sizes[2] < 3e6
