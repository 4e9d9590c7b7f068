"""Winograd's convolution is the convolution, nearly as exact as torch's, and its bytes do not depend on the batch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danqing.errors import InvalidInput
from danqing.run.native.convolution import WAYS, as_it_is, convolution3x3, pack3x3
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("winograd", "winograd_bf16"), pytest.mark.usefixtures("kernel")]
shapes = given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 150),
    outputs=st.integers(1, 150),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    bias=st.booleans(),
    count=st.integers(1, 4),
    once=st.booleans(),
)
fast = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def packing(weight, once):
    """The kernels, transformed once, or in fp32 at each call."""
    return pack3x3(weight, keep=False) if once or weight.dtype != torch.float32 else as_it_is(weight)


@pytest.fixture(name="tensors")
def _tensors(kernel):
    """A picture, kernels and a bias, in the precision of the kernel."""
    dtype = next(dtype for dtype, way in WAYS.items() if way.kernel is kernel)

    def tensors(batch, inputs, outputs, height, width, bias):
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(batch, inputs, height, width, generator=draw).to(dtype)
        weight = torch.randn(outputs, inputs, 3, 3, generator=draw).to(dtype)
        bias = torch.randn(outputs, generator=draw).to(dtype) if bias else None
        return x.contiguous(memory_format=torch.channels_last), weight, bias

    return tensors


@fast
@shapes
def test_it_is_nearly_as_exact_as_torch(tensors, batch, inputs, outputs, height, width, bias, count, once):
    x, weight, bias = tensors(batch, inputs, outputs, height, width, bias)
    found = convolution3x3(x, packing(weight, once), bias)
    theirs = F.conv2d(x, weight, bias, padding=1)
    truth = F.conv2d(*(None if y is None else y.double() for y in (x, weight, bias)), padding=1)
    assert found.shape == theirs.shape and found.is_contiguous(memory_format=torch.channels_last)
    # One rounding of what is summed, nine products an input: of the largest number, where signs cancel it.
    rounding = torch.finfo(x.dtype).eps * float(x.abs().max() * weight.abs().max()) * (9 * inputs) ** 0.5
    assert distance(found, theirs, truth, rounding) <= 8


@fast
@shapes
def test_neither_batch_nor_threads_move_a_bit(
    tensors, threads, batch, inputs, outputs, height, width, bias, count, once
):
    x, weight, bias = tensors(batch + 1, inputs, outputs, height, width, bias)
    packed = packing(weight, once)
    threads(1)
    together = convolution3x3(x, packed, bias)
    threads(count)
    for i in range(batch + 1):
        assert torch.equal(convolution3x3(x[i : i + 1], packed, bias), together[i : i + 1])


@fast
@shapes
def test_what_is_added_is_added_as_by_another_operation(
    tensors, batch, inputs, outputs, height, width, bias, count, once
):
    x, weight, bias = tensors(batch, inputs, outputs, height, width, bias)
    packed = packing(weight, once)
    for shape in ((batch, outputs, height, width), (batch, outputs, 1, 1)):
        other = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
        for laid in (other, other.contiguous(memory_format=torch.channels_last)):
            assert torch.equal(convolution3x3(x, packed, bias, laid), convolution3x3(x, packed, bias) + laid)


@pytest.mark.parametrize("once", [True, False])
def test_large_pictures_in_many_blocks(tensors, threads, once):
    x, weight, bias = tensors(1, 40, 20, 70, 130, True)
    threads(2)
    truth = F.conv2d(*(y.double() for y in (x, weight, bias)), padding=1)
    near = {torch.float32: 3e-6, torch.bfloat16: 1e-2}[x.dtype]
    assert (convolution3x3(x, packing(weight, once), bias) - truth).abs().max() < near * truth.abs().max()


def test_a_number_moves_its_neighbours_alone(tensors):
    x, weight, _ = tensors(1, 5, 7, 16, 16, False)
    packed, other = pack3x3(weight), x.clone()
    other[0, 2, 4, 7] = torch.nan
    moved = convolution3x3(other, packed).isnan().any(1)[0]
    touched = F.conv2d(other, weight, padding=1).isnan().any(1)[0]
    assert (moved | ~touched).all()  # none is hidden; a tile may share it
    assert not moved[:, 12:].any() and not moved[8:].any()


def test_planes_are_taken_too(tensors):
    x, weight, bias = tensors(2, 6, 5, 9, 9, True)
    packed = pack3x3(weight)
    assert torch.equal(convolution3x3(x.contiguous(), packed, bias), convolution3x3(x, packed, bias))


def test_what_the_kernel_does_not_take_is_torchs(tensors):
    x, weight, bias = tensors(2, 6, 5, 9, 9, True)
    double = pack3x3(weight.double())
    assert double.panels is None
    assert torch.equal(convolution3x3(x.double(), double), F.conv2d(x.double(), weight.double(), padding=1))
    with torch.inference_mode(False), torch.enable_grad():
        y = x.clone().requires_grad_()
        convolution3x3(y, pack3x3(weight.clone()), bias.clone()).sum().backward()
        assert y.grad is not None and y.grad.any()


def test_a_weight_that_was_let_go_is_named(tensors):
    x, weight, _ = tensors(2, 6, 5, 9, 9, False)
    with pytest.raises(InvalidInput, match="6 to 5 channels"):
        convolution3x3(x.double(), pack3x3(weight, keep=False))
