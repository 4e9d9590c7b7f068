"""A half of each row times the GELU of the other is torch's, at least as exact, whatever is computed beside."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danqing.run.native.gated import gated
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("gated"), pytest.mark.usefixtures("kernel")]
DTYPES = st.sampled_from([torch.bfloat16, torch.float32])
fast = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def draw(*shape, spread=1.0):
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def plain(x):
    value, gate = x.chunk(2, -1)
    return value * F.gelu(gate)


@fast
@given(
    dtype=DTYPES,
    rows=st.integers(1, 40),
    channels=st.integers(1, 700),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_it_is_as_exact_as_torch(dtype, rows, channels, spread):
    x = draw(2, rows, 2 * channels, spread=spread).to(dtype)
    ours, theirs, exact = gated(x), plain(x), plain(x.double())
    assert ours.shape == theirs.shape and ours.dtype == dtype and ours.is_contiguous()
    assert distance(ours, theirs, exact, torch.finfo(dtype).eps * float(exact.abs().max())) <= 4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_far_below_zero_nothing_cancels(dtype):
    """The tail goes to zero as the normal distribution does; a difference from one would be zero long before."""
    x = torch.stack([torch.ones(100), torch.linspace(-7, -3, 100)], 1).to(dtype)
    gate = x[:, 1].double()
    exact = gate * torch.special.erfc(-gate / 2**0.5) / 2
    far = (gated(x)[:, 0].double() / exact - 1).abs().max()
    assert far <= {torch.bfloat16: 2**-7, torch.float32: 1e-4}[dtype]


@fast
@given(dtype=DTYPES, channels=st.integers(1, 300), rows=st.integers(1, 300), count=st.integers(1, 5))
def test_neither_batch_nor_threads_move_a_bit(threads, dtype, channels, rows, count):
    x = draw(3, rows, 2 * channels).to(dtype)
    threads(1)
    together = gated(x)
    threads(count)
    for i in range(3):
        assert torch.equal(gated(x[i : i + 1]), together[i : i + 1])


def test_what_is_not_finite_is_not_hidden():
    x = draw(4, 70).repeat(3, 1)
    x[1, 3], x[2, 50], x[5, 69], x[7, 40] = torch.nan, torch.nan, torch.inf, -torch.inf
    assert torch.equal(gated(x).isfinite(), plain(x).isfinite())


def test_what_the_kernel_does_not_take_is_torchs():
    rows = draw(4, 20)[:, :14]
    assert torch.equal(gated(rows), plain(rows))
    doubles = draw(4, 14).double()
    assert torch.equal(gated(doubles), plain(doubles))
    with torch.inference_mode(False), torch.enable_grad():
        x = draw(4, 14).requires_grad_()
        gated(x).sum().backward()
        assert x.grad is not None and x.grad.any()
