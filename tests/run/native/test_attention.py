"""Attention of our own is attention, as exact as torch's, and its bytes do not depend on what is computed beside."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danqing.run.native import attention as module
from danqing.run.native.attention import KERNELS, attention
from danqing.run.native.tensors import distance

each = pytest.mark.kernels(*(kernel.name for kernel in KERNELS.values()))
law = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def heads(batch, count, length, size, dtype, seed=0, spread=1.0):
    """Heads as a network has them: a view of (B, L, H D)."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, count * size, generator=draw) * spread
    return x.to(dtype).unflatten(2, (count, size)).transpose(1, 2)


def exact(q, k, v, mask=None, scale=None):
    mask = mask if mask is None or mask.dtype == torch.bool else mask.double()
    return F.scaled_dot_product_attention(*(x.double() for x in (q, k, v)), attn_mask=mask, scale=scale)


def check(q, k, v, mask=None, scale=None, most=2.0, kernel=None):
    """Within ``most`` times the error that torch makes in the same precision."""
    found = module.computed(kernel or KERNELS[q.dtype], q, k, v, mask, scale)
    typed = mask if mask is None or mask.dtype == torch.bool else mask.to(q.dtype)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=typed, scale=scale)
    assert found.shape == theirs.shape and found.dtype == theirs.dtype
    # One rounding of a value, and of a score in fp32, which the exponential makes a relative error of its weight.
    scores = (q.double() @ k.double().mT).abs().max() * (q.shape[3] ** -0.5 if scale is None else scale)
    rounding = v.abs().max() * (torch.finfo(q.dtype).eps + torch.finfo(torch.float32).eps * scores)
    assert distance(found, theirs, exact(q, k, v, mask, scale), float(rounding)) <= most


cases = given(
    batch=st.integers(1, 3),
    count=st.integers(1, 3),
    queries=st.integers(1, 130),
    keys=st.integers(1, 600),
    size=st.integers(1, 256),
    spread=st.sampled_from([0.1, 1.0, 6.0]),
    masked=st.sampled_from(["nothing", "keys", "bias", "causal"]),
)


def case(dtype, batch, count, queries, keys, size, spread, masked):
    q, k, v = (heads(batch, count, n, size, dtype, i, spread) for i, n in enumerate((queries, keys, keys)))
    draw = torch.Generator().manual_seed(9)
    mask = {
        "nothing": None,
        "keys": torch.rand(batch, 1, 1, keys, generator=draw) < 0.7,
        "bias": torch.randn(1, count, queries, keys, generator=draw).to(dtype),
        "causal": torch.ones(queries, keys, dtype=torch.bool).tril(),
    }[masked]
    return q, k, v, mask


@each
@law
@cases
def test_it_is_as_exact_as_torch(dtype, **shape):
    check(*case(dtype, **shape))


@law
@cases
def test_the_tiles_of_amx_emulated_are_as_exact(tiles, **shape):
    check(*case(torch.bfloat16, **shape), kernel=tiles)


@law
@cases
def test_the_tiles_of_amx_emulated_depend_on_neither_batch_nor_queries(tiles, **shape):
    q, k, v, mask = case(torch.bfloat16, **{**shape, "masked": "nothing"})
    together = module.computed(tiles, q, k, v, mask, None)
    assert torch.equal(module.computed(tiles, q[-1:], k[-1:], v[-1:], mask, None), together[-1:])
    assert torch.equal(module.computed(tiles, q[:, :, -1:], k, v, mask, None), together[:, :, -1:])


@each
@pytest.mark.parametrize("size", [*range(1, 257, 5), 257, 320, 401, 512])
def test_every_size_of_a_head(dtype, size):
    check(*(heads(1, 2, n, size, dtype, n) for n in (7, 40, 40)))


