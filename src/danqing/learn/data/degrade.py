"""How large sharp pictures become the small poor ones that people have: what an enlarger learns to undo.

Twice over: blur, resize, noise, JPEG; at the end the size that is wanted, a sinc filter (ringing, overshoot) and JPEG
in either order. Everything is drawn from one generator, so that the same picture and the same key are the same poor
picture. Source: Wang et al. 2021 (Real-ESRGAN), sections 3.1 to 3.3, whose ranges `PHOTO` has. `ART` is milder: much of
the art that people enlarge was made small by a program, or painted small by a decoder whose edges are smeared but free
of noise.

    poor = ART(picture, keyed("degrade", step, i))           (3, H, W) in [0, 1] -> (3, H/4, W/4), in steps of 1/255
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from ...errors import InvalidInput

__all__ = [
    "ART",
    "NOTHING",
    "PHOTO",
    "Degradation",
    "Stage",
    "bell",
    "blurred",
    "gaussian",
    "jpeg",
    "poisson",
    "resized",
    "sinc",
]

Range = tuple[float, float]
#: The shapes of blurs and how likely each is: round or not, and what becomes of the squared distance q.
SHAPES = (
    ("gaussian", True),
    ("gaussian", False),
    ("generalised", True),
    ("generalised", False),
    ("plateau", True),
    ("plateau", False),
)
LIKELY = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
#: Sides of kernels, exponents of the two bent shapes, and frequencies at which a sinc cuts, in radians a pixel.
SIDES, GENERALISED, PLATEAU, CUTS = (7, 21), (0.5, 4.0), (1.0, 2.0), (math.pi / 3, math.pi)
#: How a size is changed: area, bilinear or bicubic, the latter two with the average over what a pixel stands for.
WAYS = ("area", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One round of blur, resize, noise and JPEG. Ranges are drawn from evenly.

    Args:
        blur: the probability of a blur.
        widths: its standard deviations, in pixels.
        sinc: the probability that it is a sinc.
        up, down: the probabilities that the picture is made larger or smaller.
        ratios: of the sides: the smallest, at most 1, and the largest, at least 1.
        noise: the probability of noise, of which half is Gaussian and half Poisson.
        sigmas: of Gaussian noise, in levels of 255.
        scales: of Poisson noise, 1 being as many photons as levels.
        grey: the probability that the noise is the same in all colours.
        jpeg: the probability of JPEG.
        qualities: of it, 1 .. 100.
    """

    blur: float = 1.0
    widths: Range = (0.2, 3.0)
    sinc: float = 0.1
    up: float = 0.2
    down: float = 0.7
    ratios: Range = (0.15, 1.5)
    noise: float = 1.0
    sigmas: Range = (1.0, 30.0)
    scales: Range = (0.05, 3.0)
    grey: float = 0.4
    jpeg: float = 1.0
    qualities: Range = (30.0, 95.0)


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A picture -> the same picture, poor and ``scale`` times smaller.

    Args:
        first, second: the rounds; the JPEG of the second is before or after the last change of size.
        clean: the share of pictures that are made smaller by one of `WAYS` and nothing else.
        sinc: the probability of the last filter.
        scale: a whole number.
    """

    first: Stage
    second: Stage
    clean: float = 0.0
    sinc: float = 0.8
    scale: int = 4

    def __call__(self, picture: Tensor, noise: Generator) -> Tensor:
        """(C, H, W) in [0, 1] on the CPU -> (C, H/scale, W/scale), rounded to levels of 255.

        Raises:
            InvalidInput: a side that ``scale`` does not divide.
        """
        height, width = picture.shape[-2:]
        if height % self.scale or width % self.scale:
            raise InvalidInput(
                f"a picture of {width}×{height} has no size of 1/{self.scale}: give multiples of {self.scale} pixels"
            )
        size = (height // self.scale, width // self.scale)
        if chance(self.clean, noise):
            return levels(resized(picture, size, pick(WAYS, noise)))
        x = pressed(worn(picture, self.first, noise), self.first, noise)
        x = worn(x, self.second, noise)
        before = chance(0.5, noise)
        if before:
            x = pressed(x, self.second, noise)
        x = resized(x, size, pick(WAYS, noise)) if x.shape[-2:] != size else x
        if chance(self.sinc, noise):
            x = blurred(x, sinc(odd(noise), uniform(CUTS, noise))).clamp(0, 1)
        return levels(x if before else pressed(x, self.second, noise))


def worn(x: Tensor, stage: Stage, noise: Generator) -> Tensor:
    """Blur, resize and noise of a stage, (C, H, W) -> (C, H', W') in [0, 1]."""
    if chance(stage.blur, noise):
        x = blurred(x, kernel(stage, noise))
    ratio = 1.0
    draw = uniform((0, 1), noise)
    if draw < stage.up + stage.down:
        low, high = stage.ratios
        ratio = uniform((1, high) if draw < stage.up else (low, 1), noise)
    size = (max(4, round(x.shape[-2] * ratio)), max(4, round(x.shape[-1] * ratio)))
    if size != x.shape[-2:]:
        x = resized(x, size, pick(WAYS, noise))
    x = x.clamp(0, 1)
    if chance(stage.noise, noise):
        grey = chance(stage.grey, noise)
        if chance(0.5, noise):
            x = gaussian(x, uniform(stage.sigmas, noise) / 255, noise, grey=grey)
        else:
            x = poisson(x, uniform(stage.scales, noise), noise, grey=grey)
    return x.clamp(0, 1)


def pressed(x: Tensor, stage: Stage, noise: Generator) -> Tensor:
    """JPEG of a stage, (C, H, W)."""
    return jpeg(x, round(uniform(stage.qualities, noise))) if chance(stage.jpeg, noise) else x


# Blurs
# ------------------------------------------------------------------------------------------------------------------


def kernel(stage: Stage, noise: Generator) -> Tensor:
    """A blur of a stage, (k, k), of sum 1."""
    side = odd(noise)
    if chance(stage.sinc, noise):
        return sinc(side, uniform(CUTS, noise))
    shape, is_round = SHAPES[int(torch.multinomial(torch.tensor(LIKELY), 1, generator=noise))]
    first, second, angle = (
        uniform(stage.widths, noise),
        uniform(stage.widths, noise),
        uniform((-math.pi, math.pi), noise),
    )
    beta = uniform(PLATEAU if shape == "plateau" else GENERALISED, noise)
    return bell(
        side,
        (first, first if is_round else second),
        angle,
        1.0 if shape == "gaussian" else beta,
        plateau=shape == "plateau",
    )


def bell(side: int, widths: Range, angle: float = 0.0, beta: float = 1.0, *, plateau: bool = False) -> Tensor:
    """exp(-q^beta / 2), or 1 / (1 + q^beta) for a plateau, of q = c^T Sigma^-1 c, over its sum: (side, side), rows y,
    columns x.

    Args:
        side: odd.
        widths: standard deviations along the two axes of Sigma, in pixels, above 0.
        angle: of the first from x to y, in radians.
        beta: 1 is the Gaussian; below it the foot is wide, above it the top is flat.
    """
    y, x = grid(side)
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    bent = ((along / widths[0]).square() + (across / widths[1]).square()) ** beta
    values = 1 / (1 + bent) if plateau else torch.exp(-bent / 2)
    return (values / values.sum()).float()


def sinc(side: int, cut: float) -> Tensor:
    """The circular low-pass J_1(w r) w / (2 pi r), over its sum: (side, side). ``cut`` is w, in radians a pixel, up to
    pi."""
    y, x = grid(side)
    radius = (x.square() + y.square()).sqrt()
    values = cut * torch.special.bessel_j1(cut * radius) / (2 * math.pi * radius)
    values[side // 2, side // 2] = cut**2 / (4 * math.pi)
    return (values / values.sum()).float()


def grid(side: int) -> tuple[Tensor, Tensor]:
    """Coordinates (y, x) from the middle, (side, side) each, in float64."""
    line = torch.arange(side, dtype=torch.float64) - side // 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    return y, x


def blurred(x: Tensor, kernel: Tensor) -> Tensor:
    """(C, H, W) through a kernel (k, k), beyond the rim the rim's own pixels."""
    half = kernel.shape[0] // 2
    padded = F.pad(x[:, None], (half, half, half, half), mode="replicate")
    return F.conv2d(padded, kernel.to(x)[None, None])[:, 0]


