"""What a denoiser says of x_0 beside the guided estimate."""

import pytest
import torch
from tests.laws.alone import singly
from torch import Tensor

from danqing.guide import compose, interval
from danqing.types import Conditioning, Denoised
from solver_orders import DOUBLE

pytestmark = pytest.mark.usefixtures("one_thread")
X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
T = torch.tensor([0.3, 0.8], dtype=DOUBLE)


def words(value: float) -> Conditioning:
    return Conditioning(tokens=torch.full((1, 3, 2), value, dtype=DOUBLE))


def net(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
    """A curve of its own for every conditioning."""
    return Denoised(torch.tanh(cond.tokens.mean((1, 2)).view(-1, 1, 1, 1) * x) + 0.1 * t.view(-1, 1, 1, 1))


def d(value: float) -> Tensor:
    return net(X, T, words(value)).x0


# What is known --------------------------------------------------------------------------------------------------------


def test_base_and_terms_stand_beside_the_guided_estimate():
    found = compose(net, [(words(2.0), 3.0), (words(-1.0), 1.0), (words(0.7), -2.0)], words(0.5))(X, T)
    torch.testing.assert_close(found.base, d(0.5))
    torch.testing.assert_close(found.cond, (3 * d(2.0) + d(-1.0)) / 4)


def test_what_was_not_computed_is_not_known():
    off, away = compose(net, [(words(2.0), 1.0)], words(0.5)), compose(net, [(words(2.0), -1.0)], words(0.5))
    assert off(X, T).base is None and torch.equal(off(X, T).cond, d(2.0))
    assert away(X, T).cond is None and torch.equal(away(X, T).base, d(0.5))
    assert interval(away, off, 0.0, 0.5)(X, T)[1:] == singly(off, away)(X, T)[1:] == (None, None, None)
