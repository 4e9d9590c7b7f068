"""Laws of what is attached or merged: exact inverses in any order, sums, and one and the same answer either way."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.adapt.base import attached, layers
from danqing.adapt.deltas import Decomposed, Delta, Difference, Hadamard, LowRank, Product, Replacement
from danqing.adapt.lora import LoRA, Worn
from danqing.errors import InvalidInput, UnknownName
from danqing.nets.unet import UNet
from danqing.run.textcache import cached_text

KEY = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
KERNEL = "down_blocks.0.resnets.0.conv1"
STRIDED = "down_blocks.0.downsamplers.0.conv"
NORM = "down_blocks.0.resnets.0.norm1"


def trace(net: nn.Module) -> dict[str, Any]:
    """Every module and tensor by name: the objects themselves, and the bits."""
    return {
        "modules": {name: id(module) for name, module in net.named_modules()},
        "tensors": {name: id(p) for name, p in net.named_parameters()},
        "bits": {name: value.clone() for name, value in net.state_dict().items()},
    }


def assert_same(before: dict[str, Any], net: nn.Module) -> None:
    after = trace(net)
    assert list(after["modules"].items()) == list(before["modules"].items())
    assert after["tensors"] == before["tensors"]
    assert list(after["bits"]) == list(before["bits"])
    assert all(torch.equal(after["bits"][name], value) for name, value in before["bits"].items())


def mixed(bench) -> dict[str, Delta]:
    """Changes of every kind, on layers of every kind."""
    net = bench.unet()
    shape = {name: tuple(layer.weight.shape) for name, layer in layers(net).items()}
    up, down = bench.low_rank(layers(net)[KEY])
    deltas = bench.deltas(net, [KERNEL, STRIDED, "time_embedding.linear_1"])
    deltas[KEY] = Delta(Decomposed(LowRank(up, down), bench.draw(shape[KEY][0], scale=1.0).abs() + 0.5, 0))
    deltas["conv_in"] = Delta(Difference(bench.draw(*shape["conv_in"])), bench.draw(8))
    deltas["conv_out"] = Delta(None, bench.draw(4))
    deltas[NORM] = Delta(Difference(bench.draw(8)), bench.draw(8))
    deltas["time_embedding.linear_2"] = Delta(Replacement(bench.draw(*shape["time_embedding.linear_2"])))
    return deltas


@pytest.fixture
def net(bench) -> UNet:
    return bench.unet()


# ---- inverses ------------------------------------------------------------------------------------------------------


def test_attach_then_detach_leaves_every_module_and_bit_as_it_was(bench, net) -> None:
    before, want = trace(net), bench.call(net)
    with attached(net, Worn(mixed(bench)), Worn(bench.deltas(net))):
        assert not torch.allclose(bench.call(net), want)
    assert_same(before, net)
    assert torch.equal(bench.call(net), want)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_any_order_of_taking_off_leaves_what_is_still_on_and_then_nothing(bench, net, order) -> None:
    before = trace(net)
    worn = [
        Worn(mixed(bench)),
        Worn(bench.deltas(net, [KEY, KERNEL]), -0.5),
        Worn(bench.deltas(net, [KEY, "conv_in"]), 2.0),
    ]
    off = [worn[0].attach(net), worn[1].merge(net), worn[2].attach(net)]
    for done, i in enumerate(order, 1):
        off[i]()
        left = [worn[k] for k in range(3) if k not in order[:done]]
        other = bench.unet()
        other.load_state_dict(before["bits"])
        with attached(other, *left):
            torch.testing.assert_close(bench.call(net), bench.call(other))
        off[i]()  # again: nothing is left to take off
    assert_same(before, net)


def test_an_adapter_that_does_not_fit_leaves_nothing_behind(bench, net) -> None:
    before = trace(net)
    good = Worn(bench.deltas(net, [KEY]))
    for bad, message in (
        ({KEY: Delta(LowRank(torch.zeros(8, 2), torch.zeros(2, 13)))}, f"the layer {KEY} cannot take"),
        ({KEY: Delta(LowRank(torch.zeros(8, 2), torch.zeros(3, 12)))}, "parts that do not fit each other"),
        ({"nowhere.to_k": Delta(None, torch.zeros(3))}, "no layer 'nowhere.to_k'"),
        ({"conv_in": Delta(None, torch.zeros(3))}, "3 biases for 8 outputs"),
    ):
        with pytest.raises(InvalidInput, match=message), attached(net, good, Worn(good.deltas | bad)):
            raise AssertionError("attached")
        with pytest.raises(InvalidInput, match=message):
            Worn(good.deltas | bad).merge(net)
        assert_same(before, net)


def test_what_goes_wrong_while_attached_leaves_nothing_behind(bench, net) -> None:
    before = trace(net)
    with pytest.raises(KeyError), attached(net, Worn(mixed(bench))):
        raise KeyError
    assert_same(before, net)


# ---- neutral elements and sums -------------------------------------------------------------------------------------


def test_strength_zero_puts_on_nothing(bench, net) -> None:
    before = trace(net)
    with attached(net, Worn(mixed(bench), 0.0)):
        assert_same(before, net)
    Worn(mixed(bench), 0.0).merge(net)
    assert_same(before, net)


def test_a_zero_up_changes_nothing(bench, net) -> None:
    want = bench.call(net)
    deltas = bench.deltas(net)
    zero = {name: Delta(replace(d.weight, up=torch.zeros_like(d.weight.up))) for name, d in deltas.items()}
    with attached(net, Worn(zero)):
        assert torch.equal(bench.call(net), want)
    Worn(zero).merge(net)
    assert torch.equal(bench.call(net), want)


def test_the_order_of_attaching_does_not_matter(bench, net) -> None:
    a, b, c = Worn(mixed(bench)), Worn(bench.deltas(net, [KEY, KERNEL]), 0.7), Worn(mixed(bench), -0.3)
    with attached(net, a, b, c):
        want = bench.call(net)
    with attached(net, c, a, b):
        torch.testing.assert_close(bench.call(net), want)


def test_two_at_their_strengths_are_the_network_whose_weights_have_both_sums(bench, net) -> None:
    one, two = bench.deltas(net), bench.deltas(net, [KEY, KERNEL, STRIDED], scale=1.0)
    other = bench.unet()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        for deltas, strength in ((one, 0.8), (two, -1.5)):
            for name, delta in deltas.items():
                up, down = delta.weight.up.flatten(1), delta.weight.down.flatten(1)
                weight = other.get_parameter(f"{name}.weight")
                weight += strength * delta.weight.scale * (up @ down).reshape(weight.shape)
    with attached(net, Worn(one, 0.8), Worn(two, -1.5)):
        torch.testing.assert_close(bench.call(net), bench.call(other), rtol=1e-4, atol=1e-5)


def test_merged_is_attached_and_takes_no_part_in_the_names(bench, net) -> None:
    a, b, keys = Worn(mixed(bench), 0.6), Worn(bench.deltas(net, [KEY, KERNEL])), list(net.state_dict())
    with attached(net, a, b):
        want = bench.call(net)
    before = trace(net)
    off = [a.merge(net), b.merge(net)]
    torch.testing.assert_close(bench.call(net), want, rtol=1e-4, atol=1e-5)
    assert list(net.state_dict()) == keys  # so that it can be saved as a model of its own
    for take in off:
        take()
    assert_same(before, net)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_merging_sums_in_single_precision_and_rounds_once(bench, net, dtype) -> None:
    net = net.to(dtype)
    before, deltas = trace(net), bench.deltas(net, [KERNEL, KEY])
    worn = [Worn(deltas, 1e-3)] * 8  # each too small to change a half-precision number by itself
    off = [one.merge(net) for one in worn]
    for name, delta in deltas.items():
        weight = before["bits"][f"{name}.weight"].float()
        want = (weight + sum(1e-3 * delta.weight.change(weight) for _ in worn)).to(dtype)
        torch.testing.assert_close(layers(net)[name].weight, want, rtol=torch.finfo(dtype).eps, atol=1e-6)
    for take in off:
        take()
    assert_same(before, net)


# ---- convolutions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"stride": 2, "padding": 2}, {"dilation": 2}, {"groups": 2, "padding": 1}], ids=str
)
@pytest.mark.parametrize("tucker", [False, True])
def test_a_change_of_a_kernel_is_a_convolution_by_it(bench, options, tucker) -> None:
    conv = nn.Conv2d(6, 10, 3, **options).requires_grad_(False)
    inputs = 6 // conv.groups
    if tucker:
        up, mid, down = bench.draw(10, 4, 1, 1), bench.draw(4, 3, 3, 3), bench.draw(3, inputs, 1, 1)
        kernel = torch.einsum("oa,abhw,bi->oihw", up[..., 0, 0], mid, down[..., 0, 0])
    else:
        up, mid, down = bench.draw(10, 4, 1, 1), None, bench.draw(4, inputs, 3, 3)
        kernel = torch.einsum("oa,aihw->oihw", up[..., 0, 0], down)
    x = bench.draw(2, 6, 7, 9)
    want = F.conv2d(x, conv.weight + 0.75 * kernel, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    net = nn.Sequential(conv)
    with attached(net, Worn({"0": Delta(LowRank(up, down, mid, scale=0.5))}, 1.5)):
        torch.testing.assert_close(net(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flat", [False, True])
def test_a_pointwise_convolution_takes_matrices_and_a_linear_layer_takes_kernels_of_one(bench, flat) -> None:
    up, down = bench.draw(10, 4), bench.draw(4, 6)
    x = bench.draw(2, 6, 3, 3)
    layer, shape = (nn.Conv2d(6, 10, 1), ()) if flat else (nn.Linear(6, 10), (1, 1))
    net = nn.Sequential(layer.requires_grad_(False))
    given = x if flat else x.movedim(1, -1)
    want = net(given) + (torch.einsum("bihw,oi->bohw", x, up @ down) if flat else given @ (up @ down).T)
    with attached(net, Worn({"0": Delta(LowRank(up.reshape(10, 4, *shape), down.reshape(4, 6, *shape)))})):
        torch.testing.assert_close(net(given), want)


def test_a_change_of_the_bias_alone_works_on_a_layer_with_and_without_one(bench) -> None:
    for layer in (
        nn.Linear(6, 10),
        nn.Linear(6, 10, bias=False),
        nn.Conv2d(6, 10, 1, bias=False),
        nn.GroupNorm(2, 6),
        nn.LayerNorm(3),
    ):
        net, shift = nn.Sequential(layer.requires_grad_(False)), bench.draw(len(layer.weight))
        x = bench.draw(2, 4, 6) if isinstance(layer, nn.Linear) else bench.draw(2, 6, 3, 3)
        own = shift if isinstance(layer, nn.Linear | nn.LayerNorm) else shift[:, None, None]
        want = net(x) + 0.5 * own
        for put in (Worn.attach, Worn.merge):
            off = put(Worn({"0": Delta(None, shift)}, 0.5), net)
            torch.testing.assert_close(net(x), want)
            off()
            assert net[0] is layer


# ---- company -------------------------------------------------------------------------------------------------------


def test_the_memory_of_the_text_hears_of_every_change(bench, net) -> None:
    """A LoRA may come and go inside and outside the memory of what was projected from the text."""
    a, b = Worn(bench.deltas(net, [KEY])), Worn(bench.deltas(net, [KEY]), 0.5)
    plain = bench.call(net)
    with attached(net, a):
        one = bench.call(net)
        with attached(net, b):
            both = bench.call(net)
    before = trace(net)
    with cached_text(net):
        assert KEY in layers(net)
        first = a.attach(net)
        assert torch.equal(bench.call(net), one)
        second = b.attach(net)
        assert torch.equal(bench.call(net), both)
        first()
        second()
        assert torch.equal(bench.call(net), plain)
    assert_same(before, net)


def test_an_attached_network_moves_between_dtypes_whole(bench, net) -> None:
    worn = Worn(mixed(bench))
    with attached(net, worn):
        want = bench.call(net)
        net.double()
        torch.testing.assert_close(bench.call(net).float(), want, rtol=1e-3, atol=1e-4)


def test_a_lora_serves_the_networks_that_it_was_read_for(bench, net) -> None:
    deltas = bench.deltas(net, [KEY])
    lora = LoRA(name="ink", deltas={"denoiser": deltas, "text": {}})
    want = bench.call(net)
    with attached(net, lora.on("text")):
        assert torch.equal(bench.call(net), want)
    with attached(net, lora.on("denoiser", 0.5)):
        assert not torch.allclose(bench.call(net), want)
    with pytest.raises(UnknownName, match="denoiser, text"):
        lora.on("denoise")


# ---- formulas, by the whole kernel ---------------------------------------------------------------------------------


def cp(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One sum a time: over the core's first axis with a, over its second with b."""
    return torch.tensordot(torch.tensordot(a.T, core, dims=1), b, dims=([1], [0])).movedim(-1, 1)


