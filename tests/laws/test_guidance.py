import math

import pytest
import torch
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.guide import compose, interval, rescaled
from danqing.types import Conditioning, Denoised

DOUBLE = torch.float64


def words(*values: float, length: int = 3) -> Conditioning:
    return Conditioning(tokens=torch.tensor(values, dtype=DOUBLE).view(-1, 1, 1).expand(-1, length, 2).contiguous())


class Painter:
    """d(x, t, c) = c x^2 + t, a curve of its own for every conditioning; remembers which it was asked for."""

    def __init__(self):
        self.asked: list[list[float]] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        self.asked.append(cond.tokens[:, 0, 0].tolist())
        return Denoised(cond.tokens.mean((1, 2))[:, None, None, None] * x.square() + t[:, None, None, None])


X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
T = torch.tensor([0.3, 0.8], dtype=DOUBLE)


def d(value: float) -> Tensor:
    return Painter()(X, T, words(value, value)).x0


def test_one_term_is_classifier_free_guidance_in_one_call():
    painter = Painter()
    x0 = compose(painter, [(words(2.0), 7.5)], words(0.5))(X, T).x0
    torch.testing.assert_close(x0, d(0.5) + 7.5 * (d(2.0) - d(0.5)))
    assert painter.asked == [[0.5, 0.5, 2.0, 2.0]]


def test_scale_one_is_off_and_never_asks_for_the_base():
    painter = Painter()
    assert torch.equal(compose(painter, [(words(2.0), 1.0)], words(0.5))(X, T).x0, d(2.0))
    torch.testing.assert_close(
        compose(painter, [(words(2.0), 0.3), (words(3.0), 0.7)], words(0.5))(X, T).x0, 0.3 * d(2.0) + 0.7 * d(3.0)
    )
    assert painter.asked == [[2.0, 2.0], [2.0, 2.0, 3.0, 3.0]]


def test_scale_zero_and_no_terms_are_the_base_alone():
    painter = Painter()
    for terms in ([], [(words(2.0), 0.0)]):
        assert torch.equal(compose(painter, terms, words(0.5))(X, T).x0, d(0.5))
    assert painter.asked == [[0.5, 0.5]] * 2


def test_guidance_is_linear_in_its_weights_and_blind_to_the_order_of_its_terms():
    def at(*weights: float) -> Tensor:
        terms = list(zip([words(2.0), words(-1.0), words(4.0)], weights, strict=True))
        found, other = (compose(Painter(), some, words(0.5))(X, T) for some in (terms, terms[::-1]))
        torch.testing.assert_close(found, other)
        return found.x0 - d(0.5)

    torch.testing.assert_close(at(3.0, -1.5, 0.2), 3 * at(1, 0, 0) - 1.5 * at(0, 1, 0) + 0.2 * at(0, 0, 1))


def test_a_negative_weight_turns_away_as_a_negative_prompt_does():
    """base n, term c of weight w  =  base c, term n of weight 1 - w."""
    away = compose(Painter(), [(words(-1.0), -3.0)], words(2.0))(X, T).x0
    torch.testing.assert_close(away, compose(Painter(), [(words(2.0), 4.0)], words(-1.0))(X, T).x0)


def test_each_picture_may_have_its_own_words_and_of_any_length():
    x0 = compose(Painter(), [(words(2.0, 3.0, length=4), 5.0)], words(0.5, length=6))(X, T).x0
    for i, value in enumerate((2.0, 3.0)):
        torch.testing.assert_close(x0[i], (d(0.5) + 5 * (d(value) - d(0.5)))[i])


def test_rescale_gives_the_result_the_spread_of_the_positive_estimate():
    terms, axes = [(words(2.0), 7.5)], (1, 2, 3)
    plain, half, full = (rescaled(compose(Painter(), terms, words(0.5)), amount)(X, T).x0 for amount in (0, 0.5, 1))
    torch.testing.assert_close(full.std(axes), d(2.0).std(axes))
    torch.testing.assert_close(half, (plain + full) / 2)


def test_rescale_without_guidance_changes_nothing():
    torch.testing.assert_close(rescaled(compose(Painter(), [(words(2.0), 1.0)], words(0.5)), 0.7)(X, T).x0, d(2.0))


def test_rescale_keeps_the_precision_and_stays_defined_where_nothing_varies():
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float16)
    guided = compose(Painter(), [(words(2.0).map(Tensor.half), 7.5)], words(0.5).map(Tensor.half))
    x0 = rescaled(guided, 0.7)(x, T.half()).x0
    assert x0.dtype == torch.float16
    torch.testing.assert_close(x0, T.half().view(-1, 1, 1, 1).expand_as(x) * 0.3)


def test_guidance_holds_in_its_interval_and_outside_is_not_computed():
    painter = Painter()
    guided, plain = compose(painter, [(words(2.0), 7.5)], words(0.5)), compose(painter, [(words(2.0), 1.0)], words(0.5))
    within = interval(guided, plain, 0.2, 0.5)
    both = within(X, T).x0
    assert torch.equal(both[0], guided(X, T).x0[0]) and torch.equal(both[1], d(2.0)[1])
    painter.asked.clear()
    assert torch.equal(within(X, T * 0 + 0.9).x0, plain(X, T * 0 + 0.9).x0)
    assert all(0.5 not in asked for asked in painter.asked)
    torch.testing.assert_close(within(X, T * 0 + 0.2), guided(X, T * 0 + 0.2))


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_scale_that_is_no_number_is_refused(weight: float):
    with pytest.raises(InvalidInput, match="finite"):
        compose(Painter(), [(words(2.0), weight)], words(0.5))


def test_impossible_options_are_refused():
    with pytest.raises(InvalidInput, match="rescale"):
        rescaled(compose(Painter(), [], words(0.5)), 1.5)
    for low, high in ((0.5, 0.2), (-0.1, 1.0), (0.0, math.nan)):
        with pytest.raises(InvalidInput, match="interval"):
            interval(lambda x, t: Denoised(x), lambda x, t: Denoised(x), low, high)
