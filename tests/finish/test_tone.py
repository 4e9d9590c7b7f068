"""Laws of tones: neutral settings change no bit, what should stay stays, and what should go goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import PchipInterpolator

from danqing.errors import InvalidInput
from danqing.finish import tone
from danqing.finish.colour import encoded, lab, lightness, linear, rgb, shown
from danqing.finish.curve import monotone

TYPES = (np.uint8, np.uint16)


def smooth(dtype: Any, height: int = 60, width: int = 80, channels: int = 3) -> np.ndarray:
    """Waves of low contrast and of moderate colours."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + c) + y / (11 - 2 * c) + c) for c in range(channels)]
    grey = 0.3 + 0.25 * x / width
    values = np.stack([grey + 0.06 * wave for wave in waves], 2)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def noise(dtype: Any, *shape: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def fractions(picture: np.ndarray) -> np.ndarray:
    return picture / np.iinfo(picture.dtype).max


# --- colours


def test_lab_is_that_of_the_standard() -> None:
    """White, black and grey by definition; red, green, blue as CIE's formulas give with sRGB's primaries to two
    digits."""
    colours = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    want = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab(colours), want, atol=0.01)


def test_lab_and_linear_light_come_back_to_a_level_of_24_bits() -> None:
    colours = np.random.RandomState(0).random_sample((5000, 3))
    np.testing.assert_allclose(rgb(lab(colours)), colours, atol=1e-8)
    np.testing.assert_allclose(encoded(linear(colours)), colours, atol=1e-12)
    np.testing.assert_allclose(lightness(colours), lab(colours)[:, 0], atol=1e-12)


def test_a_colour_that_no_screen_shows_keeps_hue_and_lightness_and_loses_chroma() -> None:
    far = np.random.RandomState(0).random_sample((2000, 3)) * [80, 200, 200] + [10, -100, -100]
    near = lab(shown(far))
    np.testing.assert_allclose(near[:, 0], far[:, 0], atol=0.05)
    cross = (near[:, 1] * far[:, 2] - near[:, 2] * far[:, 1]) / np.hypot(
        far[:, 1], far[:, 2]
    )  # the distance from the ray of its hue
    assert np.abs(cross).max() < 0.05
    assert (np.hypot(near[:, 1], near[:, 2]) <= np.hypot(far[:, 1], far[:, 2]) + 1e-6).all()


# --- every tone

NEUTRAL: list[Callable[[Any], Any]] = [
    lambda p: tone.clahe(p, clip=1),
    lambda p: tone.white_balance(p, strength=0),
    tone.levels,
    tone.curves,
    lambda p: tone.curves(p, points=((0, 0), (0.3, 0.3), (1, 1)), red=((0, 0), (1, 1))),
    tone.adjust,
]
STRONG: list[Callable[[Any], Any]] = [
    lambda p: tone.clahe(p, clip=4, tiles=2),
    tone.white_balance,
    lambda p: tone.white_balance(p, method="white-patch"),
    lambda p: tone.levels(p, black=0.2, white=0.7, gamma=1.3),
    lambda p: tone.curves(p, points=((0, 0.1), (0.4, 0.6), (1, 0.9)), blue=((0, 0), (0.5, 0.4), (1, 1))),
    lambda p: tone.adjust(p, exposure=0.5, gamma=0.9, saturation=1.4),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("change", NEUTRAL)
def test_neutral_settings_change_no_bit(change: Callable[[Any], Any], channels: int, dtype: Any) -> None:
    picture = noise(dtype, 30, 40, channels)
    assert np.array_equal(change(picture), picture)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("change", STRONG)
def test_transparency_is_untouched(change: Callable[[Any], Any], channels: int, dtype: Any) -> None:
    picture = noise(dtype, 30, 40, channels)
    result = change(picture)
    assert np.array_equal(result[..., -1], picture[..., -1]) and result.dtype == dtype


@pytest.mark.parametrize("change", STRONG)
def test_16_bits_give_what_8_bits_give_and_finer(change: Callable[[Any], Any]) -> None:
    fine = smooth(np.uint16)
    coarse = np.rint(fine / 257).astype(np.uint8)
    a, b = change(fine), change(coarse)
    # A level of the picture of 8 bits, half of which it lost itself, made steeper by at most so much.
    assert np.abs(fractions(a) - fractions(b)).max() < 4 / 255
    before, after = (np.unique(x[..., 1]).size for x in (fine, a))
    assert after > 0.9 * before > 3 * 256


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (40, 1)])
@pytest.mark.parametrize("change", STRONG)
def test_pictures_of_every_mode_and_of_one_pixel_are_changed_too(
    change: Callable[[Any], Any], mode: str, size: tuple[int, int]
) -> None:
    result = change(Image.new(mode, size))
    assert result.size == size
    assert result.mode == {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)


