"""Image prompts whose pictures have a share in what a model of ours drafts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painting.test_own_tower import CONFIG, bits_stay, model, paint, random, same, shipped

import danqing
from danqing.errors import InvalidFile
from danqing.nets.ip_adapter import IPAdapter
from danqing.painting.load import load as load_model
from danqing.request.request import Request
from danqing.weights.load import load, save

__all__ = ["model", "paint", "shipped"]  # fixtures
DRAWN = replace(CONFIG, drawn=4)
Paint = Callable[..., danqing.Picture]


@pytest.fixture(autouse=True)
def drawn(shipped: Path) -> IPAdapter:
    """An adapter that says nothing of a picture but its draft, in the place of the one that a package brings."""
    return only_draft(shipped / "ipadapter" / "ours.safetensors")


def only_draft(path: Path, channels: int = 4) -> IPAdapter:
    net: Any = random(IPAdapter(replace(DRAWN, drawn=channels)))
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "drawn" not in name:
                value.zero_()
    save(net, path)
    return net


def away(a: danqing.Picture, b: danqing.Picture) -> float:
    """How far two pictures are from each other, in levels."""
    return float(np.abs(np.asarray(a.image, float) - np.asarray(b.image, float)).mean())


def test_the_draft_acts_by_its_weight_and_leaves_no_trace(paint: Paint) -> None:
    plain = paint()
    pictures = [paint("fox.png"), paint("fox.png:0.5"), paint("cat.png"), paint("fox.png", "cat.png")]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert not any(picture.warnings for picture in pictures)
    assert same(paint("fox.png:0"), plain) and same(paint(), plain)


def test_the_less_a_picture_weighs_the_more_the_text_decides(paint: Paint) -> None:
    plain = paint()
    distances = [away(paint(f"fox.png:{weight}"), plain) for weight in (0.01, 0.1, 0.4, 1)]
    assert distances == sorted(distances) and distances[0] < 0.2 * distances[-1]


def test_the_text_decides_nothing_of_the_draft_where_pictures_weigh_all(paint: Paint) -> None:
    assert same(paint("fox.png:1"), paint("fox.png:7"))


def test_pictures_may_be_given_in_any_order_and_half_twice_is_once(paint: Paint) -> None:
    assert same(paint("fox.png:0.7", "cat.png:0.6"), paint("cat.png:0.6", "fox.png:0.7"))
    assert away(paint("fox.png:0.5", "fox.png:0.5"), paint("fox.png")) < 0.01


def test_a_picture_counts_where_its_mask_is_white(paint: Paint) -> None:
    half = np.zeros((32, 32), np.uint8)
    half[:, :16] = 255
    Image.fromarray(half).save("left.png")
    for name, level in (("white.png", 255), ("black.png", 0)):
        Image.new("L", (32, 32), level).save(name)
    whole, plain, left = paint("fox.png"), paint(), paint("fox.png,mask=left.png")
    assert same(paint("fox.png,mask=white.png"), whole) and same(paint("fox.png,mask=black.png"), plain)
    assert not same(left, whole) and not same(left, plain)


def test_it_counts_within_its_times_alone(paint: Paint) -> None:
    whole, plain = paint("fox.png"), paint()
    parts = paint("fox.png,to=0.5"), paint("fox.png,from=0.5")
    assert len({picture.image.tobytes() for picture in (whole, plain, *parts)}) == 4
    none = paint("fox.png,from=0.1,to=0.2")
    assert same(none, plain) and none.warnings == (
        "an image prompt changes nothing: none of 2 steps lies in its times.",
    )


def test_guidance_leads_away_from_the_draft_of_a_negative_picture(paint: Paint) -> None:
    assert not same(paint("fox.png,negative=cat.png"), paint("fox.png"))
    assert same(paint("fox.png,negative=cat.png", scale=1), paint("fox.png", scale=1))


def test_a_picture_in_the_ratio_that_is_painted_is_not_made_square(paint: Paint) -> None:
    tall = Image.open("wide.png").rotate(90, expand=True)
    tall.save("tall.png")
    edges = np.asarray(tall).copy()
    edges[:8] = edges[-8:] = 0
    Image.fromarray(edges).save("ends.png")
    size = {"width": 64, "height": 128}
    assert same(paint("tall.png,fit=crop", **size), paint("tall.png", **size))
    assert not same(paint("ends.png,fit=crop", **size), paint("tall.png,fit=crop", **size))
    assert same(paint("ends.png,fit=crop"), paint("tall.png,fit=crop"))  # whose middle square is painted


def test_a_larger_picture_is_drafted_whole_and_painted_in_tiles(paint: Paint) -> None:
    size = {"width": 256, "height": 128, "tile": 128}
    assert not same(paint("fox.png", **size), paint(**size))


def test_what_is_painted_is_painted_again_from_its_record(paint: Paint, tmp_path: Path) -> None:
    path = paint("fox.png:0.7,to=0.9", "cat.png:0.2").save(tmp_path / "painted.png")
    assert danqing.replay(path).exact


def test_pictures_of_a_batch_are_those_painted_alone(model: Path) -> None:
    requests = [
        Request(prompt="a fox", model=str(model), seed=1, index=i, steps=2, image_prompts="fox.png", precision="fp32")
        for i in (0, 1)
    ]
    several = [picture.image.tobytes() for picture in danqing.paint_all(requests)]
    assert several == [next(danqing.paint_all([request])).image.tobytes() for request in requests]


def test_a_hundred_times_on_and_off_leave_every_bit(model: Path) -> None:
    assert bits_stay(model, Request(prompt="a fox", seed=1, image_prompts="fox.png"))
    painter: Any = load_model(model, "cpu", "fp32")
    assert not painter.denoiser.net.shares


def test_a_file_says_by_its_shapes_whether_it_makes_drafts(shipped: Path, drawn: IPAdapter) -> None:
    net = load(shipped / "ipadapter" / "ours.safetensors")
    assert isinstance(net, IPAdapter) and net.config == DRAWN
    latent = torch.randn(2, 4, 16, 16)
    fresh, plain = IPAdapter(DRAWN).image_proj, IPAdapter(CONFIG).image_proj
    torch.testing.assert_close(fresh.draft(latent), latent)
    assert plain.draft(latent) is None


def test_an_adapter_that_makes_drafts_of_other_latents_is_not_offered(paint: Paint, shipped: Path) -> None:
    only_draft(shipped / "ipadapter" / "ours.safetensors", channels=3)
    with pytest.raises(InvalidFile, match="of ours none fits drafted"):
        paint("fox.png")
