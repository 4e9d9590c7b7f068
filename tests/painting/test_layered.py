"""Laws of scenes in layers: each thing stands where it is said to, over the whole's own background, as it is alone."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import danqing
from danqing.painting.loaded import Recipe
from danqing.painting.painter import Painter
from danqing.painting.recipes.layered import layered, scene_of
from danqing.pictures.picture import Picture
from danqing.request.request import Request, Resolved
from danqing.types import State

GROUND, SCENE = (40, 90, 200), "a red dot to the left of a green dot, on a blue background"


def dot(colour: str, ground: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    picture = Image.new("RGB", (64, 64), ground)
    ImageDraw.Draw(picture).ellipse((16, 16, 47, 47), fill=colour)
    return picture


class Sizes:
    """What a recipe asks of a painter here."""

    def __init__(self, **defaults: int):
        self.defaults = defaults


class Drawing:
    """A recipe that draws what it is asked for in two steps: what is known, dots on white where not said, or the
    whole."""

    def __init__(self, whole: Image.Image, known: Mapping[str, Image.Image]):
        self.whole, self.asked = whole, list[Resolved]()
        self.known = {**{f"a {colour} dot": dot(colour) for colour in ("red", "green")}, **known}

    def __call__(self, painter: Painter, request: Resolved) -> Iterator[State | Picture]:
        self.asked.append(request)
        for step in (1, 2):
            yield State(step=step, steps=2, t=1 - step / 2, x=torch.zeros(1), x0=torch.zeros(1))
        yield Picture(frames=(self.known.get(request.prompt, self.whole),), request=request)


def walked(
    request: Request, whole: Image.Image, known: Mapping[str, Image.Image] = {}
) -> tuple[list[State], Picture, list[Resolved]]:
    drawing = Drawing(whole, known)
    painter = cast(Painter, Sizes(width=64, height=64))
    *states, picture = layered(Recipe(run=drawing)).run(painter, request.resolve())
    return cast("list[State]", states), cast(Picture, picture), drawing.asked


def scene(**options: Any) -> Request:
    stated: dict[str, Any] = {"prompt": SCENE, "scene": "layered", "seed": 5, "steps": 2, **options}
    return Request(**stated)


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (192, 64)])
def test_each_thing_stands_in_its_place_and_elsewhere_is_the_background_of_the_whole(size):
    _, picture, asked = walked(scene(width=size[0], height=size[1]), Image.new("RGB", size, GROUND))
    pixels = np.asarray(picture.image).astype(int)
    assert picture.image.size == size and picture.warnings == ()
    nearest = np.stack([np.square(pixels - rgb).sum(-1) for rgb in ((255, 0, 0), (0, 128, 0), GROUND)]).argmin(0)
    here = {colour: np.argwhere(nearest == n) for n, colour in enumerate(("red", "green"))}
    for colour, x in (("red", 0.26), ("green", 0.74)):
        assert here[colour].mean(0)[::-1] == pytest.approx((x * size[0] - 0.5, size[1] / 2 - 0.5), abs=1)
        assert len(here[colour]) == pytest.approx(np.pi * (0.25 * 0.48 * min(size)) ** 2, rel=0.2)
    far = np.ones(size[::-1], bool)
    for colour in here.values():
        (top, left), (bottom, right) = colour.min(0) - 3, colour.max(0) + 4
        far[max(0, top) : bottom, max(0, left) : right] = False
    assert np.abs(pixels[far] - GROUND).max() <= 1
    assert [(one.prompt, one.seed, one.width, one.height) for one in asked[1:]] == [
        ("a red dot", 5, 64, 64),
        ("a green dot", 6, 64, 64),
    ]


def test_the_steps_of_all_pictures_are_counted_as_one_course():
    states, *_ = walked(scene(), Image.new("RGB", (64, 64), GROUND))
    assert [(state.step, state.steps) for state in states] == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize(("noisy", "pictures"), [("whole", 1), ("thing", 2)])
def test_where_a_background_is_not_plain_the_whole_stays_and_it_is_said_and_nothing_more_is_painted(noisy, pictures):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole, known = (noise, {}) if noisy == "whole" else (Image.new("RGB", (64, 64), GROUND), {"a red dot": noise})
    _, picture, asked = walked(scene(), whole, known)
    (why,) = picture.warnings
    assert picture.image is whole and why.startswith("the things were painted together: ") and len(asked) == pictures


@pytest.mark.parametrize(
    "options",
    [
        {"scene": "whole"}, {"prompt": "a fox"}, {"prompt": "[a cat:a dog:0.5] above a house"}, {"frames": 2},
        {"prompt": f"{SCENE} AND a fox"}, {"panorama": True}, {"regions": "left: a fox"},
    ],
)  # fmt: skip
def test_what_is_no_scene_of_its_own_is_left_to_the_recipe(options):
    states, picture, asked = walked(scene(**options), whole := Image.new("RGB", (64, 64), GROUND))
    assert len(asked) == 1 and len(states) == 2 and picture.image is whole


def test_what_is_said_of_the_background_is_said_of_the_whole_alone():
    asked = scene(prompt="a cat to the left of a tree, 3d style, on a green background").resolve()
    assert [thing.text for thing in scene_of(asked)] == ["a cat, 3d style", "a tree, 3d style"]
    asked = scene(prompt="一只狗在房子的右边，绿色背景").resolve()
    assert [thing.text for thing in scene_of(asked)] == ["一只狗", "房子"]


def test_the_default_model_paints_scenes_in_layers_and_without_is_the_whole():
    options: dict[str, Any] = {"seed": 7, "finish": (), "steps": 2}
    once, twice, whole = (danqing.paint("two dots", **options, scene=scene) for scene in (None, "layered", "whole"))
    assert once.request.composition.scene == "layered" and once.image.tobytes() == twice.image.tobytes()
    assert whole.image.tobytes() != once.image.tobytes()
