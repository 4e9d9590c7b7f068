"""The things in a picture of things on a background, and where each of them is.

The background is plain or one gradient, as in all composites that are painted or learned from, so it is known from the
picture's rim; what differs from it are the things. No network is asked, so nothing is recognised here: `judge` tells
what each cut-out shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..levels import bytes_of

#: How far a thing's colour is from the background's, of 255 in the channel that differs most.
APART = 32.0
#: How wide the rim is, in parts of the side.
RIM = 1 / 32
#: Things are told apart on blocks of so many pixels.
BLOCK = 2
#: A thing covers so much of the picture at least, and so much of what the largest covers.
LEAST, SMALL = 0.008, 0.12
#: The white around a cut-out, in parts of its side.
MARGIN = 0.08


@dataclass(frozen=True)
class Piece:
    """One thing.

    Args:
        mask: (H, W) of bool.
        x, y: the middle of its box, in parts of the picture: 0 left or above, 1 right or below.
    """

    mask: Tensor
    x: float
    y: float


def background(picture: Tensor) -> Tensor:
    """Bytes (3, H, W) to the background's colours (3, H, W), in [0, 255].

    ``c(x, y) = a + b x + c y`` fitted to the rim's pixels by least squares, thrice, each time without the pixels that
    the last fit missed: a thing may touch the rim.
    """
    _, height, width = picture.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    terms = torch.stack([torch.ones_like(x), x, y], -1).double()
    rim = torch.ones(height, width, dtype=torch.bool)
    edge = max(1, round(RIM * min(height, width)))
    rim[edge:-edge, edge:-edge] = False
    known, values = terms[rim], picture.movedim(0, -1)[rim].double()
    # The colour that most of the rim has, roughly: what is fitted first must not be led astray by a thing.
    kept = (values - values.median(0).values).abs().amax(1) <= (values - values.median(0).values).abs().amax(
        1
    ).quantile(0.9)
    fit = torch.zeros(3, 3, dtype=torch.float64)
    for _ in range(3):
        fit = torch.linalg.lstsq(known[kept], values[kept]).solution
        missed = (known @ fit - values).abs().amax(1)
        kept = missed <= missed.quantile(0.75).clamp(min=4)
    return (terms @ fit).movedim(-1, 0).clamp(0, 255).float()


def things(picture: Tensor) -> Tensor:
    """Where bytes (3, H, W) are not background, (H, W) of bool."""
    return (picture.float() - background(picture)).abs().amax(0) > APART


def regions(mask: Tensor) -> list[Tensor]:
    """The connected regions of (H, W) of bool, neighbours in all eight directions, each (H, W) of bool."""
    height, width = mask.shape
    left, found = set(map(tuple, mask.nonzero().tolist())), []
    while left:
        edge = [left.pop()]
        region = torch.zeros(height, width, dtype=torch.bool)
        while edge:
            y, x = edge.pop()
            region[y, x] = True
            near = {(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        found.append(region)
    return found


def found(picture: Tensor) -> list[Piece]:
    """The things in bytes (3, H, W), the largest first; what lies nearer than a few pixels is one thing."""
    mask, (height, width) = things(picture), picture.shape[1:]
    coarse = F.max_pool2d(mask[None, None].float(), 2 * BLOCK, stride=BLOCK, padding=BLOCK // 2)[0, 0] > 0
    each = (F.interpolate(r[None, None].float(), size=(height, width))[0, 0].bool() & mask for r in regions(coarse))
    known = sorted(each, key=lambda region: -int(region.sum()))
    least = max(LEAST * height * width, SMALL * int(known[0].sum())) if known else 0
    return [_piece(region) for region in known if int(region.sum()) >= least]


def halves(picture: Tensor, relation: str) -> tuple[Tensor, Tensor] | None:
    """What a scene of two things shows of the first and of the second, two masks (H, W) of bool; None where it shows
    nothing of one.

    The picture is cut where there is least of things, between the third and the two thirds of its side, so that things
    that touch come apart.

    Args:
        relation: where the first is, seen from the second: "left", "right", "top", "bottom".
    """
    mask = things(picture)
    across = mask if relation in ("left", "right") else mask.mT
    filled, side = across.sum(0), across.shape[1]
    third = side // 3
    middle = third + int((filled[third : side - third] + _tilt(side - 2 * third)).argmin())
    before, after = across.clone(), across.clone()
    before[:, middle:], after[:, :middle] = False, False
    parts = (before, after) if relation in ("left", "top") else (after, before)
    if not all(part.any() for part in parts):
        return None
    first, second = (part if across is mask else part.mT for part in parts)
    return first, second


def _tilt(length: int) -> Tensor:
    """Less than a pixel, and least in the middle: of equally empty lines the middle one is taken."""
    return torch.linspace(-0.9, 0.9, length).abs()


def _piece(mask: Tensor) -> Piece:
    top, bottom, left, right = _box(mask)
    return Piece(mask, (left + right) / 2 / mask.shape[1], (top + bottom) / 2 / mask.shape[0])


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def cut_out(picture: Tensor, mask: Tensor, side: int = 128) -> Tensor:
    """A thing, (H, W) of bool, alone on white, in the middle of bytes (3, side, side)."""
    top, bottom, left, right = _box(mask)
    shown = torch.where(mask, picture.float() / 127.5 - 1, torch.ones(()))[:, top:bottom, left:right]
    longer, (height, width) = max(shown.shape[1:]), shown.shape[1:]
    space = round(MARGIN * longer)
    above, before = (longer - height) // 2 + space, (longer - width) // 2 + space
    whole = longer + 2 * space
    padded = F.pad(shown, (before, whole - width - before, above, whole - height - above), value=1.0)
    return bytes_of(F.interpolate(padded[None], size=(side, side), mode="bilinear", antialias=True))[0]