def test_the_tucker_form_of_loha_is_the_product_of_two_full_kernels(bench) -> None:
    t = [bench.draw(4, 4, 3, 3) for _ in range(2)]
    a, b = [bench.draw(4, 10) for _ in range(2)], [bench.draw(4, 6) for _ in range(2)]
    kind = Hadamard(Product(a[0], b[0], t[0]), Product(a[1], b[1], t[1]), 0.5)
    want = 0.5 * cp(t[0], a[0], b[0]) * cp(t[1], a[1], b[1])
    torch.testing.assert_close(kind.change(torch.zeros(10, 6, 3, 3)), want)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 3)], ids=str)
def test_dora_gives_the_new_weight_the_magnitudes_and_the_direction_of_the_sum(bench, axis, shape) -> None:
    weight = bench.draw(*shape)
    inner, magnitude = Difference(bench.draw(*shape)), bench.draw(shape[axis]).abs() + 0.1
    new = weight + Decomposed(inner, magnitude, axis).change(weight)
    for i in range(shape[axis]):
        part, direction = new.select(axis, i).flatten(), (weight + inner.value).select(axis, i).flatten()
        torch.testing.assert_close(part.norm(), magnitude[i])
        torch.testing.assert_close(F.cosine_similarity(part, direction, dim=0), torch.tensor(1.0))


def test_dora_of_a_vanishing_row_is_a_row_of_zeros_and_no_nan() -> None:
    weight = torch.ones(2, 3)
    change = Decomposed(Difference(torch.tensor([[-1.0] * 3, [1.0] * 3])), torch.ones(2), 0).change(weight)
    assert torch.equal((weight + change)[0], torch.zeros(3)) and change.isfinite().all()
