"""Packed layers compute what plain ones do, come off without trace, and are layers to all who meet them."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, Difference, LowRank
from danqing.adapt.lora import Worn
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.rrdb import RRDBNet, RRDBNetConfig
from danqing.nets.unet import UNet, UNetConfig
from danqing.run.engine import packed
from danqing.run.engine.packed import KINDS, PackedConv2d, PackedLinear, attach
from danqing.run.native import switch
from danqing.run.processor import cpu
from danqing.run.textcache import cached_text

pytestmark = pytest.mark.skipif(bool(packed.reason()), reason=packed.reason() or "it packs")
#: Where it was measured that a batch changes no byte; elsewhere it is proved before it is relied on.
STEADY = ("avx2", "avx512", "avx512-bf16")
UNET = UNetConfig(
    block_out_channels=(8, 16), layers_per_block=1, transformer_layers=(0, 1), attention_heads=(2, 2),
    cross_attention_dim=16, norm_num_groups=4,
)  # fmt: skip
KL = AutoencoderKLConfig(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4)
WORDS = CLIPTextConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
JOINT = MMDiTConfig(
    num_layers=2, num_attention_heads=2, attention_head_dim=8, joint_attention_dim=16, pooled_projection_dim=8,
    sample_size=8, pos_embed_max_size=8, in_channels=4, out_channels=4,
)  # fmt: skip


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def unet(dtype=torch.float32):
    torch.manual_seed(0)
    return UNet(UNET).to(dtype).eval()


def seen(net, batch=2, seed=1):
    dtype = next(net.parameters()).dtype
    x, tokens = numbers(batch, 4, 8, 12, seed=seed, dtype=dtype), numbers(batch, 7, 16, seed=seed + 1, dtype=dtype)
    with torch.inference_mode():
        return net(x, torch.full((batch,), 500.0), tokens)


def far(ours, theirs):
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def bits(net):
    """All that a network is: its layers' kinds, their numbers and the order of those."""
    kinds = [(name, type(layer), {k for k in vars(layer) if k == "held"}) for name, layer in net.named_modules()]
    return kinds, [(name, number.clone()) for name, number in net.state_dict().items()]


def same(one, other):
    (kinds, numbers), (others, more) = one, other
    return (
        kinds == others
        and [name for name, _ in numbers] == [name for name, _ in more]
        and all(torch.equal(a, b) for (_, a), (_, b) in zip(numbers, more, strict=True))
    )


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4), rows=st.integers(1, 70), inputs=st.integers(1, 70), outputs=st.integers(1, 70),
    dtype=st.sampled_from(packed.DTYPES), bias=st.booleans(), turned=st.booleans(),
)  # fmt: skip
def test_a_linear_layer_multiplies_as_before(batch, rows, inputs, outputs, dtype, bias, turned):
    layer, x = nn.Linear(inputs, outputs, bias=bias).to(dtype), numbers(batch, rows, inputs, dtype=dtype)
    x = x.transpose(0, 1).contiguous().transpose(0, 1) if turned else x
    with torch.inference_mode():
        plain = copy.deepcopy(layer).double()
        exact = plain(x.double())
        for number in plain.parameters():
            number.abs_()
        summed = float(plain(x.double().abs()).norm() / exact.norm())  # which signs may cancel
        theirs, _ = layer(x), attach(layer)
        assert far(layer(x), exact) <= 2 * max(far(theirs, exact), 4 * torch.finfo(dtype).eps * summed)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3), inputs=st.integers(1, 40), outputs=st.integers(1, 40), side=st.integers(3, 12),
    kernel=st.sampled_from([1, 3]), stride=st.sampled_from([1, 2]), dtype=st.sampled_from(packed.DTYPES),
    last=st.booleans(),
)  # fmt: skip
def test_a_convolution_multiplies_as_before(batch, inputs, outputs, side, kernel, stride, dtype, last):
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2).to(dtype)
    x = numbers(batch, inputs, side, side + 1, dtype=dtype)
    x = x.to(memory_format=torch.channels_last) if last else x
    with torch.inference_mode():
        exact = copy.deepcopy(layer).double()(x.double())
        theirs, _ = layer(x), attach(layer)
        assert far(layer(x), exact) <= 2 * max(far(theirs, exact), 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", packed.DTYPES)
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 40), (128, 130), (200, 128)])
def test_a_convolution_by_winograds_algorithm_is_as_exact_as_torchs(dtype, inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1).to(dtype)
    x = numbers(2, inputs, 17, 16, dtype=dtype)
    with torch.inference_mode():
        exact = copy.deepcopy(layer).double()(x.double())
        theirs, plain, off = layer(x), layer.weight.clone(), attach(layer)
        ours, alone = layer(x), layer(x[:1])
        assert far(ours, exact) <= 4 * max(far(theirs, exact), torch.finfo(dtype).eps)
        assert cpu().kind not in STEADY or torch.equal(alone, ours[:1])
        assert torch.equal(layer.weight, plain)
        off()
    assert torch.equal(layer.weight, plain)


