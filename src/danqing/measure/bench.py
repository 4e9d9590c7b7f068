"""What models are held against, and what is measured of them there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from ..learn.measures import quality
from ..nets.features import Features
from . import features
from .gallery import Gallery

#: The kind of a row of real art.
REAL = "real"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model, or real art in its place, measured; None where a number is not defined or not known.

    Args:
        name, kind, family: of the model; the kind is "GAN", "VAE", "autoregression", "diffusion" or "real".
        count: how many pictures were painted, and compared with the first so many of the art.
        size: of its own pictures, in pixels. pictures: the same at the size of the comparison, (count, 3, S, S) of
            bytes.
        frechet, floor: the Fréchet distance from the art, and that of as many other real pictures.
        precision, recall: as in `quality.covered`.
        sharpness, diversity: in parts of the art's own.
        novelty: the median distance to the nearest picture trained on, in parts of that of the art: near 0 they are
            copies.
        bits, bits_error, bits_of: bits a number, their standard error, and what they are.
        seconds: of a picture, the median, the model being loaded and warm.
        parameters: how many numbers its files hold. core_hours: of its training, as its description says.
        settings: what it painted with that trades variety for looks, or time. machine: where it did.
    """

    name: str
    kind: str
    family: str = ""
    count: int
    size: int
    pictures: Tensor
    frechet: float | None = None
    floor: float | None = None
    precision: float | None = None
    recall: float | None = None
    sharpness: float | None = None
    diversity: float | None = None
    novelty: float | None = None
    bits: float | None = None
    bits_error: float | None = None
    bits_of: str = ""
    seconds: float | None = None
    parameters: int | None = None
    core_hours: float | None = None
    settings: str = ""
    machine: str = ""
    warnings: tuple[str, ...] = ()


class Shown(NamedTuple):
    """Pictures (N, 3, S, S) of bytes and their features (N, D)."""

    pictures: Tensor
    features: Tensor

    @classmethod
    def of(cls, net: Features, pictures: Tensor) -> Shown:
        return cls(pictures, features.of(net, pictures))

    def first(self, count: int) -> Shown:
        return Shown(self.pictures[:count], self.features[:count])


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all models are held against: the art, the art that they were trained on where it is known, and the features
    of both.

    Args:
        gallery: the art, with its classes. real: the same, shown.
        known: everything trained on. others: of it as many as there is art, of its classes.
    """

    net: Features
    size: int
    gallery: Gallery
    real: Shown
    known: Shown | None = None
    others: Shown | None = None

    def floor(self, count: int) -> float:
        """The Fréchet distance of so many real pictures from as many others; where none are known, of the halves of the
        art."""
        if self.others is not None and len(self.others.pictures) >= count:
            return quality.frechet(self.others.features[:count], self.real.features[:count])
        half = count // 2
        return quality.frechet(self.real.features[:half], self.real.features[half : 2 * half])

    def measured(self, row: Row, painted: Shown) -> Row:
        """The row with what can be measured of pictures against as many real ones."""
        real = self.real.first(len(painted.pictures))
        return replace(
            row,
            frechet=quality.frechet(painted.features, real.features),
            precision=quality.covered(painted.features, real.features),
            recall=quality.covered(real.features, painted.features),
            sharpness=_ratio(*(float(quality.sharpness(each.pictures).mean()) for each in (painted, real))),
            diversity=_ratio(*(quality.spread(each.features) for each in (painted, real))),
        )

    def novelty(self, painted: Shown) -> float | None:
        """The median distance to the nearest picture trained on, in parts of that of as many real ones."""
        if self.known is None:
            return None
        known, real = self.known.features, self.real.first(len(painted.pictures))
        return _ratio(*(float(quality.nearest(each.features, known).median()) for each in (painted, real)))


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None
