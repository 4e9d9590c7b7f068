"""Weights in few bits are near what they were, and the layers are layers to all who meet them."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from danqing.adapt.base import layers as adaptable
from danqing.adapt.deltas import Delta, LowRank
from danqing.adapt.lora import Worn
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.run.engine.engines import ENGINES
from danqing.run.quantise import layers
from danqing.run.quantise.layers import Quantised, attach
from danqing.run.quantise.quantisers import QUANTISERS
from danqing.weights.bits import Groups, Panels, Rows

UNET = UNetConfig(
    block_out_channels=(32, 64), layers_per_block=1, transformer_layers=(0, 1), attention_heads=(2, 2),
    cross_attention_dim=32, norm_num_groups=4,
)  # fmt: skip
WORDS = CLIPTextConfig(vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
NAMES = [name for name in QUANTISERS if name != "none"]
#: How far a call of a network of random weights is from that of dense ones, at most, in parts of its norm.
NEAR = {"int8": 0.03, "int8-weights": 0.01, "int4": 0.2}


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def unet(dtype=torch.float32):
    torch.manual_seed(0)
    return UNet(UNET).to(dtype).eval().requires_grad_(False)


@torch.inference_mode()
def seen(net, batch=2):
    return net(numbers(batch, 4, 8, 12), torch.full((batch,), 500.0), numbers(batch, 7, 32, seed=1))


def far(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def quantised(net):
    return {name for name, layer in net.named_modules() if isinstance(layer, Quantised)}


def kinds(net):
    return [(name, type(layer), sorted(vars(layer))) for name, layer in net.named_modules()]


shapes = given(
    outputs=st.integers(1, 70), inputs=st.integers(1, 70), side=st.sampled_from([0, 1, 3]),
    spread=st.floats(1e-3, 1e3), middle=st.floats(-3, 3), seed=st.integers(0, 99),
)  # fmt: skip


def weight_of(outputs, inputs, side, spread, middle, seed):
    return (numbers(outputs, inputs, *[side] * (2 if side else 0), seed=seed) + middle) * spread


@settings(max_examples=40, deadline=None)
@shapes
def test_no_weight_of_8_bits_is_further_than_half_a_scale(**given):
    weight = weight_of(**given)
    rows, panels = Rows.of(weight), Panels.of(weight)
    half = rows.scale.reshape(-1, *[1] * (weight.dim() - 1)) / 2
    assert ((rows.dense(torch.float32) - weight).abs() <= half * (1 + 1e-4)).all()
    assert torch.equal(rows.dense(torch.float32), panels.dense(torch.float32))


@settings(max_examples=40, deadline=None)
@shapes
def test_no_weight_of_4_bits_is_further_than_half_a_step(**given):
    weight = weight_of(**given)
    groups = Groups.of(weight)
    half = groups.step.float().repeat_interleave(32, 1)[:, : weight[0].numel()].reshape(weight.shape) / 2
    assert ((groups.dense(torch.float32) - weight).abs() <= half * (1 + 1e-3) + 1e-7).all()
    assert groups.size <= (weight[0].numel() + 31) // 32 * 20 * len(weight)


@settings(max_examples=20, deadline=None)
@shapes
def test_what_8_bits_stand_for_has_the_same_bits(**given):
    once = Rows.of(weight_of(**given))
    again = Rows.of(once.dense(torch.float32))
    assert torch.equal(once.values, again.values) and torch.allclose(once.scale, again.scale, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_near_and_smaller_and_comes_off_without_trace(name):
    net = unet()
    before, plain, whole = kinds(net), seen(net), {name: number.clone() for name, number in net.state_dict().items()}
    off = QUANTISERS[name].attach("denoiser", net)
    assert quantised(net)
    assert 0 < far(seen(net), plain) < NEAR[name]
    kept = {name: number.clone() for name, number in net.state_dict().items()}
    assert list(kept) == list(whole)
    off()
    assert kinds(net) == before
    assert all(torch.equal(number, kept[name]) for name, number in net.state_dict().items())


def test_what_a_picture_is_sensitive_to_is_kept():
    net = unet()
    attach(net, layers.BYTES)
    kept = {name for name, layer in net.named_modules() if type(layer) in (nn.Linear, nn.Conv2d)}
    assert {"conv_in", "conv_out", "time_embedding.linear_1"} <= kept
    assert all("time" in name or "conv_" in name for name in kept)


@pytest.mark.parametrize("name", NAMES)
def test_text_is_kept_in_8_bits_and_all_else_as_it_is(name):
    torch.manual_seed(0)
    net = CLIPText(WORDS).eval()
    QUANTISERS[name].attach("codec", net)
    assert not quantised(net)
    QUANTISERS[name].attach("text_2", net)
    assert {type(layer.stored) for layer in net.modules() if isinstance(layer, Quantised)} == {Rows}


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_come_later_are_kept_as_those_that_were_there(name):
    net = unet()
    with torch.device("meta"):
        empty = UNet(UNET)
    empty.eval().requires_grad_(False)
    QUANTISERS[name].attach("denoiser", empty)
    empty.load_state_dict(net.state_dict(), assign=True)
    QUANTISERS[name].attach("denoiser", net)
    assert quantised(empty) == quantised(net)
    assert torch.equal(seen(empty), seen(net))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ["torch", "packed"])
def test_an_engine_goes_on_after_and_comes_off(name, engine):
    if ENGINES[engine].reason(torch.device("cpu")):
        pytest.skip("it cannot pack here")
    net = unet()
    QUANTISERS[name].attach("denoiser", net)
    before, plain = kinds(net), seen(net)
    off = ENGINES[engine].attach(net)
    assert far(seen(net), plain) < (0.02 if name == "int8" else 1e-3)
    off()
    assert kinds(net) == before and torch.equal(seen(net), plain)


@pytest.mark.parametrize("name", ["int8", "int8-weights"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_has_the_same_bytes_in_a_batch_of_any_size(name, dtype):
    """Of the quantised layers alone: what stands between them is the engine's to keep."""
    net = unet(dtype)
    QUANTISERS[name].attach("denoiser", net)
    with torch.inference_mode():
        for layer in (layer for layer in net.modules() if isinstance(layer, Quantised)):
            size = (5, layer.in_channels, 6, 7) if isinstance(layer, nn.Conv2d) else (5, 6, layer.in_features)
            x = numbers(*size, dtype=dtype)
            whole = layer(x)
            assert all(torch.equal(layer(x[:count]), whole[:count]) for count in (1, 2, 4))


