"""Normalisation of our own is torch's, at least as exact, and its bytes do not depend on what is computed beside."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from danqing.run.native.normalise import group_norm, group_norm_silu, layer_norm
from danqing.run.native.tensors import distance

pytestmark = [pytest.mark.kernels("normalise"), pytest.mark.usefixtures("kernel")]
DTYPES = st.sampled_from([torch.bfloat16, torch.float32])
fast = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def draw(*shape, seed=0, mean=0.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean


def picture(*shape, dtype=torch.float32, seed=0, mean=0.0):
    return draw(*shape, seed=seed, mean=mean).to(dtype).contiguous(memory_format=torch.channels_last)


def check(ours, norm, x, sets, *affine, most=2.0):
    """Within ``most`` times the error that torch makes in the same precision; each row of ``sets`` is normalised."""
    theirs = norm(x, *(None if w is None else w.to(x.dtype) for w in affine))
    truth = norm(x.double(), *(None if w is None else w.double() for w in affine))
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    assert ours.is_contiguous(memory_format=layout)
    # The mean is known to one rounding of its size, which far from zero is not small beside the spread of a set.
    lost = x.double().abs().max() / (sets.double().var(-1, correction=0).min() + 1e-6).sqrt()
    lost = lost if affine[0] is None else lost * affine[0].double().abs().max()
    size = float(truth.abs().max()) + float(lost) * (x.dtype == torch.float32)
    assert distance(ours, theirs, truth, torch.finfo(x.dtype).eps * size) <= most


@fast
@given(
    dtype=DTYPES,
    batch=st.integers(1, 3),
    groups=st.integers(1, 9),
    size=st.integers(1, 40),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    mean=st.sampled_from([0.0, 3.0, -40.0]),
    affine=st.sampled_from(["none", "same", "fp32", "weight"]),
    silu=st.booleans(),
)
def test_group_norm_is_as_exact_as_torch(dtype, batch, groups, size, height, width, mean, affine, silu):
    assume(size * height * width > 1)  # torch refuses to normalise one number
    channels = groups * size
    x = picture(batch, channels, height, width, dtype=dtype, mean=mean)
    weights = [
        w.to(torch.float32 if affine == "fp32" else dtype) for w in (draw(channels, seed=1), draw(channels, seed=2))
    ]
    if affine in ("none", "weight"):
        weights = [weights[0] if affine == "weight" else None, None]

    def norm(x, weight, bias):
        y = F.group_norm(x, groups, weight, bias, 1e-6)
        return F.silu(y) if silu else y

    check(group_norm(x, groups, *weights, eps=1e-6, silu=silu), norm, x, x.reshape(batch, groups, -1), *weights)


@fast
@given(
    dtype=DTYPES,
    rows=st.integers(1, 50),
    channels=st.integers(2, 700),
    mean=st.sampled_from([0.0, 3.0, -40.0]),
    affine=st.booleans(),
)
def test_layer_norm_is_as_exact_as_torch(dtype, rows, channels, mean, affine):
    x = draw(2, rows, channels, mean=mean).to(dtype)
    weights = [draw(channels, seed=1).to(dtype), draw(channels, seed=2).to(dtype)] if affine else [None, None]
    check(layer_norm(x, *weights), lambda x, w, b: F.layer_norm(x, (channels,), w, b), x, x, *weights)


def test_far_from_zero_nothing_is_lost():
    """Sums of squares would lose everything here: the mean is 10,000 times the spread."""
    x = picture(1, 32, 64, 64, mean=1e4)
    truth = F.group_norm(x.double(), 4)
    ours, theirs = ((y.double() - truth).abs().max() for y in (group_norm(x, 4), F.group_norm(x, 4)))
    assert ours <= theirs


@fast
@given(
    dtype=DTYPES,
    groups=st.integers(1, 4),
    size=st.integers(1, 70),
    side=st.integers(1, 40),
    count=st.integers(1, 5),
)
def test_neither_batch_nor_threads_move_a_bit(threads, dtype, groups, size, side, count):
    channels = groups * size
    x = picture(3, channels, side, side, dtype=dtype)
    weight, bias = draw(2, channels).to(dtype)
    threads(1)
    together, layered = group_norm_silu(x, groups, weight, bias), layer_norm(x.permute(0, 2, 3, 1), weight, bias)
    threads(count)
    for i in range(3):
        one = x[i : i + 1].contiguous(memory_format=torch.channels_last)
        assert torch.equal(group_norm_silu(one, groups, weight, bias), together[i : i + 1])
        assert torch.equal(layer_norm(one.permute(0, 2, 3, 1), weight, bias), layered[i : i + 1])


def test_nan_is_not_hidden():
    x = picture(2, 20, 5, 5)
    x[1, 3, 2, 2] = torch.nan
    for silu in (False, True):
        assert torch.equal(group_norm(x, 4, silu=silu).isnan(), F.group_norm(x, 4).isnan())
    tokens = x.permute(0, 2, 3, 1)
    assert torch.equal(layer_norm(tokens).isnan(), F.layer_norm(tokens, (20,)).isnan())


def test_what_the_kernel_does_not_take_is_torchs():
    planes = draw(2, 8, 5, 5)  # not channels-last
    assert torch.equal(group_norm_silu(planes, 2), F.silu(F.group_norm(planes, 2)))
    doubles = picture(2, 8, 5, 5).double()
    assert torch.equal(group_norm(doubles, 2), F.group_norm(doubles, 2))
    rows = draw(4, 9)[:, :7]
    assert torch.equal(layer_norm(rows), F.layer_norm(rows, (7,)))
    with torch.inference_mode(False), torch.enable_grad():
        x, weight, bias = (t.clone().requires_grad_() for t in (picture(2, 8, 5, 5), *draw(2, 8)))
        group_norm_silu(x, 2, weight, bias).sum().backward()
        for leaf in (x, weight, bias):
            assert leaf.grad is not None and leaf.grad.any()
