"""Laws of enlarging: of tiles, ratios, transparency, and of every kind of picture."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from danqing.errors import InvalidInput
from danqing.finish.enlarge import Enlarger
from danqing.finish.pixels import Pixels, bled
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.rrdb import X1, X2, X4, RRDBNet
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact

RNG = np.random.RandomState(0)


def nearest(scale: int, channels: int = 3) -> SRVGGNetCompact:
    """A network that repeats pixels, so that every answer is known."""
    net = SRVGGNetCompact(
        replace(VIDEO, in_channels=channels, out_channels=channels, channels=2, convolutions=0, scale=scale)
    )
    for p in net.parameters():
        nn.init.zeros_(p)
    return net


def network(kind: str) -> RRDBNet | SRVGGNetCompact:
    torch.manual_seed(0)
    if kind == "compact":
        return SRVGGNetCompact(replace(VIDEO, channels=8, convolutions=4, scale=2))
    return RRDBNet(replace({"x4": X4, "x2": X2, "x1": X1}[kind], channels=8, growth=4, blocks=2))


def enlarger(net: nn.Module, scale: float | None = None, **options: Any) -> Enlarger:
    given: dict[str, Any] = {"device": "cpu", "precision": "fp32", **options}
    return Enlarger(net, scale, **given)


def noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return RNG.randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


# --- tiles


@pytest.mark.parametrize("kind", ["x4", "x2", "compact"])
def test_tiles_agree_with_the_whole_with_the_halo_that_is_measured(kind: str) -> None:
    picture = noise(100, 130, 3, dtype=np.uint16)
    whole = enlarger(network(kind), tile=160)
    tiled = enlarger(network(kind), tile=64)
    want, got = whole(picture), tiled(picture)
    assert whole.halo is None and tiled.halo is not None and tiled.halo < tiled.config.reach + 8
    assert np.abs(want.astype(float) - got).max() / 65535 <= 1e-3


@pytest.mark.parametrize("size", [(40, 50), (90, 70), (200, 333)])
def test_the_network_never_sees_more_than_a_tile(size: tuple[int, int]) -> None:
    net, seen = network("compact"), []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-2:]))
    enlarger(net, tile=64, halo=6)(noise(*size, 3))
    assert max(max(shape) for shape in seen) <= 64
    assert len(seen) >= size[0] * size[1] / 64**2


@pytest.mark.parametrize("kind", ["x4", "x2", "x1", "compact"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (7, 6)])
def test_any_size_becomes_scale_times_as_large(kind: str, size: tuple[int, int]) -> None:
    net = network(kind)
    image = enlarger(net)(Image.fromarray(noise(*size, 3)))
    assert (image.height, image.width) == (net.config.scale * size[0], net.config.scale * size[1])


def test_the_layout_in_memory_changes_at_most_a_rounding() -> None:
    picture = noise(12, 14, 3)
    first, last = (enlarger(network("x4"), channels_last=way)(picture).astype(int) for way in (False, True))
    assert np.abs(first - last).max() <= 1


# --- ratios


@pytest.mark.parametrize(("own", "scale"), [(4, 4), (2, 4), (4, 16), (2, 8)])
def test_a_power_of_the_networks_scale_is_reached_by_the_network_alone(own: int, scale: int) -> None:
    picture = noise(3, 5, 3)
    assert np.array_equal(enlarger(nearest(own), scale)(picture), picture.repeat(scale, 0).repeat(scale, 1))


@pytest.mark.parametrize("scale", [1, 1.5, 2.718, 3, 5, 16])
@pytest.mark.parametrize("own", [1, 2, 4])
def test_any_ratio_is_reached_and_even_colours_stay_even(own: int, scale: float) -> None:
    image = enlarger(nearest(own), scale)(Image.new("RGB", (7, 5), (10, 200, 77)))
    assert image.size == (round(7 * scale), round(5 * scale))
    assert image.getcolors() == [(image.width * image.height, (10, 200, 77))]


def test_any_size_is_reached() -> None:
    assert enlarger(nearest(2)).to(Image.new("RGB", (7, 5)), (33, 4)).size == (33, 4)


@pytest.mark.parametrize("scale", [0, 0.5, -2, 100, float("nan"), float("inf")])
def test_a_ratio_outside_its_domain_is_refused(scale: float) -> None:
    with pytest.raises(InvalidInput, match="a number from 1 to 16"):
        enlarger(nearest(2), scale)


# --- transparency


def test_no_colour_of_transparent_pixels_gets_into_the_visible_ones() -> None:
    """A red disc whose transparent surroundings are black stays red wherever there is anything to see."""
    y, x = np.mgrid[:24, :31] - 12
    alpha = ((x**2 + y**2 < 80) * 255).astype(np.uint8)
    picture = np.zeros((24, 31, 4), np.uint8)
    picture[alpha > 0] = (200, 30, 10, 255)
    for scale in (4, 3.3):
        image = enlarger(nearest(4), scale)(Image.fromarray(picture))
        assert image.mode == "RGBA"
        red, a = np.asarray(image)[..., :3], np.asarray(image)[..., 3]
        assert (red == (200, 30, 10)).all()
        assert a.min() == 0 and a.max() == 255


@pytest.mark.parametrize("kind", ["x4", "compact"])
def test_what_is_wholly_clear_or_opaque_around_stays_so_whatever_the_network_says(kind: str) -> None:
    net = network(kind)
    alpha = np.zeros((12, 20, 1), np.uint8)
    alpha[:, 10:] = 255
    result = enlarger(net).transparency(alpha)
    s = net.config.scale
    assert (result[:, : 9 * s] == 0).all() and (result[:, 11 * s :] == 255).all()


def test_transparency_of_one_level_is_kept_to_the_bit() -> None:
    picture = np.concatenate([noise(5, 6, 3), np.full((5, 6, 1), 93, np.uint8)], 2)
    assert (enlarger(network("x4"), 3)(picture)[..., 3] == 93).all()


def test_bled_colours_lie_between_the_visible_ones_and_the_visible_ones_stay() -> None:
    colour = noise(17, 23, 3)
    alpha = (RNG.random_sample((17, 23, 1)) < 0.05).astype(np.uint8) * 255
    seen = alpha[..., 0] > 0
    result = bled(Pixels(colour, alpha))
    assert np.array_equal(result[seen], colour[seen])
    assert (result >= colour[seen].min(0)).all() and (result <= colour[seen].max(0)).all()


# --- kinds of pictures


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        *(
            ("1", "L"),
            ("L", "L"),
            ("LA", "LA"),
            ("P", "RGB"),
            ("PA", "RGBA"),
            ("RGB", "RGB"),
            ("RGBA", "RGBA"),
            ("RGBX", "RGB"),
        ),
        *(
            ("CMYK", "RGB"),
            ("YCbCr", "RGB"),
            ("HSV", "RGB"),
            ("La", "LA"),
            ("RGBa", "RGBA"),
            ("I;16", "I;16"),
            ("I;16B", "I;16"),
        ),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_levels_is_enlarged(mode: str, wanted: str, channels: int) -> None:
    image = enlarger(nearest(2, channels))(Image.new(mode, (3, 2)))
    assert (image.mode, image.size) == (wanted, (6, 4))


def test_grey_of_16_bits_keeps_every_level() -> None:
    levels = np.arange(0, 65536, 97, dtype=np.uint16)[:600].reshape(20, 30)
    image = enlarger(nearest(2))(Image.fromarray(levels))
    assert image.mode == "I;16"
    assert np.array_equal(np.asarray(image), levels.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(enlarger(nearest(2))(levels), np.asarray(image))
    assert np.unique(np.asarray(enlarger(nearest(2), 3)(Image.fromarray(levels)))).size > 600  # Lanczos, in 16 bits too


def test_colours_of_16_bits_are_enlarged_as_arrays() -> None:
    picture = noise(4, 5, 4, dtype=np.uint16)
    result = enlarger(nearest(3))(picture)
    colours = bled(Pixels(picture[..., :3], picture[..., 3:]))
    assert result.dtype == np.uint16 and np.array_equal(result[..., :3], colours.repeat(3, 0).repeat(3, 1))


def test_grey_read_by_a_colour_network_and_colours_by_a_grey_one_are_the_same_as_by_their_own() -> None:
    grey, colours = noise(4, 5, 1), noise(4, 5, 3)
    assert np.array_equal(enlarger(nearest(2, 3))(grey), enlarger(nearest(2, 1))(grey))
    assert np.array_equal(enlarger(nearest(2, 3))(colours), enlarger(nearest(2, 1))(colours))


def test_a_turned_photograph_comes_out_upright() -> None:
    image, buffer = Image.fromarray(noise(4, 6, 3)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(buffer, "PNG", exif=exif)
    result = enlarger(nearest(2))(Image.open(buffer))
    upright = np.rot90(np.asarray(image), -1)
    assert result.getexif().get(0x0112) is None
    assert np.array_equal(np.asarray(result), upright.repeat(2, 0).repeat(2, 1))


def test_a_palette_with_a_transparent_entry_and_the_colour_profile_are_kept() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 9, 200, 30])
    image.putpixel((0, 0), 0)
    image.info.update(transparency=0, icc_profile=b"profile")
    result = enlarger(nearest(2))(image)
    assert result.mode == "RGBA" and result.info["icc_profile"] == b"profile"
    assert result.getpixel((0, 0)) == (9, 200, 30, 0) and result.getpixel((7, 7)) == (9, 200, 30, 255)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("F", (2, 2)), "mode F holds no levels"),
        (Image.new("I", (2, 2), -1), "opaque grey of 16 bits"),
        (Image.new("RGB", (0, 3)), "has no pixels"),
        (np.zeros((2, 2, 3)), "uint8 or uint16"),
        (np.zeros((2, 2, 5), np.uint8), "uint8 or uint16"),
        (np.zeros((0, 2, 3), np.uint8), "uint8 or uint16"),
    ],
)
def test_what_holds_no_levels_is_refused(picture: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        enlarger(nearest(2))(picture)


# --- networks


def test_a_network_of_another_kind_is_refused_with_what_fits() -> None:
    with torch.device("meta"):
        other = AutoencoderKL(AutoencoderKLConfig())
    with pytest.raises(InvalidInput, match="AutoencoderKL enlarges no picture.*RRDBNet or SRVGGNetCompact"):
        enlarger(other)
    with pytest.raises(InvalidInput, match="reads 4 channels"):
        enlarger(nearest(2, 4))


@pytest.mark.parametrize("options", [{"tile": 3}, {"tile": 10**6}, {"tile": 64, "halo": 32}, {"halo": -1}])
def test_tiles_outside_their_domain_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="possible are 64 to 8192"):
        enlarger(nearest(2), **options)


def test_an_answer_too_large_is_refused_before_anything_is_computed() -> None:
    net = nearest(4)
    net.register_forward_pre_hook(lambda module, args: pytest.fail("it ran"))
    with pytest.raises(InvalidInput, match="choose another size"):
        enlarger(net).to(Image.new("RGB", (10, 10)), (20000, 20000))
    with pytest.raises(InvalidInput, match="smaller first"):
        enlarger(net).to(Image.new("L", (5000, 4000)), (5000, 4000))


def test_where_half_precision_overflows_the_picture_is_made_in_float32() -> None:
    net = nearest(2)
    nn.init.constant_(
        net.get_parameter("body.0.weight"), 60000.0
    )  # x = 1 then makes infinities in float16, and 0 times them no number
    once = enlarger(net, precision="fp16")
    picture = np.full((3, 3, 3), 255, np.uint8)
    assert np.array_equal(once(picture), np.full((6, 6, 3), 255, np.uint8))
    assert once.dtype == torch.float32


def test_a_damaged_network_is_refused_instead_of_painting_black() -> None:
    net = nearest(2)
    nn.init.constant_(net.get_parameter("body.2.bias"), torch.nan)
    with pytest.raises(InvalidInput, match="damaged"):
        enlarger(net)(noise(2, 2, 3))
