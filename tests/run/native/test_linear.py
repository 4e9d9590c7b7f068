"""A small linear layer is as exact as torch's, and its bytes do not depend on what is computed beside."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from danqing.run.engine.packed import attach
from danqing.run.native.linear import MOST, linear, panels
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("linear"), pytest.mark.usefixtures("kernel")]


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16()


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 2, 1), (5, 34, 16), (50, 66, 130), (97, 512, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_as_exact_as_torch_and_neither_rows_nor_threads_move_a_bit(threads, rows, inputs, outputs, biased):
    x, weight, bias = drawn(rows, inputs), drawn(outputs, inputs), drawn(outputs) if biased else None
    packed = panels(weight)
    threads(1)
    ours = linear(x, packed, outputs, bias)
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    rounding = torch.finfo(x.dtype).eps * float(exact.abs().max())
    assert distance(ours, F.linear(x, weight, bias), exact, rounding) <= 2
    threads(3)
    assert torch.equal(linear(x.expand(40, -1, -1), packed, outputs, bias)[7], ours)
    assert torch.equal(torch.cat([linear(row[None], packed, outputs, bias) for row in x]), ours)


def test_other_weights_are_left_to_torch():
    assert panels(drawn(4, 3)) is None and panels(drawn(4, 4).float()) is None and panels(drawn(MOST, 2)) is None


def test_a_layer_whose_weight_was_exchanged_has_as_many_outputs_as_that_has_rows():
    layer = nn.Linear(32, 32, bias=False).bfloat16()
    layer.weight = nn.Parameter(drawn(2, 32))  # as a LoRA of rank 2 has it
    attach(layer)
    with torch.inference_mode():
        assert layer(drawn(5, 32)).shape == (5, 2)


@pytest.mark.parametrize("biased", [True, False])
def test_what_is_added_is_added_as_by_another_operation(biased):
    x, weight, bias, other = drawn(53, 38), drawn(91, 38), drawn(91) if biased else None, drawn(53, 91)
    apart = linear(x, panels(weight), 91, bias) + other
    assert torch.equal(linear(x, panels(weight), 91, bias, other), apart)
