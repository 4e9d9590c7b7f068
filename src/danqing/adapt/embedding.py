"""Textual inversion: words whose vectors were learned from pictures, used in a prompt by their name.

A text tower reads ``v_1 … v_k`` where the prompt has the word; the tower itself stays as it is. Each vector is a token
of the window. Source: Gal et al. 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidFile, InvalidInput
from .base import Detach, place

#: Ids of learned words count from here; no vocabulary reaches so far.
FIRST = 1_000_000
#: Names of tensors by the tower that they are for; the others are for the only one.
TOWERS = {"clip_l": "text", "clip_g": "text_2", "t5xxl": "text_3"}
#: Where the table of token vectors is in a `CLIPText` and in a `T5`.
CLIP_TABLE, T5_TABLE = "text_model.embeddings.token_embedding", "shared"


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedWord:
    """A word and its vectors.

    Args:
        name: what is typed for it.
        vectors: role of a text tower ("text", "text_2", "text_3") -> (k, D), the same k for all.
    """

    name: str
    vectors: Mapping[str, Tensor]

    @property
    def count(self) -> int:
        """k."""
        return len(next(iter(self.vectors.values())))


def read(tensors: Mapping[str, Tensor], name: str) -> LearnedWord:
    """The word in a file's tensors: A1111's (``string_to_param``, ``emb_params``), diffusers' (one tensor, whose name
    is the word) or a pair for SDXL (``clip_l``, ``clip_g``).

    Args:
        tensors: by name, as `danqing.weights.store.read` gives them, nested names joined by dots.
        name: what to call the word: the file's name without its ending, or the one that stands in it.

    Raises:
        InvalidFile: there are no vectors, or several words' where one was expected.
    """
    names = list(tensors)
    web_ui = [key for key in names if key.startswith("string_to_param.") or key == "emb_params"]
    chosen = {"text": web_ui[0]} if len(web_ui) == 1 else {}
    if names and all(key in TOWERS for key in names):
        chosen = {TOWERS[key]: key for key in names}
    elif len(names) == 1 and not web_ui:
        chosen = {"text": names[0]}
    if not chosen:
        shown = (
            ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "no tensor"
        )
        raise InvalidFile(
            f"{name} is no textual inversion: it holds {shown}. One has a single tensor string_to_param.* or "
            "emb_params, the pair "
            "clip_l and clip_g, or one tensor alone, named as its word"
        )
    given = {role: tensors[key] for role, key in chosen.items()}
    flat = {
        role: tensor.reshape(-1, tensor.shape[-1])
        for role, tensor in given.items()
        if tensor.ndim in (1, 2) and tensor.numel()
    }
    counts = {len(tensor) for tensor in flat.values()}
    if len(flat) != len(given) or len(counts) != 1 or not all(tensor.is_floating_point() for tensor in flat.values()):
        shapes = {key: list(tensors[key].shape) for key in chosen.values()}
        raise InvalidFile(
            f"{name} holds {shapes}, not the vectors of one word, (k, D) with the same k for each text encoder"
        )
    return LearnedWord(name=name, vectors=flat)


class Extended(nn.Module):
    """A table of token vectors and, from the id `FIRST` on, more of them."""

    def __init__(self, table: nn.Module, vectors: Tensor):
        super().__init__()
        self.inner = table
        self.register_buffer("vectors", vectors, persistent=False)  # (n, D)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        learned = ids >= FIRST
        known = self.inner(ids.masked_fill(learned, 0))
        more = F.embedding((ids - FIRST).clamp_min(0), cast(Tensor, self.vectors))
        return torch.where(learned[..., None], more, known)


@dataclass(frozen=True)
class Vocabulary:
    """Learned words and the ids that stand for their vectors, the same for every tower and tokenizer of a model.

    ``with_words(tokenizer, vocabulary.ids)`` (`danqing.prompt.tokenize`) makes the tokenizer know them.

    Args:
        words: each name once.

    Raises:
        InvalidInput: two words of one name.
    """

    words: tuple[LearnedWord, ...]

    def __post_init__(self) -> None:
        names = [word.name.casefold() for word in self.words]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidInput(f"two learned words are called {min(twice)!r}: rename one of the files")

    @cached_property
    def ids(self) -> dict[str, tuple[int, ...]]:
        """Name -> the ids of its vectors."""
        ids: dict[str, tuple[int, ...]] = {}
        following = FIRST
        for word in self.words:
            own = tuple(range(following, following + word.count))
            ids[word.name] = own
            following += word.count
        return ids

    def on(self, role: str) -> TaughtWords:
        """The adapter of the text tower of that role."""
        return TaughtWords(self.words, role)


@dataclass(frozen=True)
class TaughtWords:
    """The words for one text tower, an `Adapter`; words without vectors for this tower are refused."""

    words: Sequence[LearnedWord]
    role: str = "text"

    def attach(self, target: nn.Module) -> Detach:
        """Put the vectors behind the token table of a `CLIPText` or a `T5`; the returned call takes them away.

        Raises:
            InvalidInput: the vectors are of another width than the table's, or words are attached already.
        """
        holder, attr, table = place(target, CLIP_TABLE if hasattr(target, "text_model") else T5_TABLE)
        if isinstance(holder, Extended):
            raise InvalidInput(
                "this text encoder has learned words already: detach them, and attach all words as one vocabulary"
            )
        like = table(torch.zeros(1, dtype=torch.int64, device=cast(nn.Embedding, table).weight.device))  # (1, D)
        rows = []
        for word in self.words:
            vectors = word.vectors.get(self.role)
            if vectors is None or vectors.shape[1] != like.shape[1]:
                has = (
                    f"vectors of width {vectors.shape[1]}"
                    if vectors is not None
                    else f"vectors for {', '.join(word.vectors)} alone"
                )
                raise InvalidInput(
                    f"the learned word {word.name!r} has {has}; the text encoder {self.role!r} reads "
                    f"{like.shape[1]}: the word was "
                    "learned for another model"
                )
            rows.append(vectors.to(like))
        if not rows:
            return lambda: None
        extended = Extended(table, torch.cat(rows))
        setattr(holder, attr, extended)

        def detach() -> None:
            if getattr(holder, attr) is extended:
                setattr(holder, attr, table)

        return detach
