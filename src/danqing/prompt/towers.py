"""What a painter hears prompts by: one CLIP tower or several side by side, behind one interface."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidInput
from ..nets.clip import CLIPText
from ..types import Conditioning
from .batches import Batched
from .encode import ClipEncoder, Encoded, condition
from .grammar import Plan, Tag
from .tokenize import Tokenizer, with_words


class Text(Protocol):
    """From the plans of one picture to their conditionings."""

    @property
    def layers(self) -> int:
        """How many layers ``skip`` may count."""
        ...

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture; ``skip`` layers are left out at the end, ``weighting`` is one of
        `WEIGHTINGS`."""
        ...

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> Text:
        """The same text that also knows learned words, name -> ids, which its CLIP towers were taught."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tower:
    """One CLIP text tower of a model.

    Args:
        net: the network, wherever it is.
        pad: the id that fills its windows; None leaves the tokenizer's.
        normed: whether its tokens pass the final norm (Stable Diffusion 1 and 2: yes; XL and 3: no).
        summary: which of its summaries the model reads, if any.
    """

    net: CLIPText
    pad: int | None = None
    normed: bool = True
    summary: Literal["projected", "pooled"] | None = None


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Several towers that read the same ids, as one `danqing.prompt.encode.Encoder`.

    ``tokens = [tokens_1 | tokens_2 | … | 0]`` along the width, ``summary = [summary_1 | summary_2 | …]`` of those that
    have one. Source: Podell et al. 2023, section 2.1; Esser et al. 2024, appendix B.2, where zeros fill the width of
    another tower.

    Args:
        towers: at least one.
        eos: the id that ends a text; what follows it is padding.
        width: of the tokens; 0 for that of the towers together.
    """

    towers: tuple[Tower, ...]
    eos: int
    skip: int = 0
    width: int = 0

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids (B, window) to tokens (B, window, D) and a summary (B, P) or None."""
        ends = ids == self.eos
        padding = ends.cumsum(1) - ends.long() > 0  # after the first end
        tokens, summaries = [], []
        for tower in self.towers:
            encoder = ClipEncoder(tower=tower.net, skip=self.skip, normed=tower.normed, summary=tower.summary)
            embedded, summary = encoder.embed(ids if tower.pad is None else ids.masked_fill(padding, tower.pad))
            tokens.append(embedded)
            summaries += [] if summary is None else [summary]
        wide = torch.cat(tokens, -1)
        wide = F.pad(wide, (0, max(0, self.width - wide.shape[-1])))
        return wide, torch.cat(summaries, -1) if summaries else None


@dataclass(frozen=True, kw_only=True)
class ClipText:
    """`Text` of CLIP towers that share a vocabulary.

    Args:
        even, max_chunks: see `condition`; the first is needed where text and picture attend to each other.
        width: see `SideBySide`.
    """

    tokenizer: Tokenizer
    towers: tuple[Tower, ...]
    even: bool = False
    width: int = 0
    max_chunks: int = 16

    @property
    def layers(self) -> int:
        """Of the shallowest tower."""
        return min(tower.net.config.num_hidden_layers for tower in self.towers)

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture."""
        encoder = Batched(SideBySide(towers=self.towers, eos=self.tokenizer.eos, skip=skip, width=self.width))
        return condition(
            plans,
            self.tokenizer,
            encoder,
            weighting=weighting,
            even=self.even,
            max_chunks=self.max_chunks,
            applied=applied,
        )

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> ClipText:
        """The same text that also knows learned words."""
        return replace(self, tokenizer=with_words(self.tokenizer, words))


@dataclass(frozen=True, kw_only=True)
class Around:
    """What stands around a `Text`: all of it but ``condition``."""

    text: Text

    @property
    def layers(self) -> int:
        """Of the text within."""
        return self.text.layers

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> Self:
        """The same text that also knows learned words."""
        return replace(self, text=self.text.with_words(words))


@dataclass(frozen=True, kw_only=True)
class Scored(Around):
    """A `Text` whose summaries end in the aesthetic score that the picture shall have, and that it shall keep away
    from.

    ``summary' = [summary | score]``. Source: Podell et al. 2023, section 2.5, whose refiner was told the score of each
    picture.

    Args:
        scores: of the first plan, and of every later one.
    """

    scores: tuple[float, float] = (6.0, 2.5)

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Encode the prompts of one picture."""
        prompts = self.text.condition(plans, skip=skip, weighting=weighting, applied=applied)
        return tuple(encoded.map(partial(scored, score=self.scores[min(i, 1)])) for i, encoded in enumerate(prompts))


def scored(cond: Conditioning, score: float) -> Conditioning:
    """A conditioning with the score behind its summary."""
    if cond.pooled is None:
        raise InvalidInput("a score stands behind a summary of the text, and this text has none")
    return replace(cond, pooled=torch.cat([cond.pooled, cond.pooled.new_full((len(cond.pooled), 1), score)], 1))
