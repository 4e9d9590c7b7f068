"""Laws of depth: what the shipped network says of shapes whose depth is known, whatever their size; and of normals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from experiments.depth import rendered
from numpy.typing import NDArray
from PIL import Image

from danqing.errors import InvalidInput
from danqing.hint.depth import Nearness
from danqing.hint.records import HINTS
from danqing.nets.restorer import MINI, Restorer
from danqing.painting.adapters.hinting import hinted

Array = NDArray[np.floating[Any]]


def said(picture: Image.Image, kind: str = "depth") -> Array:
    return np.asarray(hinted(picture, kind), float)[..., 0] / 255


def image(colours: Array) -> Image.Image:
    return Image.fromarray((255 * colours).astype(np.uint8))


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Array, Array]]:
    return [rendered(key, 192) for key in range(8)]


def test_what_is_nearer_is_lighter_in_renders_that_are_in_no_training(scenes: list[tuple[Array, Array]]) -> None:
    pairs = [(said(image(colours)), near) for colours, near in scenes]
    assert np.mean([np.abs(ours - near).mean() for ours, near in pairs]) < 0.12
    assert np.mean([np.corrcoef(ours.ravel(), near.ravel())[0, 1] for ours, near in pairs]) > 0.85


def test_the_depth_of_a_larger_picture_is_the_larger_depth(scenes: list[tuple[Array, Array]]) -> None:
    for colours, _ in scenes[:3]:
        small = image(colours)
        large = small.resize((384, 384), Image.Resampling.BICUBIC)
        halved = np.asarray(Image.fromarray(said(large)).resize(small.size, Image.Resampling.BOX))
        assert np.abs(halved - said(small)).mean() < 0.02


def test_a_picture_of_depth_is_read_as_it_is() -> None:
    ramp = Image.fromarray(np.arange(0, 256, dtype=np.uint8)[None].repeat(64, 0)).convert("RGB")
    assert hinted(ramp, "depth:model=given").tobytes() == ramp.tobytes()


def test_the_normals_of_a_ball_are_those_of_geometry() -> None:
    side, radius = 257, 100
    x, y = np.meshgrid(np.arange(side) - side // 2, np.arange(side) - side // 2)
    height = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    near = image((height / radius)[..., None].repeat(3, 2))
    n = np.asarray(hinted(near, f"normal:model=given:relief={radius / side}"), float) / 127.5 - 1
    inside = np.hypot(x, y) < 0.7 * radius
    truth = np.stack([-x, -y, height], -1) / radius  # red to the left, green upwards, blue to the front
    assert np.abs(n - truth)[inside].max() < 0.1 and np.abs(n - truth)[inside].mean() < 0.02


def test_another_network_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Restorer does not say how near things are"):
        Nearness(Restorer(MINI))
    with pytest.raises(InvalidInput, match="depth runs a network: make it with a function that loads one"):
        HINTS["depth"]().make()
