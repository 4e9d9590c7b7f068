"""Laws of painting around a picture: what was given keeps its bytes, what is new lies around it, and it can be painted
again."""

import os

import numpy as np
import pytest
from PIL import Image

import danqing
from danqing.cli import app
from danqing.errors import InvalidInput
from danqing.painting.recipes.masks import grown
from danqing.pictures.carried import recorded
from danqing.request.request import Request


def around(picture, *extend, **options):
    return Request(recipe="outpaint", image=str(picture), prompt="a red fox", seed=1, extend=extend, **options)


def test_the_canvas_is_the_picture_with_its_edge_going_on_and_the_mask_is_what_is_new():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8))
    canvas, mask = grown(picture, (1, 2, 3, 0))
    assert canvas.size == mask.size == (8, 7) and canvas.crop((1, 2, 5, 7)).tobytes() == picture.tobytes()
    assert not np.asarray(mask)[2:, 1:5].any() and np.asarray(mask).sum() == 255 * (56 - 20)
    assert canvas.getpixel((0, 0)) == picture.getpixel((0, 0)) and canvas.getpixel((7, 6)) == picture.getpixel((3, 4))


@pytest.mark.parametrize(
    "extend", [(8, 0, 0, 0), (0, 8, 0, 0), (0, 0, 16, 0), (0, 0, 0, 8), (8, 8, 8, 8), (3, 1, 2, 5)]
)
def test_the_picture_keeps_its_bytes_and_grows_to_each_side(painter, picture, extend):
    given, (left, top, right, bottom) = Image.open(picture), extend
    found = painter.paint(around(picture, *extend)).image
    assert found.size == (32 + left + right, 32 + top + bottom)
    assert found.crop((left, top, left + 32, top + 32)).tobytes() == given.tobytes()
    assert found.tobytes() != grown(given, extend)[0].tobytes()


def test_a_picture_keeps_its_transparency_and_what_is_new_is_opaque(painter, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    Image.fromarray(levels).save(tmp_path / "clear.png")
    found = np.asarray(painter.paint(around(tmp_path / "clear.png", 0, 0, 8, 0)).image)
    assert (found[:, :32] == levels).all() and (found[:, 32:, 3] == 255).all()


def test_a_soft_rim_lies_within_what_is_new(painter, picture):
    sharp, soft = (np.asarray(painter.paint(around(picture, 0, 0, 16, 0, mask_blur=rim)).image) for rim in (0, 4))
    assert (
        (sharp[:, :32] == soft[:, :32]).all()
        and (sharp[:, 32:36] != soft[:, 32:36]).any()
        and (sharp[:, 36:] == soft[:, 36:]).all()
    )


def test_it_is_inpainting_of_the_larger_canvas(painter, picture, tmp_path):
    canvas, mask = grown(Image.open(picture), (0, 8, 8, 0))
    canvas.save(tmp_path / "canvas.png")
    mask.save(tmp_path / "mask.png")
    within = Request(
        recipe="inpaint",
        image=str(tmp_path / "canvas.png"),
        mask=str(tmp_path / "mask.png"),
        prompt="a red fox",
        seed=1,
    )
    assert painter.paint(within).image.tobytes() == painter.paint(around(picture, 0, 8, 8, 0)).image.tobytes()


def test_it_replays(painter, picture, tiny, tmp_path):
    path = painter.paint(around(picture, 8, 0, 0, 8, model=str(tiny))).save(tmp_path / "around.png")
    assert danqing.replay(path).exact
    again = danqing.outpaint(
        picture, "a red fox", left=8, bottom=8, seed=1, model=str(tiny), precision="fp32", device="cpu"
    )
    assert again.image.tobytes() == Image.open(path).tobytes()


@pytest.mark.parametrize(
    ("extend", "told"),
    [
        ((0, 0, 0, 0), "no side to grow"),
        (None, "no side to grow"),
        ((-8, 0, 0, 0), "four whole numbers"),
        ((5000, 0, 0, 0), "4096"),
        ((8, 8), "four whole numbers"),
        ((4096, 4096, 4096, 4096), "64 million"),
    ],
)
def test_what_cannot_be_grown_is_refused(painter, picture, extend, told):
    with pytest.raises(InvalidInput, match=told):
        painter.paint(Request(recipe="outpaint", image=str(picture), extend=extend, width=32, height=32))


def test_other_recipes_have_no_use_for_a_margin_and_say_so(painter, picture):
    said = painter.paint(Request(recipe="image2image", image=str(picture), seed=1, extend=(8, 0, 0, 0)))
    assert "extend" in said.warnings[0] and said.image.size == (32, 32)


def test_the_command_writes_a_file_that_says_how_far_it_grew(tiny, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    app.main(
        [
            "outpaint",
            str(picture),
            "a red fox",
            "--right",
            "16",
            "--top",
            "8",
            "--model",
            str(tiny),
            "--seed",
            "1",
            "-o",
            "x.png",
        ]
    )
    assert capsys.readouterr().out == "x.png\n" and Image.open("x.png").size == (48, 40)
    assert recorded("x.png").edit.extend == (0, 8, 16, 0)
    for command, told in (
        (["--left", "-3"], "four whole numbers"),
        ([], "no side to grow"),
        (["--left", "x"], "four whole numbers"),
    ):
        with pytest.raises(SystemExit) as stop:
            app.main(["outpaint", str(picture), "--model", str(tiny), "-o", "y.png", *command])
        assert stop.value.code == 2 and told in capsys.readouterr().err and not os.path.exists("y.png")
