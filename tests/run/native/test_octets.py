"""Products of bytes are exact but for one rounding, and what comes is rounded as said."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danqing.run.native import octets
from danqing.run.native.octets import computed, multiply, rounded
from danqing.weights.bits import packed, unpacked

fast = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = given(
    batch=st.integers(1, 3), inputs=st.integers(1, 90), outputs=st.integers(1, 150), height=st.integers(3, 13),
    width=st.integers(3, 13), side=st.sampled_from([0, 1, 3]), stride=st.sampled_from([1, 2]),
    dtype=st.sampled_from(octets.DTYPES), bits=st.sampled_from([8, 16]), bias=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip


def here(test):
    """A test of the kernel, on each processor that has it."""
    return pytest.mark.kernels("octets")(pytest.mark.usefixtures("kernel")(test))


def drawn(batch, inputs, outputs, height, width, side, stride, dtype, bits, bias, seed) -> tuple[Any, ...]:
    """Arguments of `multiply`; a side of 0 is a linear layer."""
    draw = torch.Generator().manual_seed(seed)
    shape = (outputs, inputs, side, side) if side else (outputs, inputs)
    weight = torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8)
    panels = packed(weight, torch.rand(outputs, generator=draw) / 50)
    size = (batch, inputs, height, width) if side else (batch, height, inputs)
    x = (torch.randn(size, generator=draw) * 3 + 1).to(dtype)
    added = torch.randn(outputs, generator=draw) if bias else None
    return x, panels, added, stride if side else 1, side // 2, bits


@fast
@shapes
def test_weights_are_unpacked_as_they_were_packed(**given):
    draw = torch.Generator().manual_seed(given["seed"])
    shape = (given["outputs"], given["inputs"], *[3] * (2 if given["side"] else 0))
    weight, scale = torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8), torch.rand(shape[0])
    back, scales = unpacked(packed(weight, scale))
    assert torch.equal(back, weight) and torch.equal(scales, scale)


@here
@fast
@shapes
def test_a_layer_is_the_exact_product_of_the_same_whole_numbers(**given):
    x, *rest = drawn(**given)
    exact = computed(x.double(), *rest)  # whole numbers, their products and sums: all exact in float64
    most = float(exact.abs().max())
    with torch.inference_mode():
        ours = multiply(x, *rest)
    assert ours.shape == exact.shape and ours.dtype == x.dtype
    assert (ours - exact).abs().max() <= (torch.finfo(x.dtype).eps + 2**-20) * most


@here
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("inputs", [700, 1842])
def test_the_largest_sums_are_exact(inputs, sign):
    """All weights and numbers at the end of their range, over several parts of the inputs."""
    panels = packed(torch.full((70, inputs, 3, 3), 127 * sign, dtype=torch.int8), torch.ones(70))
    x = torch.ones(1, inputs, 4, 5)
    with torch.inference_mode():
        ours = multiply(x, panels, None, 1, 1)
    exact = computed(x.double(), panels, None, 1, 1)
    assert (ours - exact).abs().max() <= 2**-20 * exact.abs().max()


@here
@fast
@shapes
def test_neither_batch_nor_threads_move_a_bit(threads, **given):
    x, *rest = drawn(**given)
    with torch.inference_mode():
        threads(1)
        together = multiply(x, *rest)
        threads(3)
        for i in range(len(x)):
            assert torch.equal(multiply(x[i : i + 1], *rest), together[i : i + 1])


@given(
    low=st.floats(-100, 100), wide=st.floats(0, 1000), bits=st.sampled_from([8, 16]), seed=st.integers(0, 99)
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_what_is_rounded_is_within_half_a_step_and_zero_is_exact(low, wide, bits, seed):
    x = torch.rand(50, generator=torch.Generator().manual_seed(seed)) * wide + low
    x[7] = 0
    u, step, zero = rounded(x, (0,), bits)
    assert u.min() >= 0 and u.max() <= 2**bits - 1 and torch.equal(u, u.round())
    back = (u - zero) * step
    ends = (u == 0) | (u == 2**bits - 1)  # the ends of the range may be cut by what the zero was rounded by
    error = (back - x).abs() / step
    assert error[~ends].numel() == 0 or error[~ends].max() <= 0.5 + 1e-2
    assert error.max() <= 1 + 1e-2 and back[7] == 0


@here
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_hidden(bad):
    x, *rest = drawn(2, 8, 70, 4, 5, 3, 1, torch.float32, 8, True, 0)
    x[1, 2, 1, 1] = bad
    with torch.inference_mode():
        for found in (multiply(x, *rest), computed(x, *rest)):
            assert found[0].isfinite().all() and not found[1].isfinite().any()


@here
def test_the_pictures_order_in_memory_does_not_matter():
    x, *rest = drawn(2, 9, 70, 4, 5, 3, 1, torch.bfloat16, 8, True, 0)
    with torch.inference_mode():
        assert torch.equal(multiply(x, *rest), multiply(x.to(memory_format=torch.channels_last), *rest))
