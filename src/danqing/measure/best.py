"""Of several pictures of one prompt the one that fits it best, as the image tower tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ..errors import InvalidInput
from ..painting.vocabulary import Vocabulary
from ..pictures.picture import Picture
from ..prompt.grammar import plan
from ..request.request import Request
from ..store.find import find
from . import tower
from .gallery import fitted

#: The side that pictures are looked at, in pixels.
SIDE = 128


class Fit:
    """How well pictures fit their prompts.

    Raises:
        InvalidFile: no image tower is installed, or it is damaged.
    """

    def __init__(self) -> None:
        self.tower = tower.load()

    def of(self, pictures: Sequence[Picture]) -> list[float]:
        """The cosine between each picture and what is asked for in its last step, in [-1, 1]."""
        seen = torch.stack([fitted(picture.image, SIDE) for picture in pictures])
        said = self.tower.words([asked(picture.request) for picture in pictures])
        return (self.tower.pictures(seen) * said).sum(1).tolist()


def best(pictures: Iterable[Picture]) -> Picture:
    """Of several pictures the one that fits its prompt best, as the image tower that ships tells.

    Raises:
        InvalidInput: there is none. InvalidFile: the tower is not installed.
    """
    if not (given := list(pictures)):
        raise InvalidInput("the best of no pictures was asked for: give one or more, as danqing.paint_all paints them")
    how_well = Fit().of(given)
    return given[max(range(len(given)), key=how_well.__getitem__)]


def asked(request: Request) -> str:
    """What a request asks for at its end, in words alone: emoji by their names, the style beside, nothing that is
    steered away from."""
    vocabulary = Vocabulary.of(find(request.model))
    steps = max(1, request.sampling.steps)
    prompt = vocabulary.styles.applied(vocabulary.spelled(request.prompt)[0], request.style)
    texts = [term.text for term in plan(prompt, steps).at(steps) if term.weight > 0]
    parts = [part for text in texts for part in text]
    return ", ".join("".join(piece.text for piece in part if piece.weight > 0) for part in parts)