@pytest.mark.parametrize("way", ["attach", "merge"])
@pytest.mark.parametrize("name", NAMES)
def test_a_lora_goes_on_before_or_after_and_comes_off(name, way):
    net = unet()
    deltas = {
        layer: Delta(LowRank(numbers(len(found.weight), 2, seed=i), numbers(2, found.weight[0].numel()), scale=0.05))
        for i, (layer, found) in enumerate(adaptable(net).items())
        if isinstance(found, nn.Linear | nn.Conv2d)
    }
    plain = seen(net)
    off = getattr(Worn(deltas, 0.7), way)(net)
    wanted = seen(net)
    assert far(wanted, plain) > 0.3
    back = QUANTISERS[name].attach("denoiser", net)
    assert far(seen(net), wanted) < 3 * NEAR[name]
    back()
    off()
    QUANTISERS[name].attach("denoiser", net)
    before, bare = kinds(net), seen(net)
    off = getattr(Worn(deltas, 0.7), way)(net)
    assert far(seen(net), wanted) < 3 * NEAR[name]
    off()
    assert kinds(net) == before and torch.equal(seen(net), bare)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_and_another_type_keep_the_bits(name):
    net = unet()
    QUANTISERS[name].attach("denoiser", net)
    other = copy.deepcopy(net).to(torch.bfloat16)
    first, second = ({n: m for n, m in each.named_modules() if isinstance(m, Quantised)} for each in (net, other))
    assert first.keys() == second.keys()
    for layer in first:
        assert second[layer].weight.dtype == torch.bfloat16 and first[layer].weight.dtype == torch.float32
        assert torch.equal(first[layer].weight.bfloat16(), second[layer].weight)


def test_gradients_go_through_to_what_comes():
    net = unet()
    attach(net, layers.BYTES)
    layer = next(layer for layer in net.modules() if isinstance(layer, layers.BytesLinear))
    x = numbers(3, layer.in_features).requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad, layer.weight.sum(0).expand_as(x), atol=1e-4)