@each
def test_strides_are_followed(dtype):
    packed = heads(2, 9, 33, 24, dtype)  # queries, keys and values of one product
    q, k, v = (packed[:, i::3] for i in range(3))
    plain = attention(*(x.contiguous() for x in (q, k, v)))
    assert torch.equal(attention(q, k, v), plain)
    assert torch.equal(attention(*(x.transpose(2, 3).contiguous().transpose(2, 3) for x in (q, k, v))), plain)
    assert torch.equal(attention(q, *(x[:1].expand(2, -1, -1, -1) for x in (k, v)))[0], plain[0])


@each
def test_a_key_that_is_hidden_leaves_no_trace(dtype):
    q, k, v = (heads(2, 2, n, 20, dtype, n) for n in (9, 70, 70))
    mask = torch.arange(70) < 53
    other_k, other_v = k.clone(), v.clone()
    other_k[:, :, 53:] = 1e3
    other_v[:, :, 53:] = -1e3
    assert torch.equal(attention(q, k, v, mask), attention(q, other_k, other_v, mask))


@each
def test_a_query_that_sees_nothing_says_nothing(dtype):
    q, k, v = (heads(1, 1, n, 20, dtype, n) for n in (3, 400, 400))
    mask = torch.ones(3, 400, dtype=torch.bool)
    mask[1] = False
    answer = attention(q, k, v, mask)
    assert not answer[0, 0, 1].any() and answer[0, 0, 0].any() and answer[0, 0, 2].any()


@each
@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_and_infinity_are_not_hidden(dtype, where):
    tensors = [heads(1, 1, n, 20, dtype, n) for n in (3, 300, 300)]
    tensors[where][0, 0, 1, 3] = math.nan
    assert torch.equal(attention(*tensors).isnan(), exact(*tensors).isnan())
    tensors[1][0, 0, 5, 3] = math.inf
    assert torch.equal(attention(*tensors).isnan(), exact(*tensors).isnan())


@each
@law
@given(
    queries=st.integers(1, 130),
    keys=st.integers(1, 600),
    size=st.integers(1, 90),
    count=st.integers(1, 5),
    masked=st.booleans(),
)
def test_neither_batch_nor_threads_move_a_bit(threads, dtype, queries, keys, size, count, masked):
    q, k, v = (heads(4, 2, n, size, dtype, i) for i, n in enumerate((queries, keys, keys)))
    mask = torch.rand(4, 1, 1, keys, generator=torch.Generator().manual_seed(1)) < 0.7 if masked else None
    threads(1)
    together = attention(q, k, v, mask)
    threads(count)
    for i in range(4):
        alone = attention(*(x[i : i + 1] for x in (q, k, v)), None if mask is None else mask[i : i + 1])
        assert torch.equal(alone, together[i : i + 1])
    one = attention(q[:, :1], k[:, :1], v[:, :1], mask)  # nor the heads beside it
    assert torch.equal(one, together[:, :1])
    last = attention(q[:, :, -1:], k, v, mask)  # nor the other queries
    assert torch.equal(last, together[:, :, -1:])


def test_gradients_are_torchs(processor):
    q, k, v = (heads(1, 2, n, 8, torch.float32, n) for n in (5, 9, 9))
    with torch.inference_mode(False):
        tensors = [x.clone().requires_grad_() for x in (q, k, v)]
        with torch.enable_grad():
            ours, theirs = attention(*tensors), F.scaled_dot_product_attention(*tensors)
            assert torch.equal(ours, theirs)
            for a, b in zip(*(torch.autograd.grad(x.sum(), tensors) for x in (ours, theirs)), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("shape", [(0, 2, 5, 8), (1, 2, 5, 600), (2, 5, 8)])
def test_what_no_kernel_takes_is_torchs(processor, shape):
    q = torch.randn(shape)
    assert torch.equal(attention(q, q, q), F.scaled_dot_product_attention(q, q, q))
    half = q.half()
    assert torch.equal(attention(half, half, half), F.scaled_dot_product_attention(half, half, half))
