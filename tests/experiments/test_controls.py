"""Laws of how far a hint is followed: edges within two pixels count, whichever picture is looked at first."""

import numpy as np
import pytest
import torch
from experiments.controls import NEAR, colour_distance, edge_f1, ship
from PIL import Image

from danqing.weights import store


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


def test_what_ships_is_half_a_step_of_each_output_from_what_was_learned_in_half_of_its_bytes(tmp_path):
    torch.manual_seed(0)
    weight, bias = torch.randn(64, 32, 3, 3).bfloat16(), torch.randn(64).bfloat16()
    whole = store.write(tmp_path / "whole.safetensors", {"a.weight": weight, "a.bias": bias}, {"danqing.hint": "edges"})
    few = ship(whole, tmp_path / "there" / "few.safetensors")
    read = store.read(few)
    assert store.header(few).metadata["danqing.hint"] == "edges" and torch.equal(read["a.bias"], bias)
    step = weight.float().abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((read["a.weight"].float() - weight.float()).abs() <= 0.51 * step + 2**-8 * weight.float().abs()).all()
    assert few.stat().st_size < 0.55 * whole.stat().st_size
