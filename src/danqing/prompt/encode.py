"""From a plan and a text encoder to conditionings: windows, weights, and what had to be left out.

A text of any length is cut into chunks of window - 2 ids (window - 1 where no bos opens a text, as in T5), each framed
by bos and eos and encoded by itself, and the chunks' tokens stand one after the other: (1, k * window, D). Every text
is computed alone, so nothing that is encoded beside it changes its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from ..errors import InvalidInput, UnknownName
from ..nets.clip import CLIPText
from ..types import Conditioning
from .grammar import Plan, Tag, Weighted
from .tokenize import Tokenizer, framed, room_of

T = TypeVar("T")
#: Longest cut text that a warning quotes whole.
QUOTED = 240


class Encoder(Protocol):
    """A text tower, or several side by side, as an encoder of prompts sees it."""

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids (B, window), on the CPU, to tokens (B, window, D) and a summary (B, P) or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClipEncoder:
    """A CLIP text tower as an `Encoder`.

    Args:
        tower: the network, wherever it is.
        skip: layers left out at the end, so A1111's "Clip skip" n is n - 1 here.
        normed: whether tokens pass the final norm (Stable Diffusion 1 and 2: yes; XL and 3: no, with skip=1).
        summary: "projected" or "pooled" for models that read a summary, None for those that read none.
    """

    tower: CLIPText
    skip: int = 0
    normed: bool = True
    summary: Literal["projected", "pooled"] | None = None

    def embed(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids (B, window) to tokens (B, window, D) and a summary (B, P) or None, on the tower's device."""
        device = next(self.tower.parameters()).device
        features = self.tower(ids.to(device), skip=self.skip, normed=self.normed)
        return features.tokens, None if self.summary is None else getattr(features, self.summary)


# ---- weights -------------------------------------------------------------------------------------------------------

Weighting = Callable[[Tensor, Tensor, Callable[[], Tensor]], Tensor]
"""(tokens (k, window, D), weights (k, window), () -> the empty chunk's tokens (1, window, D)) -> (k, window, D)."""


def _scaled(z: Tensor, w: Tensor, empty: Callable[[], Tensor]) -> Tensor:
    return z * w[..., None]


def _original(z: Tensor, w: Tensor, empty: Callable[[], Tensor]) -> Tensor:
    wide = torch.promote_types(z.dtype, torch.float32)  # a mean of 60,000 small numbers needs the digits
    before = z.to(wide).mean((1, 2), keepdim=True)  # (k, 1, 1)
    scaled = _scaled(z.to(wide), w.to(wide), empty)
    after = scaled.mean((1, 2), keepdim=True)
    ratio = torch.where(after == 0, 1.0, before / after)
    return (scaled * ratio).to(z.dtype)


def _between(z: Tensor, w: Tensor, empty: Callable[[], Tensor]) -> Tensor:
    return torch.lerp(empty().expand_as(z), z, w[..., None])


def _ignored(z: Tensor, w: Tensor, empty: Callable[[], Tensor]) -> Tensor:
    return z


#: How weights w act on the tokens z of a chunk. "original" (A1111): w z, then the chunk's mean is restored; "no-norm"
#: (A1111's "No norm"): w z; "comfy" (ComfyUI): z_empty + w (z - z_empty); "ignore": z.
WEIGHTINGS: Mapping[str, Weighting] = MappingProxyType(
    {"original": _original, "no-norm": _scaled, "comfy": _between, "ignore": _ignored}
)


# ---- chunks --------------------------------------------------------------------------------------------------------