# Sizes, noise, JPEG
# -----------------------------------------------------------------------------------------------------


def resized(x: Tensor, size: tuple[int, int], way: str) -> Tensor:
    """(C, H, W) -> (C, *size) by one of `WAYS`."""
    smooth = {} if way == "area" else {"antialias": True, "align_corners": False}
    return F.interpolate(x[None], size=size, mode=way, **smooth)[0].clamp(0, 1)


def gaussian(x: Tensor, sigma: float, noise: Generator, *, grey: bool = False) -> Tensor:
    """x + sigma N(0, 1), (C, H, W)."""
    return x + sigma * torch.randn(1 if grey else len(x), *x.shape[1:], generator=noise).to(x)


def poisson(x: Tensor, scale: float, noise: Generator, *, grey: bool = False) -> Tensor:
    """x + scale (P(255 x) / 255 - x), whose variance is scale^2 x / 255; (C, H, W) in [0, 1]."""
    light = x.mean(0, keepdim=True) if grey else x
    return x + scale * (torch.poisson(255 * light, generator=noise) / 255 - light)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """(1 or 3, H, W) in [0, 1], to a JPEG and back."""
    array = (x * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if len(x) == 1 else array).save(file, "JPEG", quality=quality)
    back = torch.from_numpy(np.array(Image.open(file))).to(x) / 255
    return back[None] if back.ndim == 2 else back.permute(2, 0, 1)