CALLS = {
    "unet": (lambda: UNet(UNET), lambda net: net(numbers(2, 4, 8, 12), torch.full((2,), 9.0), numbers(2, 7, 16))),
    "codec": (lambda: AutoencoderKL(KL), lambda net: net.decode(numbers(1, KL.latent_channels, 6, 8))),
    "mmdit": (
        lambda: MMDiT(JOINT),
        lambda net: net(numbers(2, 4, 8, 8), torch.full((2,), 9.0), numbers(2, 7, 16), pooled=numbers(2, 8)),
    ),
    "clip": (lambda: CLIPText(WORDS), lambda net: net(torch.arange(14).reshape(2, 7)).tokens),
    "rrdb": (lambda: RRDBNet(RRDBNetConfig(channels=8, growth=4, blocks=1)), lambda net: net(numbers(1, 3, 9, 7))),
}  # fmt: skip


@pytest.mark.parametrize("dtype", packed.DTYPES)
def test_kernels_are_transformed_for_grids_of_some_size_and_larger_and_never_beyond_their_bytes(dtype, monkeypatch):
    from danqing.run.engine import layers as ways

    monkeypatch.setattr(type(ways.WAYS[dtype].kernel), "reason", lambda kernel: "")
    for channels in (64, 256, 640, 1280, 2560):
        layer = nn.Conv2d(channels, channels, 3, padding=1, device="meta")
        grids = [torch.Size((1, channels, side, side)) for side in (2, 4, 8, 16, 64)]
        for kinds in (ways.transforms, ways.beforehand):
            found = [kinds(layer, dtype, grid) for grid in grids]
            assert found == sorted(found)
        assert not any(found) or ways.panels(layer, dtype) <= ways.PANEL


@pytest.mark.parametrize("name", CALLS)
def test_a_network_of_any_family_computes_as_before_and_comes_back_bit_for_bit(name):
    torch.manual_seed(0)
    make, call = CALLS[name]
    net = make().eval()
    for number in net.parameters():  # some begin as zeros
        nn.init.normal_(number, std=0.2)
    with torch.inference_mode():
        before, plain = bits(net), call(net)
        off = attach(net)
        assert any(type(layer) in KINDS.values() for layer in net.modules())
        assert far(call(net), plain) < 1e-5
        off()
        assert same(before, bits(net)) and torch.equal(call(net), plain)


@pytest.mark.skipif(cpu().kind not in STEADY, reason="not measured on such a processor")
@pytest.mark.parametrize("dtype", packed.DTYPES)
def test_a_picture_has_the_same_bytes_in_a_batch_of_any_size(dtype):
    net = unet(dtype)
    attach(net)
    x, tokens = numbers(5, 4, 8, 12, dtype=dtype), numbers(5, 7, 16, seed=1, dtype=dtype)
    with torch.inference_mode():
        whole = net(x, torch.full((5,), 500.0), tokens)
        for count in (1, 2, 4):
            part = net(x[:count], torch.full((count,), 500.0), tokens[:count])
            assert torch.equal(part, whole[:count])


