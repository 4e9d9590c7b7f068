"""A small linear layer is as exact as torch's, and its bytes do not depend on what is computed beside."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from danqing.run.engine.packed import attach
from danqing.run.native.linear import KERNELS, MOST, linear, panels
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("linear", "linear_fp32"), pytest.mark.usefixtures("kernel")]


@pytest.fixture
def drawn(kernel):
    """Numbers of the precision of the kernel."""
    dtype = next(dtype for dtype, each in KERNELS.items() if each is kernel)
    return lambda *shape: torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 2, 1), (5, 34, 16), (50, 66, 130), (97, 512, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_as_exact_as_torch_and_neither_rows_nor_threads_move_a_bit(drawn, threads, rows, inputs, outputs, biased):
    x, weight, bias = drawn(rows, inputs), drawn(outputs, inputs), drawn(outputs) if biased else None
    packed = panels(weight)
    threads(1)
    ours = linear(x, packed, outputs, bias)
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    # In turn, every product may round the sum once, of which roundings some cancel.
    rounding = max(torch.finfo(x.dtype).eps, 2**-24 * inputs**0.5) * float(exact.abs().max())
    assert distance(ours, F.linear(x, weight, bias), exact, rounding) <= 2
    threads(3)
    assert torch.equal(linear(x.expand(40, -1, -1), packed, outputs, bias)[7], ours)
    assert torch.equal(torch.cat([linear(row[None], packed, outputs, bias) for row in x]), ours)


def test_other_weights_are_left_to_torch(drawn):
    assert panels(drawn(4, 4).double()) is None and panels(drawn(MOST, 2)) is None
    assert panels(torch.ones(4, 3, dtype=torch.bfloat16)) is None


def test_a_layer_whose_weight_was_exchanged_has_as_many_outputs_as_that_has_rows(drawn):
    layer = nn.Linear(32, 32, bias=False).to(drawn(1))
    layer.weight = nn.Parameter(drawn(2, 32))  # as a LoRA of rank 2 has it
    attach(layer)
    with torch.inference_mode():
        assert layer(drawn(5, 32)).shape == (5, 2)


@pytest.mark.parametrize("biased", [True, False])
def test_what_is_added_is_added_as_by_another_operation(drawn, biased):
    x, weight, bias, other = drawn(53, 38), drawn(91, 38), drawn(91) if biased else None, drawn(53, 91)
    apart = linear(x, panels(weight), 91, bias) + other
    assert torch.equal(linear(x, panels(weight), 91, bias, other), apart)
