"""Laws of BigGAN's networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import truncnorm
from torch import nn

from danqing.errors import InvalidInput
from danqing.nets.biggan import (
    IMAGENET_128,
    IMAGENET_128_DISCRIMINATOR,
    MINI,
    MINI_DISCRIMINATOR,
    Attention,
    BigGAN,
    BigGANConfig,
    BigGANDiscriminator,
    BigGANDiscriminatorConfig,
    SpectralConv,
    SpectralEmbedding,
    SpectralLinear,
    truncated_normal,
)
from danqing.weights.families.biggan import discriminator_facts, generator_facts

TINY = BigGANConfig(widths=(16, 16, 8), attention=(0,), z_dim=6, shared_dim=5, classes=4)
TINY_DISCRIMINATOR = BigGANDiscriminatorConfig(widths=(8, 16, 16), halvings=2, attention=(0,), classes=4)
LABELS = torch.tensor([0, 1, 3])


def drawn(*shape: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(config: BigGANConfig = TINY) -> BigGAN:
    torch.manual_seed(0)
    return awake(BigGAN(config))


def judge(config: BigGANDiscriminatorConfig = TINY_DISCRIMINATOR) -> BigGANDiscriminator:
    torch.manual_seed(0)
    return awake(BigGANDiscriminator(config))


def awake(net):
    """With attention that shows."""
    for module in net.modules():
        if isinstance(module, Attention):
            nn.init.constant_(module.gamma, 0.5)
    return net


# ---- spectral norm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build", [lambda: SpectralConv(3, 6), lambda: SpectralLinear(9, 6), lambda: SpectralEmbedding(6, 9)]
)
def test_after_a_few_uses_the_largest_singular_value_is_one_and_that_of_the_weight_is_known(build):
    layer = build()
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    for _ in range(300):
        used = layer.normalised()
    torch.testing.assert_close(torch.linalg.matrix_norm(used.flatten(1), 2), torch.tensor(1.0))
    torch.testing.assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2), layer.sv0[0])


def test_its_gradient_is_torchs_own():
    """With the same vector to begin with, and no use of it in training before."""
    mine, theirs = SpectralLinear(5, 4, bias=False), nn.Linear(5, 4, bias=False)
    nn.init.normal_(mine.weight, generator=torch.Generator().manual_seed(0))
    for _ in range(200):
        mine.normalised()
    theirs.weight = nn.Parameter(mine.weight.detach().clone())
    torch.nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=200)
    x, y = drawn(3, 5), drawn(3, 4, seed=2)
    (mine(x) * y).sum().backward()
    (theirs(x) * y).sum().backward()
    torch.testing.assert_close(mine.weight.grad, theirs.parametrizations.weight.original.grad, rtol=1e-4, atol=1e-5)


def test_outside_of_training_it_forgets_its_use():
    layer = SpectralLinear(5, 4).eval()
    before = layer.u0.clone()
    first, second = layer(drawn(2, 5)), layer(drawn(2, 5))
    assert torch.equal(first, second) and torch.equal(layer.u0, before)


# ---- the generator -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_batch_equals_its_singles_outside_of_training():
    net, z = network().eval().double(), drawn(3, 6).double()
    singles = torch.cat([net(z[i : i + 1], LABELS[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(singles, net(z, LABELS))


@torch.no_grad()
def test_the_first_chunk_makes_the_grid_and_the_last_reaches_the_last_block_alone():
    net, z = network().eval(), drawn(1, 6)
    seen = {}
    for i, layers in enumerate(net.blocks):
        layers[0].register_forward_hook(lambda m, inputs, out, i=i: seen.__setitem__(i, (inputs[0], out)))
    net(z, LABELS[:1])
    before = dict(seen)
    for chunk, unchanged in ((2, [True, True, True, False]), (1, [True, False, False, False]), (0, [False] * 4)):
        other = z.clone()
        other[:, 2 * chunk : 2 * chunk + 2] += 1
        net(other, LABELS[:1])
        same = [torch.equal(seen[i][k], before[i][k]) for i in (0, 1) for k in (0, 1)]
        assert same == unchanged


@torch.no_grad()
def test_classes_matter_and_between_their_embeddings_lie_pictures_too():
    net, z = network().eval(), drawn(1, 6).expand(2, 6)
    one, other = net(z, torch.tensor([0, 1]))
    assert (one - other).abs().max() > 1e-3
    both = net.shared(torch.tensor([0, 1]))
    torch.testing.assert_close(net.painted(z, both)[1], other)
    halfway = net.painted(z[:1], both.mean(0, keepdim=True))[0]
    assert min((halfway - one).abs().max(), (halfway - other).abs().max()) > 1e-4


def test_a_class_norm_is_batch_norm_with_the_gain_and_bias_of_the_class():
    block = network().blocks[0][0]
    x, y = drawn(6, 16, 4, 4), drawn(6, 7, seed=1)
    normed = block.bn1.train()(x, y)
    gain, bias = 1 + block.bn1.gain.eval()(y), block.bn1.bias.eval()(y)
    back = (normed - bias[:, :, None, None]) / gain[:, :, None, None]
    torch.testing.assert_close(back, F.batch_norm(x, None, None, training=True), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(block.bn1.stored_mean, 0.1 * x.mean((0, 2, 3)))


# ---- attention, discriminator --------------------------------------------------------------------------------------


@torch.no_grad()
def test_attention_begins_as_the_identity_and_follows_its_equation():
    layer, x = Attention(16).eval(), drawn(2, 16, 6, 6)
    assert torch.equal(layer(x), x)
    nn.init.constant_(layer.gamma, 0.7)
    query, key, value = (
        layer.theta(x).flatten(2),
        F.max_pool2d(layer.phi(x), 2).flatten(2),
        F.max_pool2d(layer.g(x), 2).flatten(2),
    )
    weights = torch.einsum("bci,bcj->bij", query, key).softmax(-1)
    found = torch.einsum("bij,bcj->bci", weights, value).unflatten(2, (6, 6))
    torch.testing.assert_close(layer(x), x + 0.7 * layer.o(found), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_discriminators_classes_differ_by_a_linear_form_of_what_it_sees():
    """D(x, a) - D(x, b) = <e_a - e_b, h>: between two classes' logits lies what the mean of the embeddings says."""
    net, x = judge().eval(), drawn(1, 3, 16, 16)
    logits = net(x.expand(3, -1, -1, -1), LABELS)
    net.embed.weight[2] = (net.embed.weight[0] + net.embed.weight[1]) / 2
    norms = net.embed.weight / net.embed.normalised()
    net.embed.weight.div_(norms)  # so that the norm, which the change moved, is one again
    after = net(x.expand(3, -1, -1, -1), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(after[2], (after[0] + after[1]) / 2)
    assert (logits[0] - logits[1]).abs() > 1e-4


def test_every_parameter_gets_a_gradient():
    net, other = network(), judge()
    other(F.interpolate(net(drawn(3, 6), LABELS), 16), LABELS).square().sum().backward()
    assert [
        name
        for both in (net, other)
        for name, p in both.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


# ---- truncation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_truncated_numbers_are_scipys_distribution(threshold):
    z = truncated_normal((20_000,), threshold, torch.Generator().manual_seed(0)).double()
    assert z.abs().max() <= threshold
    quantiles = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    expected = torch.from_numpy(truncnorm(-threshold, threshold).ppf(quantiles.numpy()))
    torch.testing.assert_close(z.quantile(quantiles), expected, rtol=0, atol=0.03)


def test_a_threshold_that_nothing_passes_is_refused():
    with pytest.raises(InvalidInput, match="above 0"):
        truncated_normal((1,), 0.0, torch.Generator())


# ---- names ---------------------------------------------------------------------------------------------------------


def spectral(name: str, shape: tuple[int, ...], bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.u0": (1, shape[0]), f"{name}.sv0": (1,)} | (
        {f"{name}.bias": shape[:1]} if bias else {}
    )


def attention(name: str, c: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {f"{name}.gamma": ()}
    for layer, out, read in (("theta", c // 8, c), ("phi", c // 8, c), ("g", c // 2, c), ("o", c, c // 2)):
        found |= spectral(f"{name}.{layer}", (out, read, 1, 1), bias=False)
    return found


def published_generator(config: BigGANConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes as BigGAN-PyTorch writes them, with shared embeddings and hierarchical latents."""
    chunk, widths = config.z_dim // len(config.widths), config.widths
    found = {"shared.weight": (config.classes, config.shared_dim)} | spectral("linear", (16 * widths[0], chunk))
    for i in range(len(widths) - 1):
        block, read, out = f"blocks.{i}.0", widths[i], widths[i + 1]
        found |= spectral(f"{block}.conv1", (out, read, 3, 3)) | spectral(f"{block}.conv2", (out, out, 3, 3))
        found |= spectral(f"{block}.conv_sc", (out, read, 1, 1))
        for norm, width in (("bn1", read), ("bn2", out)):
            found |= spectral(f"{block}.{norm}.gain", (width, config.shared_dim + chunk), bias=False)
            found |= spectral(f"{block}.{norm}.bias", (width, config.shared_dim + chunk), bias=False)
            found |= {f"{block}.{norm}.stored_mean": (width,), f"{block}.{norm}.stored_var": (width,)}
        if i in config.attention:
            found |= attention(f"blocks.{i}.1", out)
    found |= {f"output_layer.0.{name}": widths[-1:] for name in ("gain", "bias", "stored_mean", "stored_var")}
    return found | spectral("output_layer.2", (3, widths[-1], 3, 3))


def published_discriminator(config: BigGANDiscriminatorConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes as BigGAN-PyTorch writes them."""
    found: dict[str, tuple[int, ...]] = {}
    widths = (3, *config.widths)
    for i in range(len(config.widths)):
        block, read, out = f"blocks.{i}.0", widths[i], widths[i + 1]
        found |= spectral(f"{block}.conv1", (out, read, 3, 3)) | spectral(f"{block}.conv2", (out, out, 3, 3))
        if i < config.halvings or read != out:
            found |= spectral(f"{block}.conv_sc", (out, read, 1, 1))
        if i in config.attention:
            found |= attention(f"blocks.{i}.1", out)
    found |= spectral("linear", (1, widths[-1]))
    return found | spectral("embed", (config.classes, widths[-1]), bias=False)


@pytest.mark.parametrize("config", [IMAGENET_128, MINI, TINY])
def test_the_generator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in BigGAN(config).state_dict().items()}
    assert mine == published_generator(config)
    assert BigGANConfig(**generator_facts(mine).inferred) == config


@pytest.mark.parametrize("config", [IMAGENET_128_DISCRIMINATOR, MINI_DISCRIMINATOR, TINY_DISCRIMINATOR])
def test_the_discriminator_has_the_published_names_and_shapes_and_these_tell_its_config(config):
    with torch.device("meta"):
        mine = {name: tuple(t.shape) for name, t in BigGANDiscriminator(config).state_dict().items()}
    assert mine == published_discriminator(config)
    facts = discriminator_facts(mine)
    assert BigGANDiscriminatorConfig(**{**facts.assumed, **facts.inferred}) == config


def test_the_published_size_is_that_of_128_px_and_the_small_ones_fit():
    """The generator of 128 px has 70.4 million weights."""
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in BigGAN(config).parameters()) for config in (IMAGENET_128, MINI)]
    assert IMAGENET_128.resolution == 128 and MINI.resolution == 32
    assert round(sizes[0] / 1e6, 1) == 70.4 and sizes[1] < 3e6


def test_a_latent_that_does_not_divide_is_refused():
    with pytest.raises(InvalidInput, match="multiple of 3"):
        BigGAN(replace(TINY, z_dim=7))