def levels(x: Tensor) -> Tensor:
    """Rounded to what a picture of bytes holds."""
    return (x * 255).round().clamp(0, 255) / 255


# Draws
# ------------------------------------------------------------------------------------------------------------------


def uniform(range: Range, noise: Generator) -> float:
    """A number between two."""
    return range[0] + (range[1] - range[0]) * float(torch.rand((), generator=noise))


def chance(probability: float, noise: Generator) -> bool:
    """Whether it happens."""
    return float(torch.rand((), generator=noise)) < probability


def pick(choices: tuple[str, ...], noise: Generator) -> str:
    """One of them."""
    return choices[int(torch.randint(len(choices), (), generator=noise))]


def odd(noise: Generator) -> int:
    """The side of a kernel: an odd number in `SIDES`."""
    low, high = SIDES
    return low + 2 * int(torch.randint((high - low) // 2 + 1, (), generator=noise))


#: Real-ESRGAN's.
PHOTO = Degradation(
    first=Stage(),
    second=Stage(
        blur=0.8, widths=(0.2, 1.5), up=0.3, down=0.4, ratios=(0.3, 1.2), sigmas=(1.0, 25.0), scales=(0.05, 2.5)
    ),
)
#: For drawings and painted pictures: half of it clean, the rest blurred as decoders smear, a quarter of that noisy or
#: pressed.
ART = Degradation(
    first=Stage(
        **{"widths": (0.4, 4.0), "ratios": (0.4, 1.2), "noise": 0.15, "sigmas": (1.0, 8.0), "scales": (0.05, 0.8)},
        **{"jpeg": 0.2, "qualities": (50.0, 95.0)},
    ),
    second=Stage(
        **{"blur": 0.5, "widths": (0.2, 1.2), "up": 0.2, "down": 0.3, "ratios": (0.4, 1.2)},
        **{"noise": 0.1, "sigmas": (1.0, 5.0), "scales": (0.05, 0.5), "jpeg": 0.25, "qualities": (50.0, 95.0)},
    ),
    clean=0.5,
    sinc=0.3,
)
_STILL = Stage(blur=0, up=0, down=0, noise=0, jpeg=0)
#: The neutral element: at scale 1 pictures stay as they are.
NOTHING = Degradation(first=_STILL, second=_STILL, sinc=0, scale=1)
