"""A subject in the styles that none of its pictures shows: a model that drafts from the text's summary is told
that it begins there as in the nearest style that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...nets.drafted import DraftedUNet
from ...painting.styles import Styles
from ...painting.vocabulary import Vocabulary
from .frozen import Frozen

#: Of so many known things it is asked how near two styles are.
ASKED = 32


class Told(NamedTuple):
    """A text, and which of the pictures it is drafted as."""

    text: str
    picture: int


def elsewhere(captions: Sequence[str], styles: Styles, apart: Mapping[str, Mapping[str, float]]) -> list[Told]:
    """What pictures are called in each style that none of their captions names, each there the picture of the nearest
    style; of captions that name no style nothing.

    Args:
        apart: style -> style -> how far it is, at least 0.
    """
    shown = [next((name for name, words in styles.words.items() if words.within(text)), "") for text in captions]
    named = dict.fromkeys(filter(None, shown))
    found = list[Told]()
    for style in styles.words if named else ():
        near = min(named, key=lambda name: apart[style][name])
        of_near = [i for i, name in enumerate(shown) if name == near and style not in named]
        found += [Told(styles.moved(captions[i], near, style), i) for i in of_near]
    return found


@torch.no_grad()
def distances(frozen: Frozen) -> dict[str, dict[str, float]]:
    """Between styles, ``mean_k |m(k, s) - m(k, s')|²`` of the drafts m of things k that the model knows."""
    net, vocabulary = frozen.nets["denoiser"], Vocabulary.of(frozen.model)
    if not isinstance(net, DraftedUNet):
        return {}
    names = list(vocabulary.styles.words)
    things = [subject.en[0] for subject in vocabulary.subjects] or ["a drawing"]
    things = things[:: max(1, len(things) // ASKED)]
    drafts = [drafted(net, summaries(frozen, [vocabulary.styles.words[s].after(k) for k in things])) for s in names]
    every = dict(zip(names, drafts, strict=True))
    return {s: {t: float((m - n).square().mean()) for t, n in every.items()} for s, m in every.items()}


def summaries(frozen: Frozen, texts: Sequence[str]) -> Tensor:
    """Of each text its summary, (N, P)."""
    found = [said.pooled for said in frozen.said(texts)]
    return torch.cat([each for each in found if each is not None])


def drafted(net: DraftedUNet, pooled: Tensor) -> Tensor:
    """The drafts of summaries (N, P), in float32, (N, C, S, S)."""
    return net.draft(pooled.to(next(net.parameters()))).float()
