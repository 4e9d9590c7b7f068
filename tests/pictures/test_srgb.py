"""Laws of colour profiles: what is painted over is seen as its profile says, and sRGB is left alone."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from danqing.pictures import read
from danqing.pictures.srgb import converted

#: The primaries of sRGB, adapted to the white of profiles (D50), as XYZ.
RED, GREEN, BLUE = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def s15(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(red, green, blue, gamma):
    """A display's profile of three primaries and a gamma (ICC.1:2001-04, section 6.3.1.2)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {
        b"desc": text,
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + s15(0.9642, 1.0, 0.8249),
        **{
            name: b"XYZ " + bytes(4) + s15(*p)
            for name, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), (red, green, blue), strict=True)
        },
        **{name: curve for name in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, body, begin = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", begin + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s12s4s", begin + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(128 - len(head) - 60) + s15(0.9642, 1.0, 0.8249) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


SWAPPED = profile(GREEN, RED, BLUE, 2.2)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def image():
    levels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    return Image.fromarray(levels)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_a_profile_whose_red_is_green_has_red_and_green_exchanged(tmp_path, suffix):
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image.save(tmp_path / f"x{suffix}", icc_profile=SWAPPED, **({"lossless": True} if suffix == ".webp" else {}))
    pixel = read.picture(tmp_path / f"x{suffix}").getpixel((0, 0))
    assert np.abs(np.array(pixel) - (0, 255, 0)).max() <= 3


@pytest.mark.parametrize("given", [None, SRGB, profile(RED, GREEN, BLUE, 2.2)[:200], b"no profile"])
def test_without_a_profile_and_with_srgb_or_a_damaged_one_every_level_stays(tmp_path, image, given):
    image.save(tmp_path / "x.png", **({} if given is None else {"icc_profile": given}))
    assert np.array_equal(np.asarray(read.picture(tmp_path / "x.png")), np.asarray(image))


def test_a_darker_gamma_is_darkened_and_white_and_black_stay():
    image = Image.fromarray(np.array([[[0] * 3, [128] * 3, [255] * 3]], np.uint8))
    image.info["icc_profile"] = profile(RED, GREEN, BLUE, 3.0)
    found = np.asarray(converted(image))[0, :, 0]
    assert found[0] == 0 and found[2] == 255 and found[1] < 115


def test_transparency_stays(image):
    image.putalpha(Image.fromarray(np.arange(63, dtype=np.uint8).reshape(9, 7)))
    image.info["icc_profile"] = SWAPPED
    found = converted(image)
    assert found.mode == "RGBA" and found.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert "icc_profile" not in found.info


def test_a_palette_is_converted_by_its_colours(tmp_path):
    image = Image.new("RGB", (4, 4), (0, 255, 0)).convert("P")
    image.save(tmp_path / "x.png", icc_profile=SWAPPED)
    assert read.picture(tmp_path / "x.png").getpixel((0, 0))[0] > 250


def test_a_mask_is_read_as_it_is_stored(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).convert("RGB").save(tmp_path / "m.png", icc_profile=profile(RED, GREEN, BLUE, 3.0))
    found = read.mask(str(tmp_path / "m.png"), Image.new("RGB", (16, 16)))
    assert np.array_equal(np.asarray(found), levels)
