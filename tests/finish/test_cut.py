"""Laws of cutting out: a known shape comes back from any background, and goes back onto it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from danqing.errors import InvalidInput
from danqing.finish.cut import CutOut, fitted
from danqing.finish.records import finishing

SIDE = 96
Y, X = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
FLAT = np.ones((SIDE, SIDE, 1))
GROUNDS: dict[str, NDArray[Any]] = {
    "white": FLAT * 255,
    "black": FLAT * 0 * np.ones(3),
    "blue": FLAT * (90, 140, 220),
    "linear": 150 + X[..., None] * (60, -40, 0) + Y[..., None] * (20, 50, -90),
    "round": 235 - (X**2 + Y**2)[..., None] * (10, 50, 40),
}
GROUNDS["white"] = GROUNDS["white"] * np.ones(3)


def shape() -> NDArray[Any]:
    """(SIDE, SIDE, 4) in levels: a red disc within a dark ring, an eye of white in it, drawn 8 times as large and
    averaged."""
    y, x = np.mgrid[-1 : 1 : SIDE * 8j, -1 : 1 : SIDE * 8j]
    radius, eye = np.hypot(x - 0.1, y + 0.05), np.hypot(x, y)
    colour = np.where((radius < 0.5)[..., None], (220, 40, 30), (60, 20, 90))
    colour = np.where((eye < 0.15)[..., None], 255, colour)
    cover = (radius < 0.6)[..., None] * 1.0
    alpha, mass = ((part).reshape(SIDE, 8, SIDE, 8, -1).mean((1, 3)) for part in (cover, cover * colour))
    return np.concatenate([mass / np.maximum(alpha, 1e-9), 255 * alpha], -1)


def over(drawing: NDArray[Any], ground: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 4) in levels laid on (H, W, 3)."""
    alpha = drawing[..., 3:] / 255
    return np.rint(alpha * drawing[..., :3] + (1 - alpha) * ground).astype(np.uint8)


@pytest.mark.parametrize("name", GROUNDS)
def test_a_shape_comes_back_from_its_background_and_goes_back_onto_it(name: str) -> None:
    drawing, ground = shape(), GROUNDS[name]
    picture = over(drawing, ground)
    cut, said = CutOut().with_warnings(picture)
    assert said == () and cut.shape == (SIDE, SIDE, 4)
    rim = (drawing[..., 3] > 0) & (drawing[..., 3] < 255)
    error = np.abs(cut[..., 3] - drawing[..., 3])
    assert error[~rim].max() <= 8 and error[rim].mean() < 4 and error.max() < 40
    seen = drawing[..., 3] > 32
    assert np.abs(cut[..., :3] - drawing[..., :3])[seen].mean() < 3
    assert np.abs(over(cut.astype(float), ground).astype(int) - picture).max() <= 2


def test_the_background_is_found_past_what_lies_across_the_border() -> None:
    for ground in GROUNDS.values():
        picture = ground / 255
        picture[60:, 20:90] = (0.9, 0.1, 0.5)  # a body that goes on below
        found, share = fitted(picture.astype(np.float32), 0.06)
        assert 0.75 < share < 0.85 and np.abs(found - ground / 255).max() < 0.01


def test_over_any_other_background_no_rim_of_the_old_one_shows() -> None:
    drawing = shape()
    for old in GROUNDS.values():
        cut = CutOut()(over(drawing, old)).astype(float)
        for new in GROUNDS.values():
            assert np.abs(over(cut, new).astype(int) - over(drawing, new)).mean() < 0.5


def test_what_is_enclosed_stays_whatever_its_colour() -> None:
    cut = CutOut()(over(shape(), GROUNDS["white"]))
    assert (cut[np.hypot(X, Y) < 0.1] == 255).all()


@pytest.mark.parametrize("name", GROUNDS)
def test_cutting_out_again_changes_nothing_and_says_so(name: str) -> None:
    cut = CutOut()(over(shape(), GROUNDS[name]))
    again, said = CutOut().with_warnings(cut)
    assert (again == cut).all() and "already" in said[0]


@pytest.mark.parametrize("axes", [0, 1, (0, 1)])
@pytest.mark.parametrize("name", GROUNDS)
def test_a_mirrored_picture_gives_the_mirrored_cut(name: str, axes: Any) -> None:
    picture = over(shape(), GROUNDS[name])
    one, other = np.flip(CutOut()(picture), axes).astype(int), CutOut()(np.flip(picture, axes)).astype(int)
    seen = one[..., 3] > 0
    assert np.abs(one - other)[..., 3].max() <= 1
    assert (np.abs(one - other)[..., :3] * one[..., 3:] / 255)[seen].max() <= 1.5


def test_inside_no_byte_changes_and_a_hole_stays_a_hole() -> None:
    picture = np.dstack([over(shape(), GROUNDS["white"]), np.full((SIDE, SIDE), 255, np.uint8)])
    picture[40:44, 50:60, 3] = (np.arange(10) * 20).astype(np.uint8)
    cut = CutOut()(picture)
    inside = (shape()[..., 3] == 255) & (np.hypot(X - 0.1, Y + 0.05) < 0.5)
    kept = inside & (picture[..., 3] > 0)
    assert (cut[..., 3] == picture[..., 3])[inside].all() and (cut == picture)[kept].all()


def test_each_kind_of_picture_stays_its_kind_with_transparency() -> None:
    picture = over(shape(), GROUNDS["blue"])
    deep = CutOut()(picture.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16 and np.abs(deep[..., 3] / 257 - CutOut()(picture)[..., 3]).max() <= 1
    grey = picture[..., 1]
    assert CutOut()(grey).shape == (SIDE, SIDE, 2)
    assert [CutOut()(Image.fromarray(levels)).mode for levels in (picture, grey)] == ["RGBA", "LA"]


def test_what_has_no_single_background_or_nothing_on_it_stays_and_is_told() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    plain = np.full((40, 50, 3), 200, np.uint8)
    for picture, why in ((noise, "of the border"), (plain, "all of the picture")):
        same, said = CutOut().with_warnings(picture)
        assert same is picture and len(said) == 1 and why in said[0]


def test_more_tolerance_takes_more() -> None:
    picture = over(shape(), GROUNDS["white"])
    picture[10:20, 10:40] = 235  # a pale shadow
    taken = [(CutOut(tolerance=tolerance)(picture)[..., 3] == 0).sum() for tolerance in (0.02, 0.06, 0.12)]
    assert taken == sorted(taken) and taken[-1] - taken[0] >= 250


def test_the_record_makes_the_same_cut_and_refuses_what_is_none() -> None:
    picture = Image.fromarray(over(shape(), GROUNDS["linear"]))
    assert finishing("cut-out", tolerance=0.1).make()(picture).tobytes() == CutOut(tolerance=0.1)(picture).tobytes()
    with pytest.raises(InvalidInput, match="0 to 1"):
        CutOut(tolerance=2)
