"""Laws of StyleGAN2's networks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from danqing.errors import InvalidInput
from danqing.nets import stylegan2
from danqing.nets.stylegan2 import (
    FFHQ,
    FFHQ_DISCRIMINATOR,
    MINI,
    Linear,
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    deviation,
    mixed,
    modulated,
)
from danqing.weights.families.stylegan2 import discriminator_facts, generator_facts

TINY = StyleGAN2Config(resolution=16, z_dim=6, w_dim=8, mapping_layers=2, channel_base=128, channel_max=12)
TINY_DISCRIMINATOR = StyleGAN2DiscriminatorConfig(resolution=16, mapping_layers=2, channel_base=128, channel_max=12)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(config: StyleGAN2Config = TINY) -> StyleGAN2:
    """With noise of a strength that shows."""
    torch.manual_seed(0)
    net = StyleGAN2(config).eval()
    for name, p in net.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.3)
    return net


def judge(config: StyleGAN2DiscriminatorConfig = TINY_DISCRIMINATOR) -> StyleGAN2Discriminator:
    torch.manual_seed(1)
    return StyleGAN2Discriminator(config)


# ---- modulation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("up", [False, True])
def test_scaling_around_the_convolution_is_one_convolution_a_picture_with_its_own_weights(up):
    """The grouped form of the paper, section 2.2."""
    x, weight, style = drawn(3, 4, 5, 5).double(), drawn(6, 4, 3, 3, seed=1).double(), drawn(3, 4, seed=2).double()
    scaled = weight * style[:, None, :, None, None]  # (B, out, in, 3, 3)
    scaled = scaled / (scaled.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if up:
        theirs = torch.cat([F.conv_transpose2d(x[i : i + 1], scaled[i].transpose(0, 1), stride=2) for i in range(3)])
    else:
        theirs = F.conv2d(x.reshape(1, 12, 5, 5), scaled.reshape(18, 4, 3, 3), padding=1, groups=3).reshape(3, 6, 5, 5)
    torch.testing.assert_close(modulated(x, weight, style, up=up), theirs, rtol=1e-5, atol=1e-5)


def test_white_noise_of_variance_one_stays_so_whatever_the_style():
    style = 5 * drawn(4, 16, seed=1)
    y = modulated(drawn(4, 16, 64, 64), drawn(8, 16, 3, 3, seed=2), style)[..., 1:-1, 1:-1]
    torch.testing.assert_close(y.var((2, 3)), torch.ones(4, 8), rtol=0.15, atol=0)
    torch.testing.assert_close(y.var(), torch.tensor(1.0), rtol=0.03, atol=0)


def test_demodulation_forgets_the_scale_of_the_style():
    x, weight, style = drawn(2, 4, 5, 5), drawn(6, 4, 3, 3, seed=1), drawn(2, 4, seed=2)
    torch.testing.assert_close(modulated(x, weight, 7 * style), modulated(x, weight, style))


def test_the_activation_keeps_the_power_of_white_noise_nearly():
    """E leaky(x)^2 = 2 (1 + 0.2^2) / 2."""
    torch.testing.assert_close(stylegan2.leaky(drawn(100_000)).square().mean(), torch.tensor(1.04), rtol=0.02, atol=0)


def test_the_equalised_layer_begins_with_unit_variance_and_learns_at_its_rate():
    """One step of Adam moves every stored weight equally, and the used weight by rate / sqrt(inputs) of that."""
    torch.manual_seed(0)
    for rate in (1.0, 0.01):
        layer, x = Linear(256, 256, rate=rate).double(), drawn(64, 256, seed=9).double()
        torch.testing.assert_close(layer(x).var(), torch.tensor(1.0).double(), rtol=0.05, atol=0)
        before = F.linear(x[:1], layer.weight) * rate / 16
        optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3, betas=(0.0, 0.99))
        layer(x[:1]).sum().backward()
        optimiser.step()
        moved = (F.linear(x[:1], layer.weight) * rate / 16 - before)[0, 0]
        torch.testing.assert_close(moved, -x[0].abs().sum() * 1e-3 * rate / 16, rtol=1e-4, atol=0)


# ---- the generator -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_batch_equals_its_singles():
    net, z = network().double(), drawn(3, 6).double()
    torch.testing.assert_close(torch.cat([net(one[None]) for one in z]), net(z))


@torch.no_grad()
def test_a_latents_length_does_not_matter():
    net, z = network(), drawn(2, 6)
    torch.testing.assert_close(net(9 * z), net(z), rtol=1e-4, atol=1e-4)


def test_the_style_of_a_layer_reaches_its_own_resolution_and_the_finer_ones_alone():
    """By what each block says of the colours."""
    net = network()
    ws = net.styles(drawn(1, 6)).detach().requires_grad_()
    said = {}
    for r in TINY.resolutions:
        net.get_submodule(f"synthesis.b{r}.torgb").register_forward_hook(lambda m, i, out, r=r: said.update({r: out}))
    net.synthesis(ws)
    heard = {
        r: torch.autograd.grad(said[r].sum(), ws, retain_graph=True)[0][0].abs().sum(1).nonzero().flatten().tolist()
        for r in said
    }
    assert heard == {4: [0, 1], 8: [0, 1, 2, 3], 16: [0, 1, 2, 3, 4, 5]}


@torch.no_grad()
def test_mixing_takes_coarse_layers_from_the_one_and_fine_ones_from_the_other():
    net = network()
    a, b = net.styles(drawn(1, 6)), net.styles(drawn(1, 6, seed=1))
    assert torch.equal(mixed(a, b, TINY.layers), a) and torch.equal(mixed(a, b, 0), b)
    both = mixed(a, b, 3)
    assert torch.equal(both[:, :3], a[:, :3]) and torch.equal(both[:, 3:], b[:, 3:])


@torch.no_grad()
def test_truncation_is_a_line_from_the_mean_to_the_style():
    net = network().train()
    for i in range(50):
        net.styles(drawn(64, 6, seed=i))
    net.eval()
    z, mean = drawn(2, 6), net.mapping.w_avg
    assert torch.equal(net.styles(z, psi=0.0), mean.expand(2, TINY.layers, -1))
    torch.testing.assert_close(net.styles(z, psi=0.3), 0.3 * net.styles(z) + 0.7 * mean)
    torch.testing.assert_close(net.styles(z, psi=0.3, cutoff=2)[:, 2:], net.styles(z)[:, 2:])


@torch.no_grad()
def test_the_mean_style_follows_the_styles_in_training_and_rests_otherwise():
    """After n equal batches it has come nearer by 0.995^n."""
    net, z = network().train(), drawn(16, 6)
    for _ in range(100):
        w = net.mapping(z)
    torch.testing.assert_close(net.mapping.w_avg, w.mean(0) * (1 - 0.995**100), rtol=1e-4, atol=1e-6)
    before = net.mapping.w_avg.clone()
    net.eval().mapping(z)
    assert torch.equal(net.mapping.w_avg, before)


@torch.no_grad()
def test_noise_changes_the_picture_as_much_as_its_strength_and_the_constant_noise_is_the_default():
    net, z = network(), drawn(1, 6)
    constants = [m.noise_const[None, None] for m in net.modules() if isinstance(m, stylegan2.SynthesisLayer)]
    by_layer = {0: constants[0], 1: constants[1], 2: constants[2], 3: constants[3], 4: constants[4]}
    torch.testing.assert_close(net(z, noise=lambda like, k: by_layer[k]), net(z))
    assert not torch.allclose(net(z, noise=lambda like, k: torch.zeros_like(like)), net(z))
    for layer in net.modules():
        if isinstance(layer, stylegan2.SynthesisLayer):
            layer.noise_strength.zero_()
    torch.testing.assert_close(net(z, noise=lambda like, k: 1e3 + like), net(z))


@torch.no_grad()
def test_labels_matter_and_must_be_there():
    net, labels = network(replace(TINY, classes=3)), torch.eye(3)
    pictures = net(drawn(1, 6).expand(3, 6), labels)
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3
    with pytest.raises(InvalidInput, match="3 numbers"):
        net(drawn(1, 6))


# ---- the discriminator ---------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_deviation_is_that_of_groups_whatever_the_size_of_the_batch():
    x = drawn(6, 3, 4, 4)
    for size, group in ((6, 3), (4, 4), (5, 1), (2, 2)):
        rows = x[:size].reshape(group, size // group, 3, 4, 4)
        theirs = (rows.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        torch.testing.assert_close(deviation(x[:size], 4)[:, 0, 0, 0], theirs.repeat(group))


@torch.no_grad()
def test_equal_pictures_have_no_deviation_and_a_group_of_four_tells_them_from_different_ones():
    same, net = drawn(1, 3, 16, 16).expand(4, -1, -1, -1), judge()
    assert deviation(same, 4).max() <= 1.001e-4
    torch.testing.assert_close(net(same), net(same[:1]).expand(4, 1))
    assert not torch.allclose(net(torch.cat([same[:1], drawn(3, 3, 16, 16, seed=2)]))[:1], net(same[:1]))


@torch.no_grad()
def test_a_discriminator_with_labels_compares_with_the_label():
    """The answer is linear in the vector of the label, which has the length of the last layer."""
    net, x = judge(replace(TINY_DISCRIMINATOR, classes=3)), drawn(3, 3, 16, 16)
    for name in ("weight", "bias"):
        getattr(net.b4.out, name).mul_(2)
    doubled = net(x, torch.eye(3))
    for name in ("weight", "bias"):
        getattr(net.b4.out, name).div_(2)
    torch.testing.assert_close(doubled, 2 * net(x, torch.eye(3)))


# ---- shapes and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [0, 3])
def test_every_parameter_gets_a_gradient(classes):
    net, other = network(replace(TINY, classes=classes)), judge(replace(TINY_DISCRIMINATOR, classes=classes))
    labels = torch.eye(3)[torch.tensor([0, 1, 2, 0])] if classes else None
    other(net(drawn(4, 6), labels), labels).square().sum().backward()
    assert [
        name
        for both in (net, other)
        for name, p in both.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


def published_generator(config: StyleGAN2Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes as stylegan2-ada-pytorch writes them."""
    w, found = config.w_dim, {"mapping.w_avg": (config.w_dim,)}
    read = config.z_dim + (w if config.classes else 0)
    if config.classes:
        found |= {"mapping.embed.weight": (w, config.classes), "mapping.embed.bias": (w,)}
    for k in range(config.mapping_layers):
        found |= {f"mapping.fc{k}.weight": (w, w if k else read), f"mapping.fc{k}.bias": (w,)}
    resolution, before = 4, 0
    while resolution <= config.resolution:
        channels = min(config.channel_base // resolution, config.channel_max)
        block = f"synthesis.b{resolution}"
        found[f"{block}.resample_filter"] = (4, 4)
        if resolution == 4:
            found[f"{block}.const"] = (channels, 4, 4)
        for layer, read in (("conv0", before), ("conv1", channels)):
            if read:
                found |= {
                    f"{block}.{layer}.weight": (channels, read, 3, 3),
                    f"{block}.{layer}.bias": (channels,),
                    f"{block}.{layer}.noise_strength": (),
                    f"{block}.{layer}.noise_const": (resolution, resolution),
                    f"{block}.{layer}.resample_filter": (4, 4),
                    f"{block}.{layer}.affine.weight": (read, w),
                    f"{block}.{layer}.affine.bias": (read,),
                }
        found |= {
            f"{block}.torgb.weight": (3, channels, 1, 1),
            f"{block}.torgb.bias": (3,),
            f"{block}.torgb.affine.weight": (channels, w),
            f"{block}.torgb.affine.bias": (channels,),
        }
        resolution, before = 2 * resolution, channels
    return found


def published_discriminator(config: StyleGAN2DiscriminatorConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes as stylegan2-ada-pytorch writes them."""
    found: dict[str, tuple[int, ...]] = {}
    resolution = config.resolution

    def convolution(name: str, channels: int, out: int, kernel: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = (out, channels, kernel, kernel)
        found[f"{name}.resample_filter"] = (4, 4)
        if bias:
            found[f"{name}.bias"] = (out,)

    def width(resolution: int) -> int:
        return min(config.channel_base // resolution, config.channel_max)

    while resolution > 4:
        block, channels, out = f"b{resolution}", width(resolution), width(resolution // 2)
        found[f"{block}.resample_filter"] = (4, 4)
        if resolution == config.resolution:
            convolution(f"{block}.fromrgb", 3, channels, 1)
        convolution(f"{block}.conv0", channels, channels, 3)
        convolution(f"{block}.conv1", channels, out, 3)
        convolution(f"{block}.skip", channels, out, 1, bias=False)
        resolution //= 2
    last = width(4)
    convolution("b4.conv", last + 1, last, 3)
    said = last if config.classes else 1
    found |= {
        "b4.fc.weight": (last, 16 * last),
        "b4.fc.bias": (last,),
        "b4.out.weight": (said, last),
        "b4.out.bias": (said,),
    }
    if config.classes:
        found |= {"mapping.embed.weight": (last, config.classes), "mapping.embed.bias": (last,)}
        for k in range(config.mapping_layers):
            found |= {f"mapping.fc{k}.weight": (last, last), f"mapping.fc{k}.bias": (last,)}
    return found


GENERATORS = [
    FFHQ,
    replace(FFHQ, resolution=256, channel_base=16384),
    replace(FFHQ, resolution=32, classes=10),
    MINI,
    TINY,
]
DISCRIMINATORS = [FFHQ_DISCRIMINATOR, replace(FFHQ_DISCRIMINATOR, resolution=32, classes=10), TINY_DISCRIMINATOR]


@pytest.mark.parametrize("config", GENERATORS)
def test_the_generator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in StyleGAN2(config).state_dict().items()}
    assert mine == published_generator(config)
    facts = generator_facts(mine)
    assert StyleGAN2Config(**{**facts.assumed, **facts.inferred}) == config


@pytest.mark.parametrize("config", DISCRIMINATORS)
def test_the_discriminator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in StyleGAN2Discriminator(config).state_dict().items()}
    assert mine == published_discriminator(config)
    facts = discriminator_facts(mine)
    stated = (
        {} if config.classes else {"mapping_layers": config.mapping_layers}
    )  # of layers that are not there nothing tells
    assert StyleGAN2DiscriminatorConfig(**{**facts.assumed, **facts.inferred, **stated}) == config


def test_the_published_sizes_are_those_of_the_paper_and_the_small_one_fits():
    """30.4 and 29.0 million weights at 1024 px."""
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in net.parameters())
            for net in (StyleGAN2(FFHQ), StyleGAN2Discriminator(FFHQ_DISCRIMINATOR))
        ]
        small = sum(t.numel() for t in StyleGAN2(MINI).state_dict().values())
    assert sizes == [30_370_060, 29_012_513] and 2 * small < 6e6


@pytest.mark.parametrize("resolution", [4, 24, 0])
def test_a_resolution_that_no_doubling_reaches_is_refused(resolution):
    with pytest.raises(InvalidInput, match="power of two"):
        StyleGAN2(replace(TINY, resolution=resolution))


def test_a_wrong_number_of_styles_is_refused():
    assert math.log2(TINY.resolution) * 2 - 2 == TINY.layers
    with pytest.raises(InvalidInput, match="has 6"):
        network().synthesis(torch.zeros(1, 5, 8))
