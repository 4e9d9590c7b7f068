"""Laws of things on a background: what was put there is found there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danqing.measure import pieces

SIDE = 64


def ground(first, second, down):
    """A plain background, or a gradient from one colour to another."""
    t = torch.linspace(0, 1, SIDE)
    t = t[:, None].expand(SIDE, SIDE) if down else t[None].expand(SIDE, SIDE)
    one, other = (torch.tensor(c, dtype=torch.float)[:, None, None] for c in (first, second))
    return (one + (other - one) * t).round().byte()


def laid(picture, colour, x, y, size):
    picture = picture.clone()
    top, left = round(y * SIDE - size / 2), round(x * SIDE - size / 2)
    picture[:, top : top + size, left : left + size] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return picture


COLOUR = st.tuples(*[st.integers(0, 90)] * 3)


@settings(deadline=None, max_examples=25)
@given(COLOUR, COLOUR, st.booleans(), st.integers(0, 3))
def test_as_many_things_as_were_laid_are_found_where_they_lie(first, second, down, count):
    picture, places = ground(first, second, down), [(0.25, 0.25), (0.75, 0.3), (0.4, 0.75)][:count]
    for x, y in places:
        picture = laid(picture, (255, 240, 200), x, y, 16)
    found = sorted((piece.x, piece.y) for piece in pieces.found(picture))
    assert len(found) == count
    for (x, y), (u, v) in zip(found, sorted(places), strict=True):
        assert abs(x - u) < 0.05 and abs(y - v) < 0.05


def test_a_gradient_is_background_whatever_lies_on_its_rim():
    picture = laid(ground((200, 30, 30), (20, 60, 220), False), (255, 255, 255), 0.15, 0.5, 18)
    assert int(pieces.things(picture).sum()) == 18 * 18


@pytest.mark.parametrize("relation", ["left", "right", "top", "bottom"])
def test_two_things_come_apart_where_they_meet_and_each_is_on_its_side(relation):
    picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    first, second = {
        "left": ((0.31, 0.5), (0.69, 0.5)),
        "right": ((0.69, 0.5), (0.31, 0.5)),
        "top": ((0.5, 0.31), (0.5, 0.69)),
        "bottom": ((0.5, 0.69), (0.5, 0.31)),
    }[relation]
    picture = laid(laid(picture, (200, 0, 0), *first, 24), (0, 0, 200), *second, 24)
    halves = pieces.halves(picture, relation)
    assert halves is not None
    for mask, channel in zip(halves, (0, 2), strict=True):
        own = picture[channel].eq(200)
        assert (mask & own).sum() > 0.9 * own.sum() and (mask & ~own).sum() < 0.1 * own.sum()


def test_nothing_has_no_halves_and_a_cut_out_stands_alone_on_white():
    blank = torch.full((3, SIDE, SIDE), 120, dtype=torch.uint8)
    assert pieces.halves(blank, "left") is None and pieces.found(blank) == []
    picture = laid(laid(blank, (0, 0, 0), 0.3, 0.5, 16), (255, 255, 0), 0.7, 0.5, 8)
    shown = pieces.cut_out(picture, pieces.found(picture)[0].mask, 58)
    assert shown.shape == (3, 58, 58)
    assert torch.equal(shown[:, :1], torch.full((3, 1, 58), 255, dtype=torch.uint8))
    assert shown[:, 10:48, 10:48].max() == 0


def test_cutting_out_forgets_where_a_thing_lay():
    blank = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    cuts = []
    for x, y in ((0.3, 0.4), (0.7, 0.6)):
        picture = laid(blank, (10, 120, 30), x, y, 20)
        cuts.append(pieces.cut_out(picture, pieces.found(picture)[0].mask))
    assert torch.equal(*cuts)
