"""Enlarging by a network: any picture, any ratio, in the memory of one tile."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..nets.rrdb import RRDBNet
from ..nets.srvgg import SRVGGNetCompact
from ..run.device import find_device
from ..run.precision import find_precision
from .pixels import Levels, Pixels, Raster, apart, bled, resized, together, top
from .tile import kept, needed_halo, windows

#: How much larger a side may become, and how many pixels the answer may have.
MAX_SCALE, MAX_PIXELS = 16.0, 2**28
UPSCALERS = (RRDBNet, SRVGGNetCompact)


class Enlarger:
    """A finish: a picture -> the same picture, ``scale`` times as high and as wide.

    The network runs as often as comes nearest to the ratio, at least once; Pillow's Lanczos does the rest. A picture
    larger than a tile goes through in tiles that read a halo of their neighbours, and agrees with the whole within
    ``tolerance``. Transparency is enlarged by itself, as grey, and stays 0 or full wherever the picture's neighbourhood
    is; transparent pixels lend no colour.

    Args:
        net: an `RRDBNet` or `SRVGGNetCompact`, which is moved to the device and the precision.
        scale: the ratio, 1 .. 16; None for the network's own.
        device: as for `danqing.run.device.find_device`.
        precision: "fp32", "bf16", "fp16" or a dtype; None for the machine's fast one.
        tile: the side in pixels of what the network reads at once: memory grows with its square.
        halo: pixels that a tile reads of its neighbours; None for what is measured to be enough, the first time there
            are tiles, at
            most a third of the tile: of a network that needs more, choose larger tiles.
        tolerance: by how much tiles may differ from the whole, of a range of 1; a level of 8 bits is 4e-3.
        channels_last: the layout in memory; changes the speed alone.

    Raises:
        InvalidInput: another kind of network, one that reads other than 1 or 3 channels, a ratio or a tile outside its
            domain.
    """

    def __init__(
        self,
        net: nn.Module,
        scale: float | None = None,
        *,
        device: str | torch.device | None = None,
        precision: str | torch.dtype | None = None,
        tile: int = 384,
        halo: int | None = None,
        tolerance: float = 1e-3,
        channels_last: bool = True,
    ):
        if not isinstance(net, UPSCALERS):
            names = [kind.__name__ for kind in UPSCALERS]
            raise InvalidInput(
                f"a {type(net).__name__} enlarges no picture: give the network of an upscaler's file, "
                f"{' or '.join(names)}"
            )
        self.config = net.config
        if self.config.in_channels not in (1, 3) or self.config.out_channels != self.config.in_channels:
            shape = f"{self.config.in_channels} channels and writes {self.config.out_channels}"
            raise InvalidInput(f"this network reads {shape}; possible are 1 (grey) or 3 (RGB) of both: use another")
        self.scale = check_scale(self.config.scale if scale is None else scale)
        if not 64 <= tile <= 8192 or (halo is not None and not 0 <= 2 * halo < tile):
            raise InvalidInput(
                f"a tile of {tile} and a halo of {halo} were given; possible are 64 to 8192 pixels, and below "
                "half of it"
            )
        self.device = find_device(device)
        self.dtype = find_precision(self.device, precision)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.eval().requires_grad_(False).to(device=self.device, dtype=self.dtype)
        self.net = self.net.to(memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        self.tile, self.halo, self.tolerance = tile, halo, tolerance

    def __call__(self, picture: Raster) -> Raster:
        """The picture ``scale`` times as large, each side rounded to whole pixels; see `to`."""
        pixels = apart(picture)
        height, width = pixels.colour.shape[:2]
        return together(self.enlarged(pixels, (round(width * self.scale), round(height * self.scale))), picture)

    def to(self, picture: Raster, size: tuple[int, int]) -> Raster:
        """The picture at a size.

        Args:
            picture: of Pillow, in any mode of levels, or an array (H, W, 1 to 4) of uint8 or uint16.
            size: (width, height) in pixels.

        Returns:
            of the same kind: L, LA, RGB or RGBA, or I;16 for grey of 16 bits; upright, its ICC profile kept.

        Raises:
            InvalidInput: a picture of no levels, or a size that is no pixel or more than 268 million.
        """
        return together(self.enlarged(apart(picture), size), picture)

    def enlarged(self, pixels: Pixels, size: tuple[int, int]) -> Pixels:
        """The same of a picture that is taken apart."""
        height, width = pixels.colour.shape[:2]
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            asked = f"an answer of {size[0]}×{size[1]} pixels was asked for"
            raise InvalidInput(f"{asked}; possible are 1 to {MAX_PIXELS:,}: choose another size")
        passes = self.passes(max(size[0] / width, size[1] / height))
        if width * height * self.config.scale ** (2 * passes) > MAX_PIXELS:
            given = f"a picture of {width}×{height} would on its way have more than {MAX_PIXELS:,} pixels"
            raise InvalidInput(f"{given}: make it smaller first")
        colour = bled(pixels)
        for _ in range(passes):
            colour = self.levels(colour)
        alpha = pixels.alpha
        if alpha is not None:
            for _ in range(passes):
                alpha = self.transparency(alpha)
            alpha = resized(alpha, size)
        return Pixels(resized(colour, size), alpha, pixels.profile)

    def passes(self, ratio: float) -> int:
        """How often the network runs to come nearest to a ratio, in the logarithm."""
        own = self.config.scale
        return 1 if own == 1 or ratio <= own else round(math.log(ratio) / math.log(own))

    def transparency(self, alpha: Levels) -> Levels:
        """(H, W, 1) through the network; no level leaves the range of its 3×3 neighbours, so that what is clear stays
        clear."""
        if alpha.min() == alpha.max():
            return alpha.repeat(self.config.scale, 0).repeat(self.config.scale, 1)
        low, high = (
            around(alpha, f).repeat(self.config.scale, 0).repeat(self.config.scale, 1) for f in (np.minimum, np.maximum)
        )
        return np.clip(self.levels(alpha), low, high)

    def levels(self, levels: Levels) -> Levels:
        """(H, W, C) of levels -> (s·H, s·W, C), once through the network."""
        height, width, channels = levels.shape
        scale = self.config.scale
        result = np.empty((scale * height, scale * width, channels), levels.dtype)
        for rows, columns, piece in self.pieces(levels):
            result[rows, columns] = piece
        return result

    @torch.inference_mode()
    def pieces(self, levels: Levels) -> Iterator[tuple[slice, slice, Levels]]:
        """Where in the answer a piece lies, and the piece, row by row of tiles."""
        height, width = levels.shape[:2]
        fold, scale, white = self.config.unshuffle, self.config.scale, top(levels)
        padded = np.pad(levels, ((0, -height % fold), (0, -width % fold), (0, 0)), mode="edge")
        halo = self.settled_halo() if max(padded.shape[:2]) > self.tile else 0
        for window in windows(padded.shape[0], padded.shape[1], self.tile, halo, fold):
            read = padded[window.rows.before : window.rows.after, window.columns.before : window.columns.after]
            answer = self.answer(torch.from_numpy(read.astype(np.float32) / white).permute(2, 0, 1))  # (C, s·h, s·w)
            own = (kept(answer, window, scale).clamp(0, 1) * white).round().permute(1, 2, 0).cpu().numpy()
            rows, columns = (
                slice(scale * s.start, scale * min(s.stop, n)) for s, n in zip(window, (height, width), strict=True)
            )
            yield rows, columns, own[: rows.stop - rows.start, : columns.stop - columns.start].astype(levels.dtype)

    def answer(self, x: Tensor) -> Tensor:
        """(C, h, w) in [0, 1] -> (C, s·h, s·w) in float32: grey is asked for as three equal channels, colours of one
        that reads grey one by one. Where half precision overflows, all goes on in float32."""
        y = self.run(x[:, None] if self.config.in_channels == 1 else x.expand(3, -1, -1)[None])
        if not y.isfinite().all():
            if self.dtype == torch.float32:
                raise InvalidInput(
                    "the network answers with numbers that are none: its file is damaged, or it is no upscaler's"
                )
            self.net, self.dtype = self.net.float(), torch.float32
            return self.answer(x)
        if self.config.in_channels == 1:
            return y[:, 0]
        return y[0] if len(x) == 3 else y[0].mean(0, keepdim=True)

    def run(self, batch: Tensor) -> Tensor:
        """The network as it stands on its device, (B, C, h, w) of any type -> float32."""
        return self.net(batch.to(self.device, self.dtype, memory_format=self.layout)).float()

    def settled_halo(self) -> int:
        """The halo given, or measured once and in float32, for rounding is no seam."""
        if self.halo is None:
            net: Callable[[Tensor], Tensor] = (
                self.net if self.dtype == torch.float32 else copy.deepcopy(self.net).float()
            )
            channels, scale, most = self.config.in_channels, self.config.scale, min(self.config.reach, self.tile // 3)
            self.halo = needed_halo(
                lambda x: net(x.to(self.device)), channels, most, scale=scale, tolerance=self.tolerance
            )
        return self.halo


def check_scale(scale: float) -> float:
    """The ratio, if it is one of 1 .. 16.

    Raises:
        InvalidInput: it is not.
    """
    if not 1 <= scale <= MAX_SCALE:  # also where it is no number
        raise InvalidInput(f"scale: {scale!r} was given; possible is a number from 1 to {MAX_SCALE:g}, for example 2")
    return float(scale)


def around(levels: Levels, extreme: Callable[[Levels, Levels], Levels]) -> Levels:
    """(H, W, 1): the minimum or the maximum over 3×3 neighbours."""
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    return extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