def lora(net, low=True):
    """A change of every linear layer and convolution."""
    found = {}
    for i, (name, layer) in enumerate(layers(net).items()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            shape = layer.weight.shape
            up, down = numbers(shape[0], 2, seed=i), numbers(2, shape[1:].numel(), seed=i + 1)
            found[name] = Delta(LowRank(up, down, scale=0.1) if low else Difference((up @ down / 10).reshape(shape)))
    return found


@pytest.mark.parametrize("way", ["attach", "merge"])
@pytest.mark.parametrize("low", [True, False])
def test_a_lora_goes_on_before_or_after_and_both_come_off_in_any_order(way, low):
    net = unet()
    before, deltas = bits(net), lora(net, low)
    put = getattr(Worn(deltas, 0.7), way)
    off = put(net)
    wanted = seen(net)
    unpack = attach(net)
    assert far(seen(net), wanted) < 1e-5
    off()
    unpack()
    assert same(before, bits(net))
    unpack = attach(net)
    off = put(net)
    assert far(seen(net), wanted) < 1e-5
    unpack()
    assert far(seen(net), wanted) < 1e-5
    off()
    assert same(before, bits(net))


def test_what_a_lora_folds_in_is_packed_too():
    net = unet()
    attach(net)
    off = Worn(lora(net)).merge(net)
    assert all(isinstance(layer, PackedLinear) for layer in net.modules() if isinstance(layer, nn.Linear))
    off()


def test_another_batch_packs_nothing_anew_and_another_size_the_convolutions_alone(monkeypatch):
    net, packed_anew = unet(), []
    attach(net)
    seen(net)
    for kind in (PackedLinear, PackedConv2d):
        own = kind.pack
        monkeypatch.setattr(kind, "pack", lambda self, *a, own=own: packed_anew.append(type(self)) or own(self, *a))
    seen(net, batch=1)
    seen(net, batch=3)
    assert not packed_anew
    with torch.inference_mode():
        net(numbers(1, 4, 16, 16), torch.full((1,), 500.0), numbers(1, 9, 16))
    assert set(packed_anew) == {PackedConv2d}


def test_the_weights_as_they_were_are_let_go_and_told_when_asked():
    net = unet()
    whole = net.state_dict()
    attach(net)
    kept = {name for name, _ in net.named_parameters()}
    assert not any(name.endswith(("conv1.weight", "to_q.weight")) for name in kept)
    assert same(([], list(net.state_dict().items())), ([], [(name, whole[name]) for name in net.state_dict()]))
    assert set(net.state_dict()) == set(whole)


def test_gradients_and_another_precision_are_computed_by_torch():
    layer, x = nn.Linear(5, 3), numbers(4, 5).requires_grad_()
    plain = layer(x)
    attach(layer)
    assert torch.equal(layer(x), plain) and torch.autograd.grad(layer(x).sum(), x)[0].shape == x.shape
    with torch.inference_mode():
        assert torch.equal(layer.double()(x.double()), nn.Linear.forward(layer, x.double()))


def test_a_remembered_text_stands_before_a_packed_layer():
    net = unet()
    attach(net)
    with cached_text(net):
        once, again = seen(net), seen(net)
    assert torch.equal(once, again) and torch.equal(once, seen(net))


def test_a_turn_of_the_kernels_counts_for_layers_that_are_packed_already(monkeypatch):
    monkeypatch.setenv(switch.VARIABLE, "on")
    monkeypatch.setattr(switch, "_given", "on")
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1)), numbers(1, 32, 16, 16)
    fresh = copy.deepcopy(net)
    attach(net)
    with torch.inference_mode():
        before = net(x)
        switch.turn("off")
        attach(fresh)
        assert torch.equal(net(x), fresh(x))
        switch.turn("on")
        assert torch.equal(net(x), before)
