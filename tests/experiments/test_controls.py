"""Laws of how far a hint is followed: edges within two pixels count, whichever picture is looked at first."""

import numpy as np
import pytest
from experiments.controls import NEAR, colour_distance, edge_f1
from PIL import Image


def line(x: int) -> Image.Image:
    levels = np.zeros((32, 32), np.uint8)
    levels[4:28, x] = 255
    return Image.fromarray(levels)


@pytest.mark.parametrize("shift", range(6))
def test_a_line_is_found_within_two_pixels_and_no_farther(shift):
    assert edge_f1(line(10), line(10 + shift)) == edge_f1(line(10 + shift), line(10)) == float(shift <= NEAR)


def test_half_of_the_lines_is_a_recall_of_a_half():
    both = Image.fromarray(np.maximum(np.asarray(line(5)), np.asarray(line(25))))
    assert edge_f1(both, line(5)) == pytest.approx(2 / 3)
    blank = Image.new("L", (32, 32))
    assert edge_f1(blank, blank) == 1 and edge_f1(blank, both) == edge_f1(both, blank) == 0


def test_colours_are_as_far_apart_as_black_and_white_at_most():
    black, white = (Image.new("RGB", (4, 4), colour) for colour in ("black", "white"))
    assert colour_distance(black, black) == 0 and colour_distance(black, white) == pytest.approx(3**0.5)