class Chunk(NamedTuple):
    """As many ids as a window has room for at most, and a weight for each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


def chunked(text: Weighted, tokenizer: Tokenizer, *, backtrack: int | None = None) -> tuple[Chunk, ...]:
    """Cut a weighted text into chunks; each BREAK starts another, and the empty text is one empty chunk.

    Args:
        text: as a plan holds it.
        tokenizer: its window sets the room. A word of several vectors is not cut.
        backtrack: a chunk that would end within so many ids after a comma ends at the comma instead, so that phrases
            stay together; 0 cuts anywhere. The default is A1111's 20 of 75, in proportion to the window.

    Raises:
        InvalidInput: backtrack < 0.
    """
    room = room_of(tokenizer)
    reach = room * 20 // 75 if backtrack is None else backtrack
    if reach < 0:
        raise InvalidInput(f"backtrack {backtrack} is below zero: give 0 (cut anywhere) or up to {room}")
    comma = tokenizer.encode(",")[-1]
    continuing = getattr(tokenizer, "continuing", frozenset())  # of a learned word: it is not cut in two
    chunks: list[Chunk] = []
    for part in text:
        encoded = [(i, piece.weight) for piece in part for i in tokenizer.encode(piece.text)]
        ids, weights = tuple(i for i, _ in encoded), tuple(w for _, w in encoded)
        start = 0
        while start == 0 or start < len(ids):
            stop = min(start + room, len(ids))
            if stop < len(ids) and ids[stop] != comma:
                commas = [k for k in range(max(start, stop - reach), stop) if ids[k] == comma]
                stop = commas[-1] + 1 if commas else stop
            while stop < len(ids) and ids[stop] in continuing:
                stop -= 1
            chunks.append(Chunk(ids[start:stop], weights[start:stop]))
            if stop == 0:
                break
            start = stop
    return tuple(chunks)


def _quote(text: str) -> str:
    if len(text) <= QUOTED:
        return f'"{text}"'
    return f'"{text[: QUOTED // 2]} … {text[-QUOTED // 2 :]}" ({len(text)} characters)'


# ---- plans to conditionings ----------------------------------------------------------------------------------------


class EncodedRun(NamedTuple):
    """Steps ``start`` .. ``stop``, both included and counted from 1, and their terms: (conditioning, weight) each."""

    start: int
    stop: int
    terms: tuple[tuple[Conditioning, float], ...]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One prompt's conditionings over the steps.

    Args:
        steps: how many steps there are.
        runs: the steps in order; each conditioning is of one picture: tokens (1, L, D), pooled (1, P) or None.
        warnings: what of the prompt was cut or ignored, a sentence each.
    """

    steps: int
    runs: tuple[EncodedRun, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan, encode: Callable[[Weighted], Conditioning], warnings: Iterable[str] = ()) -> Encoded:
        """A plan with a conditioning in the place of every text."""
        return cls(steps=plan.steps, runs=_mapped(plan.runs, encode), warnings=tuple(dict.fromkeys(warnings)))

    def map(self, change: Callable[[Conditioning], Conditioning]) -> Encoded:
        """The same prompt with every conditioning changed, in the order of `conditionings`."""
        return replace(self, runs=_mapped(self.runs, change))

    @property
    def conditionings(self) -> Iterator[Conditioning]:
        """Those of every term, run by run."""
        return (cond for run in self.runs for cond, _ in run.terms)

    def at(self, step: int) -> tuple[tuple[Conditioning, float], ...]:
        """The terms at a step, 1 .. steps.

        Raises:
            InvalidInput: no such step.
        """
        for run in self.runs:
            if run.start <= step <= run.stop:
                return run.terms
        raise InvalidInput(f"this prompt has no step {step}: its steps are 1 to {self.steps}")


def _mapped(
    runs: Iterable[tuple[int, int, Iterable[tuple[T, float]]]], f: Callable[[T], Conditioning]
) -> tuple[EncodedRun, ...]:
    """Runs with what each term says changed, and its weight kept."""
    return tuple(
        EncodedRun(start, stop, tuple((f(cond), weight) for cond, weight in terms)) for start, stop, terms in runs
    )


