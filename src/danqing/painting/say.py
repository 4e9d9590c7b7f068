"""Steps that add to what is said, of which a model's task is one: what a denoiser reads beside the noisy latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..types import Conditioning

#: What is said, each with its weight in guidance.
Terms = tuple[tuple[Conditioning, float], ...]
#: A step that adds to what is said: (terms, base) -> (terms, base).
Say = Callable[[Terms, Conditioning], tuple[Terms, Conditioning]]


def each(change: Callable[[Conditioning], Conditioning], base: Callable[[Conditioning], Conditioning]) -> Say:
    """A step that changes every term, and the base in its own way."""
    return lambda terms, away: (tuple((change(cond), weight) for cond, weight in terms), base(away))


@dataclass(frozen=True)
class During:
    """A step of saying that speaks in a part of the steps of painting alone, from ``start`` to ``end`` of them, 0 to 1,
    as `danqing.painting.steps.window` counts them."""

    say: Say
    start: float
    end: float

    def __call__(self, terms: Terms, base: Conditioning) -> tuple[Terms, Conditioning]:
        return self.say(terms, base)


def speaking(say: Sequence[Say], step: int, steps: int) -> tuple[Say, ...]:
    """Those that speak in a step of painting, 0 to ``steps`` - 1."""
    return tuple(
        one for one in say if not isinstance(one, During) or round(one.start * steps) <= step < round(one.end * steps)
    )


@dataclass(frozen=True)
class Beside:
    """The channels that stand beside the latent, and how guidance counts with them; without channels, neither.

    Args:
        shown: (1, C, h, w), beside the latent of every term.
        hidden: (1, C, h, w), beside the latent of the base, where guidance also leads towards the picture; None for
            ``shown``.
        keep: how strongly it does.
    """

    shown: Tensor | None = None
    hidden: Tensor | None = None
    keep: float = 1.0

    def __call__(self, terms: Terms, base: Conditioning) -> tuple[Terms, Conditioning]:
        """Terms and base with their channels.

        Where the picture is hidden from the base, ``x_0 = d(∅, ∅) + s_I (d(∅, I) - d(∅, ∅)) + s_T (d(T, I) - d(∅,
        I))``, which is the terms (T, I) of weight s_T and (∅, I) of weight s_I - s_T (Brooks et al. 2022,
        InstructPix2Pix, equation 3).
        """
        if self.shown is None:
            return terms, base
        with_it = tuple((replace(cond, concat=self.shown), weight) for cond, weight in terms)
        if self.hidden is None:
            return with_it, replace(base, concat=self.shown)
        more = (replace(base, concat=self.shown), self.keep - sum(weight for _, weight in terms))
        return (*with_it, more), replace(base, concat=self.hidden)


NOTHING = Beside()
