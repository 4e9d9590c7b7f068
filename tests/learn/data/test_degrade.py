"""Laws of poor pictures: what each step keeps, how far it may go, and that the key decides everything."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.learn.data.degrade import (
    ART,
    NOTHING,
    PHOTO,
    WAYS,
    Degradation,
    Stage,
    bell,
    blurred,
    gaussian,
    jpeg,
    kernel,
    poisson,
    resized,
    sinc,
)
from danqing.noise import keyed

BOTH = pytest.mark.parametrize("kind", [ART, PHOTO], ids=["art", "photo"])


def picture(*shape: int) -> Tensor:
    """Levels of bytes in [0, 1]."""
    return torch.randint(0, 256, shape or (3, 32, 48), generator=keyed("picture")) / 255


def kernels() -> list[Tensor]:
    stage = replace(PHOTO.first, sinc=0.3)
    return [kernel(stage, keyed("kernel", i)) for i in range(40)]


def test_nothing_changes_nothing():
    x = picture()
    assert torch.equal(NOTHING(x, keyed(0)), x)


@BOTH
def test_the_key_decides_everything(kind: Degradation):
    x = picture()
    first = [kind(x, keyed("one", i)) for i in range(6)]
    torch.manual_seed(7)  # torch's own generator has no say
    assert all(torch.equal(a, kind(x, keyed("one", i))) for i, a in enumerate(first))
    assert len({a.numpy().tobytes() for a in first}) > 3


@BOTH
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_size_is_the_pictures_over_the_scale_and_every_number_a_level(kind: Degradation, scale: int):
    for i in range(8):
        y = replace(kind, scale=scale)(picture(), keyed("size", i))
        assert y.shape == (3, 32 // scale, 48 // scale)
        assert y.min() >= 0 and y.max() <= 1 and torch.allclose(255 * y, (255 * y).round(), atol=1e-4)


def test_the_given_picture_stays_as_it_is():
    x = picture()
    before = x.clone()
    for i in range(8):
        PHOTO(x, keyed("given", i))
    assert torch.equal(x, before)


def test_an_even_picture_stays_even_where_nothing_is_noisy():
    calm = {"noise": 0.0, "jpeg": 0.0}
    kind = replace(PHOTO, first=replace(PHOTO.first, **calm), second=replace(PHOTO.second, **calm))
    x = torch.tensor([20.0, 128.0, 250.0])[:, None, None].expand(3, 32, 32) / 255
    for i in range(12):
        assert torch.allclose(kind(x, keyed("even", i)), x[:, ::4, ::4], atol=1e-5)


def test_a_side_that_the_scale_does_not_divide_is_refused():
    with pytest.raises(InvalidInput, match="multiples of 4"):
        ART(picture(3, 30, 32), keyed(0))


# Blurs


def test_every_kernel_sums_to_one_and_is_the_same_from_the_other_side():
    for k in kernels():
        assert float(k.double().sum()) == pytest.approx(1, abs=1e-5)
        assert torch.allclose(k, k.flip(0, 1), atol=1e-6)
        assert k.shape[0] == k.shape[1] and k.shape[0] % 2 == 1


def test_a_blur_keeps_the_mean_of_what_is_far_from_the_rim():
    x = torch.zeros(1, 65, 65)
    x[:, 30:35, 28:36] = picture(5, 8)
    for k in kernels():
        assert float(blurred(x, k).sum()) == pytest.approx(float(x.sum()), rel=1e-4)


def test_a_gaussian_has_its_covariance_and_beta_one_is_the_gaussian():
    along, across, angle = 1.5, 3.0, 0.7
    k = bell(61, (along, across), angle).double()
    y, x = torch.meshgrid(*(torch.arange(61.0, dtype=torch.float64) - 30,) * 2, indexing="ij")
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    want = turn @ torch.diag(torch.tensor([along**2, across**2], dtype=torch.float64)) @ turn.T
    got = torch.tensor([[(k * x * x).sum(), (k * x * y).sum()], [(k * x * y).sum(), (k * y * y).sum()]])
    assert torch.allclose(got, want, rtol=1e-3, atol=1e-3)
    line = torch.exp(-((torch.arange(21.0) - 10) ** 2) / (2 * 2.0**2))
    assert torch.allclose(bell(21, (2.0, 2.0)), torch.outer(line, line) / line.sum() ** 2, atol=1e-7)


def test_a_sinc_lets_through_what_is_below_its_frequency_and_stops_what_is_above():
    """A wave along the rows, and one kernel that is as large as the wave is long many times over."""
    place, cut = torch.arange(201.0), math.pi / 2
    k = sinc(101, cut)
    for frequency, kept in ((0.5 * cut, 1.0), (1.5 * cut, 0.0)):
        wave = torch.cos(frequency * place).expand(1, 201, 201)
        middle = blurred(wave, k)[0, 100, 60:140]
        assert float((middle - kept * wave[0, 100, 60:140]).abs().max()) < 0.1


# Sizes


@pytest.mark.parametrize("way", WAYS)
def test_a_smaller_picture_keeps_the_mean(way: str):
    x = torch.zeros(1, 64, 64) + 0.5
    x[:, 24:40, 24:40] += 0.3 * (picture(16, 16) - 0.5)
    assert float(resized(x, (16, 16), way).mean()) == pytest.approx(float(x.mean()), abs=1e-4)


def test_a_clean_small_picture_is_one_of_the_ways():
    x, clean = picture(), replace(ART, clean=1.0)
    wanted = [(resized(x, (8, 12), way) * 255).round() for way in WAYS]
    seen = {
        next(k for k, w in enumerate(wanted) if torch.equal((255 * clean(x, keyed(i))).round(), w)) for i in range(20)
    }
    assert seen == {0, 1, 2}


# Noise


def test_gaussian_noise_has_its_width_and_poisson_noise_a_variance_that_grows_with_the_light():
    x = torch.linspace(0.1, 0.9, 5)[:, None, None].expand(5, 200, 200)
    assert torch.allclose((gaussian(x, 0.05, keyed(1)) - x).std((1, 2)), torch.full((5,), 0.05), rtol=0.03)
    for scale in (0.5, 2.0):
        change = poisson(x, scale, keyed(2)) - x
        assert torch.allclose(change.var((1, 2)), scale**2 * x[:, 0, 0] / 255, rtol=0.05)
        assert change.mean((1, 2)).abs().max() < 2e-3
    assert torch.equal(poisson(torch.zeros(1, 4, 4), 1.0, keyed(3)), torch.zeros(1, 4, 4))


@pytest.mark.parametrize("add", [gaussian, poisson])
def test_grey_noise_is_the_same_in_all_colours_and_other_noise_is_not(add):
    x = picture()
    grey, colour = (add(x, 0.5, keyed(1), grey=grey) - x for grey in (True, False))
    assert torch.allclose(grey, grey[:1].expand(3, -1, -1), atol=1e-6)
    assert not torch.allclose(colour, colour[:1].expand(3, -1, -1), atol=1e-2)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_even_pictures_and_errs_less_the_higher_its_quality(channels: int):
    x = resized(picture(channels, 8, 8), (64, 64), "bicubic")
    errors = [float((jpeg(x, quality) - x).square().mean().sqrt()) for quality in (5, 30, 60, 95)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02 and errors[0] < 0.2
    even = torch.full((channels, 16, 16), 77 / 255)
    assert torch.allclose(jpeg(even, 30), even, atol=2.5 / 255)


def test_a_stage_without_probabilities_is_still():
    still = Stage(blur=0, up=0, down=0, noise=0, jpeg=0)
    x = picture()
    assert torch.equal(Degradation(first=still, second=still, sinc=0, scale=1)(x, keyed(5)), x)
