"""Regions: a mean of estimates, by place."""

import itertools

import pytest
import torch
from tests.laws.test_estimates import DOUBLE, T, net, words
from torch import Tensor

from danqing.guide import compose
from danqing.guides.regional import Drawn, Rectangle, around, regional, weighed, within
from danqing.types import Conditioning, Denoise, Denoised

X = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
LEFT, RIGHT = Rectangle((0, 0, 0.5, 1)), Rectangle((0.5, 0, 1, 1))


def of(value: float) -> Denoise:
    return compose(net, [(words(value), 4.0)], words(0.5))


def never(x: Tensor, t: Tensor) -> Denoised:
    raise AssertionError("an estimate that counts nowhere was asked for")


def test_one_region_over_all_is_its_estimate_bit_for_bit_and_nothing_else_is_asked_for():
    for whole in (Rectangle((0, 0, 1, 1), 0.2), Drawn(torch.ones(16, 24)), weighed(Rectangle((0, 0, 1, 1)), 2.5)):
        found, want = regional(never, [(whole, of(2.0))])(X, T), of(2.0)(X, T)
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(found, want, strict=True))


def test_no_region_and_regions_that_count_nowhere_are_the_picture():
    assert regional(never, []) is never
    for nowhere in (weighed(LEFT, 0.0), Drawn(torch.zeros(16, 24))):
        assert torch.equal(regional(of(2.0), [(nowhere, never)])(X, T).x0, of(2.0)(X, T).x0)


def test_each_place_has_the_estimate_of_its_region_and_the_rest_that_of_the_picture():
    corner = Rectangle((0, 0, 0.5, 0.25))
    found, rest = regional(of(2.0), [(corner, of(-1.0))])(X, T).x0, of(2.0)(X, T).x0
    assert torch.equal(found[..., :2, :6], of(-1.0)(X, T).x0[..., :2, :6])
    assert torch.equal(found[..., 2:, :], rest[..., 2:, :]) and torch.equal(found[..., 6:], rest[..., 6:])
    both = regional(never, [(LEFT, of(-1.0)), (RIGHT, of(3.0))])(X, T).x0
    assert torch.equal(both, torch.cat([of(-1.0)(X, T).x0[..., :6], of(3.0)(X, T).x0[..., 6:]], -1))


def test_regions_of_the_same_words_are_the_picture_whatever_their_places_and_weights():
    parts = [
        (Rectangle((0.1, 0.2, 0.7, 0.9), 0.3), of(2.0)),
        (weighed(LEFT, 0.4), of(2.0)),
        (weighed(RIGHT, 3), of(2.0)),
    ]
    torch.testing.assert_close(regional(of(2.0), parts)(X, T), of(2.0)(X, T), rtol=1e-6, atol=1e-6)


def test_weights_say_how_regions_share_a_place_and_the_picture_what_they_leave():
    whole = Rectangle((0, 0, 1, 1))
    a, b, rest = (of(value)(X, T).x0 for value in (-1.0, 3.0, 2.0))
    three = regional(of(2.0), [(weighed(whole, 3.0), of(-1.0)), (weighed(whole, 1.0), of(3.0))])(X, T).x0
    torch.testing.assert_close(three, 0.75 * a + 0.25 * b)
    part = regional(of(2.0), [(weighed(whole, 0.25), of(-1.0))])(X, T).x0
    torch.testing.assert_close(part, 0.25 * a + 0.75 * rest)


@pytest.mark.parametrize("soft", [0.0, 0.1, 0.5])
def test_rectangles_that_part_a_picture_count_as_one_everywhere(soft):
    cuts = (0, 0.3, 0.8, 1)
    every = [Rectangle((a, u, b, v), soft) for a, b in itertools.pairwise(cuts) for u, v in ((0, 0.45), (0.45, 1))]
    for size in ((8, 12), (5, 7), (16, 16)):
        torch.testing.assert_close(sum(one(*size) for one in every), torch.ones(size))


def test_of_a_cell_that_a_rectangle_parts_its_part_counts():
    torch.testing.assert_close(Rectangle((0, 0, 0.375, 1))(1, 4), torch.tensor([[1.0, 0.5, 0, 0]]))
    torch.testing.assert_close(Drawn(torch.tensor([[1.0, 1, 1, 0]]))(1, 2), torch.tensor([[1.0, 0.5]]))


def test_a_region_by_itself_sees_its_box_as_a_picture_with_what_lies_over_it():
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def denoiser(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        assert cond.concat is not None
        seen.append((x, cond.concat, cond.maps["hint"]))
        return Denoised(x * 2)

    hint = torch.arange(16.0 * 24, dtype=DOUBLE).view(1, 1, 16, 24).expand(2, -1, -1, -1)
    cond = Conditioning(tokens=words(2.0).tokens.expand(2, -1, -1), concat=X[:, :1], maps={"hint": hint})
    found = within(denoiser, RIGHT, 2)(X, T, cond)
    ((x, concat, cut),) = seen
    assert torch.equal(x, X[..., 4:]) and torch.equal(concat, X[:, :1, :, 4:]) and torch.equal(cut, hint[..., 8:])
    assert torch.equal(found.x0[..., 4:], 2 * X[..., 4:]) and not found.x0[..., :4].any()


def test_a_box_lies_around_what_counts_in_whole_multiples_and_is_never_tiny():
    def at(rows: slice, columns: slice, size: tuple[int, int] = (32, 48)) -> Tensor:
        shares = torch.zeros(size)
        shares[rows, columns] = 0.01
        return shares

    assert around(torch.zeros(8, 8)) is None
    assert around(at(slice(3, 20), slice(9, 30)), 2) == (8, 2, 30, 20)
    assert around(at(slice(31, 32), slice(0, 1)), 2) == (0, 24, 8, 32)
    assert around(at(slice(1, 2), slice(1, 2), (3, 3))) == (0, 0, 3, 3)


def test_a_region_over_all_sees_what_the_picture_sees():
    whole = within(net, Rectangle((0, 0, 1, 1)), 2)
    assert torch.equal(whole(X, T, words(2.0)).x0, net(X, T, words(2.0)).x0)