def test_a_picture_and_its_array_become_the_same() -> None:
    picture = noise(np.uint8, 20, 30, 3)
    for change in STRONG:
        assert np.array_equal(np.asarray(change(Image.fromarray(picture))), change(picture))


# --- CLAHE


@pytest.mark.parametrize("dtype", TYPES)
def test_clahe_raises_local_contrast_and_keeps_a_and_b(dtype: Any) -> None:
    picture = smooth(dtype)
    before, after = lab(fractions(picture)), lab(fractions(tone.clahe(picture, clip=4, tiles=4)))
    assert after[..., 0].std() > 1.3 * before[..., 0].std()
    half = 0.5 / np.iinfo(dtype).max  # of a level; near black Lab is steepest, 12.92 / 116 · 500 · 7.8 a unit
    assert np.abs(after - before)[..., 1:].max() < 600 * half


def test_clahe_of_16_bits_is_smooth_where_the_picture_is() -> None:
    """A ramp with a step of 20 levels a pixel stays one without jumps: the maps are no stairs."""
    ramp = np.repeat((20000 + 20 * np.arange(512, dtype=np.uint16))[None, :, None], 64, 0)
    rise = np.diff(tone.clahe(ramp, clip=4, tiles=1)[0, :, 0].astype(int))
    assert (
        rise.min() >= 0 and rise.max() <= 20 * 4 * 2
    )  # the slope is limited in Lab's lightness; in levels it is less than twice that
    assert (rise > 0).mean() > 0.95


def test_on_whole_levels_clahe_is_opencvs() -> None:
    import cv2

    levels = smooth(np.uint8, 90, 130)[..., 0]
    want = cv2.createCLAHE(3.0, (4, 4)).apply(levels)
    got = tone.equalised(levels.astype(np.float32) / 255, 3.0, 4, 8) * 255
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_clahe_of_an_even_picture_is_even() -> None:
    picture = np.full((40, 50, 3), (30, 90, 160), np.uint8)
    assert np.unique(tone.clahe(picture).reshape(-1, 3), axis=0).shape == (1, 3)


# --- white balance


