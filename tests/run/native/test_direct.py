"""A convolution as it is written is as exact as torch's, and its bytes do not depend on what is computed beside."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danqing.run.native.direct import direct, taps
from danqing.run.native.linear import MOST
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("direct"), pytest.mark.usefixtures("kernel")]


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 3), pairs=st.integers(1, 70), outputs=st.integers(1, 150), height=st.integers(4, 17),
    width=st.integers(4, 17), side=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2),
    bias=st.booleans(), count=st.integers(1, 4),
)  # fmt: skip
def test_it_is_as_exact_as_torch_and_neither_batch_nor_threads_move_a_bit(
    threads, batch, pairs, outputs, height, width, side, stride, padding, bias, count
):
    x = drawn(batch, 2 * pairs, height, width).contiguous(memory_format=torch.channels_last)
    weight, bias = drawn(outputs, 2 * pairs, side, side), drawn(outputs) if bias else None
    packed = taps(weight)
    threads(1)
    ours, theirs = direct(x, packed, bias, stride, padding), F.conv2d(x, weight, bias, stride, padding)
    exact = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), stride, padding)
    assert ours.shape == theirs.shape and ours.is_contiguous(memory_format=torch.channels_last)
    # One rounding of what is summed: of the largest number, where signs cancel it.
    rounding = torch.finfo(x.dtype).eps * float(exact.abs().max())
    assert distance(ours, theirs, exact, rounding) <= 2
    threads(count)
    for i in range(batch):
        assert torch.equal(direct(x[i : i + 1], packed, bias, stride, padding), ours[i : i + 1])


def test_other_weights_are_left_to_torch():
    assert taps(drawn(4, 3, 3, 3)) is None and taps(drawn(4, 4, 1, 3)) is None and taps(drawn(MOST, 2, 1, 1)) is None
    assert taps(drawn(4, 4, 3, 3).float()) is None
