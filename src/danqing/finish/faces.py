"""Faces restored: found, brought upright to the size that a network knows, restored, and put back without a border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from ..errors import InvalidInput
from ..nets.gfpgan import GFPGAN
from ..nets.restorer import Restorer
from ..run.device import find_device
from ..run.precision import find_precision
from .align import Array, applied, beyond, feather, inverse, magnification, moved, template, umeyama
from .pixels import Levels, Pixels, Raster, apart, bled, together, top
from .warned import WithWarnings

#: Networks (B, 3, R, R) in [-1, 1] -> the same, R being `config.resolution`.
RESTORERS = (GFPGAN, Restorer)


class Face(NamedTuple):
    """A face that was found.

    Args:
        box: (left, top, right, bottom) in pixels, which may reach beyond the picture.
        landmarks: (5, 2), (x, y) in pixels from the middle of the first one: eyes, tip of the nose, corners of the
            mouth, of each pair the left one in the picture first.
        score: how sure it is, 0 .. 1.
    """

    box: tuple[float, float, float, float]
    landmarks: Array
    score: float = 1.0


class Detector(Protocol):
    """What finds faces."""

    def detect(self, picture: Levels) -> Sequence[Face]:
        """Of a picture (H, W, 3) of uint8, RGB."""
        ...


class Restores(Protocol):
    """What restores an upright face: ``size`` says R, and (R, R, 3) of float32 in [0, 1] becomes the same."""

    size: int

    def __call__(self, face: Array, /) -> Array: ...


class Network:
    """A network as what `Faces` asks.

    Args:
        net: a `GFPGAN` or a `Restorer`, which is moved to the device and the precision.
        device: as for `danqing.run.device.find_device`.
        precision: "fp32", "bf16", "fp16" or a dtype; None for the machine's fast one.

    Raises:
        InvalidInput: another kind of network.
    """

    def __init__(
        self, net: nn.Module, *, device: str | torch.device | None = None, precision: str | torch.dtype | None = None
    ):
        if not isinstance(net, RESTORERS):
            names = [kind.__name__ for kind in RESTORERS]
            raise InvalidInput(
                f"a {type(net).__name__} restores no face: give the network of a face restorer's file, "
                f"{' or '.join(names)}"
            )
        self.size = net.config.resolution
        self.device = find_device(device)
        self.dtype = find_precision(self.device, precision)
        self.net = net.eval().requires_grad_(False).to(device=self.device, dtype=self.dtype)

    @torch.inference_mode()
    def __call__(self, face: Array) -> Array:
        x = 2 * torch.from_numpy(face).permute(2, 0, 1)[None] - 1  # (1, 3, R, R)
        y = self.net(x.to(self.device, self.dtype)).float()
        if not y.isfinite().all():  # half precision may overflow
            if self.dtype == torch.float32:
                raise InvalidInput(
                    "the network answers with numbers that are none: its file is damaged, or it restores no faces"
                )
            self.net, self.dtype = self.net.float(), torch.float32
            return self(face)
        return ((y[0].clamp(-1, 1) + 1) / 2).permute(1, 2, 0).cpu().numpy()


class Faces(WithWarnings):
    """A finish: a picture -> the same picture with its faces restored.

    Of each face the difference that the restorer makes is put back, ``y = x + strength · m · M^-1(f(M x) - M x)``, M
    the similarity of its landmarks to the template and m a mask with soft rims. So what the restorer leaves stays to
    the bit, and so does all that is outside of the faces, transparency, and the detail of faces that are larger than
    the network's. Source: Wang et al. 2021, section 3, as to alignment; Umeyama 1991.

    Args:
        restorer: what restores an upright face.
        detector: what finds faces.
        strength: 0 changes nothing, 1 all.

    Raises:
        InvalidInput: a strength outside 0 .. 1.
    """

    def __init__(self, restorer: Restores, detector: Detector, *, strength: float = 1.0):
        if not 0 <= strength <= 1:
            raise InvalidInput(f"strength: {strength!r} was given; possible is a number from 0 to 1")
        self.restorer, self.detector, self.strength = restorer, detector, strength

    def with_warnings(self, picture: Raster) -> tuple[Raster, tuple[str, ...]]:
        """The picture, and what is to be said of it.

        Args:
            picture: of Pillow, in any mode of levels, or an array (H, W, 1 to 4) of uint8 or uint16.

        Raises:
            InvalidInput: a picture of no levels, or OpenCV is not installed.
        """
        pixels = apart(picture)
        colour, warnings = self.restored(pixels)
        return (picture if colour is pixels.colour else together(pixels._replace(colour=colour), picture)), warnings

    def restored(self, pixels: Pixels) -> tuple[Levels, tuple[str, ...]]:
        """The colours of a picture that is taken apart, its own array where there is nothing to restore; and what is to
        be said."""
        seen = np.broadcast_to(bled(pixels) // (top(pixels.colour) // 255), (*pixels.colour.shape[:2], 3)).astype(
            np.uint8
        )
        faces = self.detector.detect(np.ascontiguousarray(seen))
        if not faces:
            return pixels.colour, ("no face was found: the picture is as it was",)
        colour, large = pixels.colour.copy(), []
        for face in faces:
            matrix = umeyama(np.asarray(face.landmarks, np.float64), template(self.restorer.size))
            self.restore(pixels._replace(colour=colour), matrix)
            if magnification(matrix) < 1:
                large.append(round(self.restorer.size / magnification(matrix)))
        if not large:
            return colour, ()
        sizes = ", ".join(f"{size} px" for size in large)
        finer = (
            f"faces of {sizes} are larger than the {self.restorer.size} px that are restored: their finer "
            "detail is as it was"
        )
        return colour, (finer,)

    def restore(self, pixels: Pixels, matrix: Array) -> None:
        """Restore one face in place; ``matrix`` brings it to the template."""
        size, white, back = self.restorer.size, top(pixels.colour), inverse(matrix)
        height, width = pixels.colour.shape[:2]
        rim = (-0.5, size - 0.5)
        corners = applied(back, np.array([[(x, y) for x in rim] for y in rim]))  # (2, 2, 2)
        left, upper = np.maximum(np.floor(corners.min((0, 1))).astype(int) - 2, 0)
        right, lower = np.minimum(np.ceil(corners.max((0, 1))).astype(int) + 3, (width, height))
        if left >= right or upper >= lower:
            return  # landmarks of a face outside of the picture
        part = (slice(upper, lower), slice(left, right))
        alpha = None if pixels.alpha is None else pixels.alpha[part]
        own = pixels.colour[part]
        here = np.column_stack(
            [matrix[:, :2], applied(matrix, np.array([left, upper], float))]
        )  # from the part's own first pixel
        colours = np.broadcast_to(bled(Pixels(own, alpha)) / np.float32(white), (*own.shape[:2], 3))
        face = moved(np.ascontiguousarray(colours, np.float32), here, (size, size))
        change = moved(self.restorer(face) - face, inverse(here), (right - left, lower - upper))
        rows, columns = np.mgrid[0 : lower - upper, 0 : right - left]
        points = applied(here, np.stack([columns, rows], -1).astype(float))
        mask = feather(points, size, beyond(corners, width, height))[..., None]
        if alpha is not None:
            mask = mask * (alpha > 0)
        if own.shape[2] == 1:
            change = change.mean(2, keepdims=True)
        pixels.colour[part] = np.rint(own + self.strength * white * mask * change).clip(0, white).astype(own.dtype)