def grey_world(dtype: Any) -> np.ndarray:
    """Each channel has the same levels elsewhere, so that their means are equal."""
    levels = np.sort(noise(dtype, 900) // 2)
    order = [np.random.RandomState(c).permutation(900) for c in range(3)]
    return np.stack([levels[o] for o in order], 1).reshape(30, 30, 3)


@pytest.mark.parametrize("method", ["grey-world", "white-patch"])
@pytest.mark.parametrize("dtype", TYPES)
def test_white_balance_of_a_balanced_picture_is_the_identity(method: Any, dtype: Any) -> None:
    assert np.array_equal(tone.white_balance(grey_world(dtype), method=method), grey_world(dtype))


@pytest.mark.parametrize("method", ["grey-world", "white-patch"])
def test_a_colour_cast_is_removed(method: Any) -> None:
    """Lit by another lamp, the picture becomes again what it was, but for how bright."""
    clean = grey_world(np.uint16)
    lamp = np.array([1.0, 0.7, 0.4])
    cast = np.rint(encoded(linear(clean / 65535) * lamp) * 65535).astype(np.uint16)
    light = linear(fractions(tone.white_balance(cast, method=method)))
    ratio = light.mean((0, 1)) / linear(clean / 65535).mean((0, 1))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    np.testing.assert_allclose(light, linear(clean / 65535) * ratio, atol=1e-4)


def test_the_balance_keeps_the_luminance_of_the_mean_and_does_not_count_what_is_not_seen() -> None:
    picture = smooth(np.uint16)
    picture[..., 2] //= 2
    before, after = (linear(fractions(x)).mean((0, 1)) for x in (picture, tone.white_balance(picture)))
    weights = [0.2126729, 0.7151522, 0.0721750]
    assert abs(before @ weights - after @ weights) < 1e-5
    hidden = np.concatenate(
        [np.concatenate([picture, np.full_like(picture, 65535)]), np.zeros((120, 80, 1), np.uint16)], 2
    )
    hidden[:60, :, 3] = 65535
    assert np.array_equal(tone.white_balance(hidden)[:60, :, :3], tone.white_balance(picture))


def test_half_the_strength_twice_is_the_whole() -> None:
    picture = smooth(np.uint16)
    picture[..., 0] //= 2
    light = np.stack([linear(fractions(tone.white_balance(picture, strength=s))) for s in (0, 0.5, 1)])
    mean = light.mean((1, 2))
    np.testing.assert_allclose((mean[1] / mean[0]) ** 2, mean[2] / mean[0], rtol=1e-3)


# --- levels and curves


def test_levels_stretch_the_range_and_their_inverse_squeezes_it_back() -> None:
    picture = smooth(np.uint16)
    squeezed = tone.levels(picture, low=0.25, high=0.75)
    assert np.abs(tone.levels(squeezed, black=0.25, white=0.75).astype(int) - picture).max() <= 1
    lighter = tone.levels(picture, gamma=2.0)
    assert np.abs(tone.levels(lighter, gamma=0.5).astype(int) - picture).max() <= 1
    assert np.array_equal(tone.levels(tone.levels(picture, low=1, high=0), low=1, high=0), picture)


def test_black_above_white_is_refused() -> None:
    with pytest.raises(InvalidInput, match="black below white"):
        tone.levels(smooth(np.uint8), black=0.5, white=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_a_curve_is_scipys_and_stays_between_its_points(seed: int) -> None:
    draw = np.random.RandomState(seed)
    number = 2 + seed % 6
    x, y = np.sort(draw.choice(100, number, replace=False)) / 99, draw.random_sample(number)
    if seed % 2:
        y.sort()
    v = np.linspace(0, 1, 2001)
    found = monotone(list(zip(x, y, strict=True)))(v)
    np.testing.assert_allclose(found, PchipInterpolator(x, y)(v.clip(x[0], x[-1])), atol=1e-12)
    if seed % 2:
        assert (np.diff(found) >= -1e-15).all()
    assert found.min() >= y.min() - 1e-12 and found.max() <= y.max() + 1e-12


def test_curves_of_channels_come_before_that_of_all_and_grey_has_that_alone() -> None:
    picture, points = noise(np.uint8, 9, 9, 3), ((0, 0), (0.5, 0.8), (1, 1))
    one = tone.curves(tone.curves(picture, red=points), points=points)
    assert np.abs(tone.curves(picture, red=points, points=points).astype(int) - one).max() <= 2
    assert np.array_equal(tone.curves(picture[..., :1], red=points), picture[..., :1])


@pytest.mark.parametrize("points", [((0, 0),), ((0.5, 0), (0.5, 1)), ((0, 0), (1, 1.5)), ((-1, 0), (1, 1))])
def test_points_that_are_no_curve_are_refused(points: Any) -> None:
    with pytest.raises(InvalidInput, match="two or more points"):
        tone.curves(smooth(np.uint8), points=points)


# --- exposure and saturation


def test_a_stop_doubles_the_light_and_a_stop_back_halves_it() -> None:
    picture = smooth(np.uint16) // 2
    np.testing.assert_allclose(
        linear(fractions(tone.adjust(picture, exposure=1))), 2 * linear(fractions(picture)), atol=1e-4
    )
    assert np.abs(tone.adjust(tone.adjust(picture, exposure=1), exposure=-1).astype(int) - picture).max() <= 1


def test_without_saturation_the_luminance_is_all_that_is_left() -> None:
    picture = smooth(np.uint16)
    grey = tone.adjust(picture, saturation=0)
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(lightness(fractions(grey)), lightness(fractions(picture)), atol=0.01)


def test_grey_stays_grey_whatever_the_saturation() -> None:
    picture = np.repeat(noise(np.uint8, 10, 10, 1), 3, 2)
    assert np.array_equal(tone.adjust(picture, saturation=3), picture)
