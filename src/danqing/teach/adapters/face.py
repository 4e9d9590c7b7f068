"""An adapter that keeps faces, of one's own portraits: a recogniser's numbers as tokens beside the words, in the layout
of InstantID."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import InvalidFile
from ...identity import analysis
from ...learn.training.experiment import Count
from ...nets.image_projections import HEAD
from ...nets.ip_adapter import IPAdapter, IPAdapterConfig
from ...pictures import read as pictures
from .batches import Item
from .shown import OwnShown

#: How many numbers the recogniser that ships says of a face.
NUMBERS = 128


@dataclass(frozen=True, kw_only=True)
class OwnFace(OwnShown):
    """Whose a face is, from the recogniser that ships, through a resampler of one token (Wang et al. 2024, InstantID,
    section 3.2).

    Pictures that lie in one folder below are of one person: the numbers of one are shown with another, so that what is
    kept is the person and no picture.

    Args:
        depth, heads, hidden: of the resampler.
    """

    KIND: ClassVar[str] = "face"

    tokens: Count = 16
    depth: Count = 2
    heads: Count = 4
    hidden: Count = 256

    @property
    def name(self) -> str:
        return f"{self.own.folder}-face"

    def config(self, width: int, widths: tuple[int, ...]) -> IPAdapterConfig:
        return IPAdapterConfig(
            kind="plus",
            tokens=self.tokens,
            width=width,
            seen=NUMBERS,
            face=NUMBERS,
            hidden=self.hidden,
            depth=self.depth,
            attended=HEAD * self.heads,
            fed=4 * self.hidden,
            layers=widths,
        )

    def tokens_of(self, learned: IPAdapter, seen: Tensor) -> Tensor:
        return learned(None, seen)

    @cached_property
    def _numbers(self) -> list[Tensor]:
        """Of the largest face of every picture, (1, 128).

        Raises:
            InvalidFile: pictures show none.
        """
        reads, found, faceless = analysis.shipped(), list[Tensor](), list[str]()
        for file in self.own.files:
            levels = np.asarray(pictures.over_white(pictures.picture(str(file))))
            if faces := analysis.largest_first(reads.detect(levels)):
                found.append(reads.numbers(levels, faces[0]))
            else:
                faceless.append(file.name)
        if faceless:
            raise InvalidFile(
                f"{self.folder}: no face was found in {len(faceless)} of {len(self.own.files)} pictures "
                f"({', '.join(faceless[:3])}): take them out, or give larger ones that show faces from the front"
            )
        return found

    @cached_property
    def _people(self) -> list[list[int]]:
        """Of every picture those of the same person."""
        home, by = self.own.files[0].parent, defaultdict[object, list[int]](list)
        alone = all(file.parent == home for file in self.own.files)
        keys = [i if alone else file.parent for i, file in enumerate(self.own.files)]
        for i, key in enumerate(keys):
            by[key].append(i)
        return [by[key] for key in keys]

    def seen(self, item: Item, draw: torch.Generator | None) -> Tensor:
        others = [i for i in self._people[item[0]] if i != item[0]] if draw is not None else []
        which = others[int(torch.randint(len(others), (), generator=draw))] if others else item[0]
        return self._numbers[which]