def condition(
    plans: Sequence[Plan],
    tokenizer: Tokenizer,
    encoder: Encoder,
    *,
    weighting: str = "original",
    even: bool = True,
    max_chunks: int = 16,
    backtrack: int | None = None,
    applied: Collection[Tag] = (),
) -> tuple[Encoded, ...]:
    """Encode the prompts of one picture, usually the prompt and its negative; each distinct text is encoded once.

    Args:
        plans: what each prompt says at each step.
        tokenizer, encoder: of the text tower.
        weighting: one of `WEIGHTINGS`.
        even: fill every text with empty chunks up to the longest one's count, over all plans and steps, as A1111 does.
            Where text and picture attend to each other (MMDiT) repeating the shorter stream would not be neutral.
        max_chunks: longer texts are cut, with a warning; >= 1.
        backtrack: see `chunked`.
        applied: tags that the caller acts on; the others are warned of.

    Raises:
        UnknownName: no such weighting.
        InvalidInput: max_chunks < 1 or backtrack < 0.
    """
    if weighting not in WEIGHTINGS:
        raise UnknownName("weighting", weighting, WEIGHTINGS)
    if max_chunks < 1:
        raise InvalidInput(f"max_chunks {max_chunks} leaves no room for a prompt: give 1 or more")
    weigh = WEIGHTINGS[weighting]
    texts = list(dict.fromkeys(text for plan in plans for text in plan.texts))
    whole = {text: chunked(text, tokenizer, backtrack=backtrack) for text in texts}
    longest = max((min(len(chunks), max_chunks) for chunks in whole.values()), default=1)
    blank: list[Tensor] = []  # the empty chunk's tokens, encoded when first asked for

    def empty() -> Tensor:
        if not blank:
            blank.append(encoder.embed(torch.tensor([framed(tokenizer, ())]))[0])
        return blank[0]

    def conditioning(text: Weighted) -> Conditioning:
        chunks = whole[text][:max_chunks]
        chunks += (Chunk((), ()),) * (longest - len(chunks) if even else 0)
        ids = torch.tensor([framed(tokenizer, chunk.ids) for chunk in chunks])  # (k, window)
        z, pooled = encoder.embed(ids)  # (k, window, D), (k, P)
        if any(weight != 1 for chunk in chunks for weight in chunk.weights):
            opening = [] if tokenizer.bos is None else [1.0]
            rest = [tokenizer.window - len(opening) - len(chunk.ids) for chunk in chunks]
            weights = [[*opening, *chunk.weights, *[1.0] * n] for chunk, n in zip(chunks, rest, strict=True)]
            z = weigh(z, torch.tensor(weights, dtype=z.dtype, device=z.device), empty)
        # a summary is of one window: the first, which holds what the prompt begins with
        return Conditioning(tokens=z.reshape(1, -1, z.shape[-1]), pooled=None if pooled is None else pooled[:1])

    known = {text: conditioning(text) for text in texts}
    return tuple(
        Encoded.of(plan, known.__getitem__, _warnings(plan, whole, tokenizer, max_chunks, applied)) for plan in plans
    )


def _warnings(
    plan: Plan,
    whole: Mapping[Weighted, tuple[Chunk, ...]],
    tokenizer: Tokenizer,
    max_chunks: int,
    applied: Collection[Tag],
) -> list[str]:
    """What of this plan was cut or ignored."""
    out = unapplied(plan, applied)
    for text in plan.texts:
        lost = [i for chunk in whole[text][max_chunks:] for i in chunk.ids]
        if lost:
            room, quoted = room_of(tokenizer), _quote(tokenizer.decode(lost))
            out.append(
                f"the prompt is longer than {max_chunks} chunks of {room} tokens; {len(lost)} were cut: {quoted}."
            )
    return out


def unapplied(plan: Plan, applied: Collection[Tag]) -> list[str]:
    """A warning for each tag that the caller does not act on, or of which it reads but a part, and for what else of the
    prompt was not understood."""
    ignored = [
        f"{tag.text} was ignored: nothing of that name is applied here." for tag in plan.tags if tag not in applied
    ]
    partly = [
        f"of {tag.text} {', '.join(tag.unread)} was ignored: it reads <{tag.kind}:name:strength>, or te= and unet=."
        for tag in plan.tags
        if tag in applied and tag.unread
    ]
    return [*ignored, *partly, *plan.unread]
