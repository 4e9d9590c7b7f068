"""A packed block answers with the bytes of its layers one by one, and calls them where one is not as it was left."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from danqing.adapt.base import layers
from danqing.adapt.deltas import Delta, LowRank
from danqing.adapt.lora import Worn
from danqing.nets.blocks import ResnetBlock
from danqing.nets.ports import Context
from danqing.nets.unet import TransformerBlock
from danqing.run.engine import block, packed
from danqing.run.engine.packed import attach
from danqing.run.native import switch
from danqing.run.native.convolution import WAYS
from danqing.run.textcache import Memory, Remembered

BF16, FP32 = torch.bfloat16, torch.float32


def transforming(dtype):
    """Where kernels compute a transformer block."""
    missing = packed.reason() or any(kernel.reason() for kernel in block.KERNELS[dtype])
    return pytest.mark.skipif(bool(missing), reason="a kernel is missing")


def residual(dtype):
    """Where kernels compute a residual block."""
    missing = packed.reason() or WAYS[dtype].kernel.reason() or block.normalise.KERNEL.reason()
    return pytest.mark.skipif(bool(missing), reason="a kernel is missing")


def numbers(*shape, seed=0, dtype=BF16):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def transformer(wide=64, heads=4, dtype=BF16):
    torch.manual_seed(0)
    return TransformerBlock(wide, heads=heads, token_channels=24).to(dtype).eval()


def resnet(channels=32, outputs=64, time=16, dtype=BF16):
    torch.manual_seed(0)
    return ResnetBlock(channels, outputs, groups=8, eps=1e-5, time_channels=time).to(dtype).eval()


def said(batch, seed=3, dtype=BF16):
    return Context(
        time=numbers(batch, 16, seed=seed, dtype=dtype), tokens=numbers(batch, 7, 24, seed=seed + 1, dtype=dtype)
    )


def last(x):
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def case(dtype, make, shape, watched):
    """A block, inputs of it, and a layer of it; in fp32 small pictures are not transformed."""
    mark = transforming(dtype) if make.func is transformer else residual(dtype)
    return pytest.param(
        partial(make, dtype=dtype),
        lambda batch: last(numbers(batch, *shape, dtype=dtype)),
        watched,
        dtype,
        marks=mark,
        id=f"{watched}-{dtype}",
    )


CASES = [
    *(case(dtype, partial(transformer), (21, 64), "attn1") for dtype in (BF16, FP32)),
    *(case(dtype, partial(transformer, 48, 3), (1, 48), "ff") for dtype in (BF16, FP32)),
    case(BF16, partial(resnet), (32, 5, 6), "norm2"),
    case(FP32, partial(resnet), (32, 9, 10), "norm2"),
    *(case(dtype, partial(resnet, 32, 32), (32, 16, 16), "conv1") for dtype in (BF16, FP32)),
    case(BF16, partial(resnet, time=0), (32, 1, 3), "conv2"),
    case(FP32, partial(resnet, time=0), (32, 8, 8), "conv2"),
]


def at_once(net, x):
    """Whether a block does not call its layers for such an input."""
    with torch.inference_mode():
        return (block.convolutions if isinstance(net, ResnetBlock) else block.parts_of)(net, x) is not None


@pytest.mark.parametrize(("make", "given", "watched", "dtype"), CASES)
def test_its_bytes_are_those_of_its_layers_one_by_one_whatever_the_batch(make, given, watched, dtype):
    net, x, ctx = make(), given(3), said(3, dtype=dtype)
    attach(net)
    with torch.inference_mode():
        together = net(x, ctx)
        assert at_once(net, x)
        hook = net.get_submodule(watched).register_forward_hook(lambda *seen: None)
        assert not at_once(net, x) and torch.equal(net(x, ctx), together)
        hook.remove()
        for i in range(3):
            one = Context(time=ctx.time[i : i + 1], tokens=ctx.tokens[i : i + 1])
            assert torch.equal(net(x[i : i + 1], one), together[i : i + 1])


@pytest.mark.parametrize(("make", "given", "watched", "dtype"), CASES)
def test_it_is_as_exact_as_the_plain_one(make, given, watched, dtype):
    net, x, ctx = make(), given(2), said(2, dtype=dtype)
    wide = Context(time=ctx.time.double(), tokens=ctx.tokens.double())
    with torch.inference_mode():
        exact, theirs = copy.deepcopy(net).double()(x.double(), wide), net(x, ctx)
        attach(net)
        ours = net(x, ctx)
        far, own = (float((one.double() - exact).norm()) for one in (ours, theirs))
        most = 3 if dtype == FP32 and isinstance(net, ResnetBlock) else 1.5  # as exact as Winograd's algorithm is
        assert far <= most * own


@pytest.mark.parametrize(("make", "given", "watched", "dtype"), CASES)
def test_a_lora_on_its_layers_counts_and_comes_off(make, given, watched, dtype):
    net, x, ctx = make(), given(2), said(2, dtype=dtype)
    attach(net)
    found = {}
    for i, (name, layer) in enumerate(layers(net).items()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            shape = layer.weight.shape
            up, down = numbers(shape[0], 2, seed=i, dtype=dtype), numbers(2, shape[1:].numel(), seed=i, dtype=dtype)
            found[name] = Delta(LowRank(up, down, scale=0.1))
    with torch.inference_mode():
        before, parts = net(x, ctx), {way: getattr(Worn(found, 0.7), way) for way in ("attach", "merge")}
        answers = []
        for put in parts.values():
            off = put(net)
            answers.append(net(x, ctx))
            off()
            assert torch.equal(net(x, ctx), before) and at_once(net, x)
        one, other = (answer.float() for answer in answers)
        assert (one - before.float()).norm() > 0.1 * before.float().norm()
        assert (one - other).norm() < 0.02 * one.norm()


@pytest.mark.parametrize("dtype", [pytest.param(dtype, marks=transforming(dtype)) for dtype in (BF16, FP32)])
def test_a_branch_a_memory_of_texts_and_a_changed_norm_count(dtype):
    net, x, ctx = transformer(dtype=dtype), numbers(2, 21, 64, dtype=dtype), said(2, dtype=dtype)
    attach(net)

    class Cache:
        memory = Memory()

    with torch.inference_mode():
        plain = net(x, ctx)
        own, net.attn2.to_k = net.attn2.to_k, Remembered(net.attn2.to_k, Cache())
        assert at_once(net, x) and torch.equal(net(x, ctx), plain)
        net.attn2.to_k = own
        net.attn2.branches["one"] = Doubled()
        assert not at_once(net, x) and not torch.equal(net(x, ctx), plain)
        del net.attn2.branches["one"]
        vars(net.attn1)["over"] = lambda x, source: x  # as merged cells do
        assert not at_once(net, x) and not torch.equal(net(x, ctx), plain)
        del vars(net.attn1)["over"]
        net.norm3.weight.mul_(2)
        assert at_once(net, x) and not torch.equal(net(x, ctx), plain)


class Doubled(nn.Module):
    def forward(self, q, ctx):
        return q


@pytest.mark.parametrize(("make", "given", "watched", "dtype"), CASES)
def test_without_kernels_with_gradients_and_in_another_precision_its_layers_are_called(
    make, given, watched, dtype, monkeypatch
):
    net, x = make(), given(2)
    attach(net)
    assert at_once(net, x) and not at_once(net, x.double())
    find = block.convolutions if isinstance(net, ResnetBlock) else block.parts_of
    with torch.enable_grad():
        assert find(net, x) is None
    monkeypatch.setenv(switch.VARIABLE, "on")
    monkeypatch.setattr(switch, "_given", "on")
    switch.turn("off")
    try:
        assert not at_once(net, x)
    finally:
        switch.turn("on")
