"""Laws of pictures as curves: drawn again they are nearly the picture, at any size, and they carry the record."""

import io
import math
import os

import numpy as np
import pytest
import resvg_py
from PIL import Image, ImageDraw

import danqing
from danqing.cli import app
from danqing.errors import InvalidFile
from danqing.pictures import encode, svg
from danqing.pictures.carried import carried_by
from danqing.request.request import Request
from danqing.store.inspect import describe


def drawing(ground):
    """A flat drawing of 96 × 64, in smooth lines."""
    large = Image.new("RGBA", (768, 512), ground)
    draw = ImageDraw.Draw(large)
    draw.ellipse((80, 60, 480, 460), fill=(220, 40, 30, 255))
    draw.polygon([(420, 420), (560, 80), (700, 420)], fill=(20, 90, 200, 255))
    return large.resize((96, 64), Image.Resampling.BOX)


def drawn(text, **options):
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text.decode(), **options)))).convert("RGBA")


def decibels(a, b):
    return -10 * math.log10(np.mean((np.asarray(a, float) / 255 - np.asarray(b, float) / 255) ** 2))


def test_a_drawing_comes_back_from_its_curves_and_what_is_transparent_stays_so():
    for ground in ((255, 255, 255, 255), (0, 0, 0, 0)):
        image = drawing(ground)
        back = drawn(svg.traced(image, "{}", encode.NAMESPACE))
        assert back.size == image.size
        white = Image.new("RGBA", image.size, "white")
        assert decibels(*(Image.alpha_composite(white, each).convert("RGB") for each in (image, back))) > 22
        assert back.getpixel((0, 0))[3] == ground[3]


def test_curves_have_no_size_of_their_own():
    text = svg.traced(drawing((255, 255, 255, 255)), "{}", encode.NAMESPACE)
    large = drawn(text, width=384, height=256)
    assert large.size == (384, 256) and large.getpixel((120, 120)) == drawn(text).getpixel((30, 30)) != large.getpixel(
        (0, 0)
    )


def test_a_file_of_curves_carries_the_record_whatever_is_in_it_and_is_not_replayed(painter, tmp_path):
    prompt = "a \"fox\" & <b>一只狐狸</b> danqing:record='x'"
    picture = painter.paint(Request(model=painter.model.source, prompt=prompt, seed=1))
    path = picture.save(tmp_path / "fox.svg")
    assert Request(**carried_by(path).record["request"]) == picture.request and carried_by(path).format == "SVG"
    assert describe(path)["is"] == "an SVG drawing" and describe(path)["request"]["prompt"] == prompt
    with pytest.raises(InvalidFile, match="holds curves"):
        danqing.replay(path)
    assert picture.save(tmp_path / "fox.svg").name == "fox-2.svg"


def test_paint_writes_curves_beside_or_alone(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    app.main(["paint", "a fox", "--model", str(tiny), "--seed", "1", "-o", "x.png", "--svg"])
    app.main(["paint", "a fox", "--model", str(tiny), "--seed", "1", "-o", "y.svg"])
    app.main(["paint", "a fox", "--model", str(tiny), "--seed", "1", "-o", "z.svg", "--svg"])
    written = ["x.png", "x.svg", "y.svg", "z.svg"]
    assert capsys.readouterr().out.split() == written == sorted(os.listdir())
