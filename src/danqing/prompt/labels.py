"""How a model that knows classes hears a prompt: one-hot in place of text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UnknownName
from ..types import Conditioning
from .classes import Classes
from .encode import WEIGHTINGS, Encoded, unapplied
from .grammar import Plan, Tag, Weighted

#: The label of no class, which guidance counts from.
NONE = -1


def one_hot(labels: Tensor, count: int) -> Conditioning:
    """Labels (B,) of 0 .. K-1, or `NONE`, as ``pooled`` (B, K): 1 at the class and 0 elsewhere, zeros for none.

    Their token stream is a single token of no numbers, (B, 1, 0): there is no text to attend to.
    """
    pooled = (labels[:, None] == torch.arange(count, device=labels.device)).float()
    return Conditioning(tokens=pooled.new_zeros(len(labels), 1, 0), pooled=pooled)


@dataclass(frozen=True, kw_only=True)
class ClassText:
    """`danqing.prompt.towers.Text` of classes: each text names one; the grammar chooses and composes them over the
    steps.

    ``cat AND dog:0.5`` guides towards both and ``[cat:dog:0.5]`` turns from one to the other. Emphasis, (cat:1.3), has
    no words to
    weigh: it is ignored with a warning, as is whatever else stands beside a name. An empty text is no class.

    Args:
        classes: in the order of the network's labels; None for a network without, which hears nothing.
        device: where the conditionings are.
    """

    classes: Classes | None
    device: torch.device | str = "cpu"

    @property
    def layers(self) -> int:
        """The one there is: nothing can be skipped."""
        return 1

    def condition(
        self, plans: Sequence[Plan], *, skip: int, weighting: str, applied: Collection[Tag] = ()
    ) -> tuple[Encoded, ...]:
        """Look up the prompts of one picture; ``skip`` changes nothing.

        Raises:
            UnknownName: a text that names no class, or no such weighting.
        """
        if weighting not in WEIGHTINGS:
            raise UnknownName("weighting", weighting, WEIGHTINGS)
        known = {text: self._heard(text) for plan in plans for text in plan.texts}

        def encoded(plan: Plan) -> Encoded:
            ignored = (warning for text in plan.texts for warning in known[text][1])
            return Encoded.of(plan, lambda text: known[text][0], [*unapplied(plan, applied), *ignored])

        return tuple(map(encoded, plans))

    def _heard(self, text: Weighted) -> tuple[Conditioning, list[str]]:
        """A text's conditioning, and what of it was ignored."""
        pieces = [piece for part in text for piece in part if piece.text.strip()]
        if self.classes is None:
            return one_hot(torch.tensor([NONE], device=self.device), 0), [
                "the prompt was ignored: this model hears none."
            ] * bool(pieces)
        label, warning = self.classes.of(" ".join(piece.text for piece in pieces))
        warnings = [warning] if warning else []
        if any(piece.weight != 1 for piece in pieces):
            warnings.append("emphasis was ignored: this model hears the names of its kinds alone; AND weighs them.")
        labels = torch.tensor([NONE if label is None else label], device=self.device)
        return one_hot(labels, len(self.classes.names)), warnings

    def with_words(self, words: Mapping[str, tuple[int, ...]]) -> ClassText:
        """The same: it learns no words."""
        return self
