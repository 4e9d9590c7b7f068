"""Laws of colours by measurement."""

import colorsys

import numpy as np
import pytest

from danqing.measure import colours

PURE = {"red": (220, 30, 30), "orange": (250, 140, 20), "yellow": (250, 220, 30), "green": (40, 160, 60),
        "teal": (20, 150, 150), "blue": (30, 80, 220), "purple": (130, 50, 180), "pink": (250, 150, 190),
        "brown": (120, 70, 30), "white": (255, 255, 255), "grey": (128, 128, 128), "black": (5, 5, 5)}  # fmt: skip


@pytest.mark.parametrize("name", PURE)
def test_what_everyone_calls_so_is_called_so(name):
    assert list(colours.NAMES)[colours.named(np.array(PURE[name]))] == name


def test_greys_have_no_chroma_and_lightness_rises():
    lightness, chroma, _ = colours.oklch(np.repeat(np.arange(256)[:, None], 3, 1))
    assert chroma.max() < 1e-4 and (np.diff(lightness) > 0).all()
    assert lightness[0] == pytest.approx(0, abs=1e-6) and lightness[-1] == pytest.approx(1, abs=1e-4)


def test_all_the_way_around_the_hues_no_name_comes_twice():
    wheel = [colorsys.hsv_to_rgb(h / 360, 0.9, 0.85) for h in range(360)]
    names = [int(n) for n in colours.named((np.array(wheel) * 255).astype(np.uint8))]
    runs = [n for i, n in enumerate(names) if n != names[i - 1]]
    assert len(runs) == len(set(runs)) >= 7


def test_shares_add_up_and_count_by_weight():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:, :1], picture[:, 1:] = PURE["red"], PURE["blue"]
    even, left = np.ones((4, 4)), np.ones((4, 4))
    left[:, 1:] = 0
    assert colours.shares(picture, even).sum() == pytest.approx(1)
    assert colours.dominant(picture, even) == ["blue", "red"] and colours.dominant(picture, left) == ["red"]
    assert colours.shares(picture, np.zeros((4, 4))).sum() == 0 and colours.dominant(picture, np.zeros((4, 4))) == []
