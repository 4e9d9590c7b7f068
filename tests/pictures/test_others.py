"""What we write is read by others, and what others write is read here."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import piexif
import piexif.helper
import pytest
import resvg_py
from PIL import Image
from sd_parsers import ParserManager

from danqing.pictures import encode, read
from danqing.pictures.picture import Picture
from danqing.request import infotext
from danqing.request.request import Request

PROMPT, NEGATIVE = "a red fox, 一只红色的狐狸 (sharp:1.2)", "blurry, 雾"


def blocks(size=64):
    """Large areas of few colours, which no encoder changes by much."""
    levels = np.zeros((size, size, 3), np.uint8)
    levels[: size // 2, : size // 2] = (200, 40, 90)
    levels[size // 2 :, size // 2 :] = (20, 180, 60)
    return levels


def painted(frames=1):
    """A picture with its record; of several frames each is another."""
    request = Request(prompt=PROMPT, negative=NEGATIVE, seed=3, steps=7, solver="dpmpp-2m").resolve()
    images = tuple(Image.fromarray(np.roll(blocks(), 8 * k, 0)) for k in range(frames))
    return Picture(frames=images, request=request, record={"danqing": "0", "sha256": "ab" * 32})


def near(found, wanted, most):
    assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).mean() <= most


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_opencv_sees_our_pixels(tmp_path, suffix):
    path = painted().save(tmp_path / f"x{suffix}")
    near(cv2.imread(str(path))[..., ::-1], blocks(), 0 if suffix == ".png" else 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_parser_of_other_tools_finds_prompts_and_settings(tmp_path, suffix):
    found = ParserManager().parse(painted().save(tmp_path / f"x{suffix}"))
    assert found is not None
    assert [text.value for text in found.prompts] == [PROMPT]
    assert [text.value for text in found.negative_prompts] == [NEGATIVE]
    sampler = found.samplers[0]
    assert (sampler.name, sampler.parameters["steps"], sampler.parameters["seed"]) == ("DPM++ 2M", "7", "3")


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_the_exif_reader_of_other_tools_finds_the_whole_text(tmp_path, suffix):
    """piexif, by which the web UIs read and write it, takes the comment for bytes only where its type is UNDEFINED."""
    picture = painted()
    comment = piexif.load(str(picture.save(tmp_path / f"x{suffix}")))["Exif"][piexif.ExifIFD.UserComment]
    assert piexif.helper.UserComment.load(comment) == infotext.write(picture.request, picture.record)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_opencv_counts_the_frames_of_a_clip(tmp_path, suffix):
    picture = painted(frames=3)
    whole, animation = cv2.imreadanimation(str(picture.save(tmp_path / f"x{suffix}")))
    assert whole and len(animation.frames) == 3
    for found, wanted in zip(animation.frames, picture.frames, strict=True):
        near(found[..., 2::-1], np.asarray(wanted), 0 if suffix == ".png" else 3)


def test_a_drawing_is_an_svg_to_others(tmp_path):
    text = painted().save(tmp_path / "x.svg").read_text("utf-8")
    shown = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text))))
    near(np.asarray(shown.convert("RGB")), blocks(), 3)
    (said,) = (each for each in ElementTree.fromstring(text).iter() if each.tag.endswith("}danqing"))
    assert json.loads(said.attrib[f"{{{encode.NAMESPACE}}}record"])["request"]["prompt"] == PROMPT


def test_what_another_tool_wrote_into_exif_is_read_in_either_order_of_bytes(tmp_path):
    from danqing.pictures.carried import carried_by

    text = infotext.write(painted().request)
    comment = piexif.helper.UserComment.dump(text, encoding="unicode")
    swapped = comment[:8] + text.encode("utf-16-le")
    for number, each in enumerate((comment, swapped)):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(blocks()).save(path, exif=piexif.dump({"Exif": {piexif.ExifIFD.UserComment: each}}))
        assert carried_by(path).parameters == text


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp", ".gif", ".avif"])
def test_what_opencv_wrote_is_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    assert cv2.imwrite(str(path), blocks()[..., ::-1])
    near(np.asarray(read.picture(path).convert("RGB")), blocks(), 8 if suffix == ".gif" else 4)  # whose GIF is dithered


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_that_opencv_wrote_are_scaled_and_told(tmp_path, suffix, channels):
    path = tmp_path / f"x{suffix}"
    deep = blocks()[..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(path), deep if channels == 3 else deep[..., 1])
    image, told = read.whole(path)
    wanted = blocks() if channels == 3 else np.repeat(blocks()[..., 1:2], 3, 2)
    near(np.asarray(read.plain(image).convert("RGB")), wanted, 1)
    assert channels == 1 or any("16 bits" in line for line in told)


def test_floating_point_that_opencv_wrote_counts_from_nought_to_one(tmp_path):
    cv2.imwrite(str(tmp_path / "x.tiff"), (blocks()[..., 1] / 255).astype(np.float32))
    near(np.asarray(read.picture(tmp_path / "x.tiff").convert("L")), blocks()[..., 1], 1)


def test_a_phones_heic_is_read():
    image = read.picture(Path(__file__).parent / "given" / "two-colours.heic")  # written by libheif
    assert image.size == (16, 16)
    assert np.abs(np.subtract(image.getpixel((2, 2)), (200, 40, 90))).max() < 8
    assert np.abs(np.subtract(image.getpixel((13, 13)), (20, 180, 60))).max() < 8


def test_a_png_that_resvg_made_is_read(tmp_path):
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8" fill="#c8285a"/></svg>'
    )
    (tmp_path / "x.png").write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=drawn)))
    assert read.picture(tmp_path / "x.png").convert("RGB").getpixel((3, 3)) == (200, 40, 90)


def test_a_text_or_profile_of_megabytes_costs_neither_the_pixels_nor_the_record(tmp_path):
    """Pillow ends at a megabyte of unpacked text, pixels and all; workflows and printers' profiles are larger."""
    from PIL import PngImagePlugin

    from danqing.pictures.carried import carried_by

    whole = painted().save(tmp_path / "x.png").read_bytes()
    image, extra = Image.fromarray(blocks()), PngImagePlugin.PngInfo()
    extra.add_text("workflow", "x" * 3_000_000, zip=True)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=extra, icc_profile=bytes(2_000_000))
    head = file.getvalue()
    ours = whole[33 : whole.index(b"IDAT") - 4]  # our texts, behind the header
    (tmp_path / "y.png").write_bytes(head[:33] + ours + head[33:])
    found, _ = read.whole(tmp_path / "y.png")
    near(np.asarray(found.convert("RGB")), blocks(), 0)
    assert len(found.info["icc_profile"]) == 2_000_000
    carried = carried_by(tmp_path / "y.png")
    assert carried.record is not None and re.match("a red fox", carried.parameters or "")
