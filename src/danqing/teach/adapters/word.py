"""Textual inversion of one's own pictures: a new word whose vectors are learned, the model as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ...adapt.base import Detach, place
from ...adapt.embedding import CLIP_TABLE, FIRST, TOWERS
from ...adapt.learned import LearnedVectors
from ...errors import InvalidInput
from ...learn.training.experiment import Count
from ...nets.clip import CLIPText
from ...painting.text import tokenizer_of
from ...types import Conditioning
from ...weights import store
from ..base import Above
from ..own import folder_name
from .base import OwnAdapter
from .frozen import Frozen


@dataclass(frozen=True, kw_only=True)
class OwnWord(OwnAdapter):
    """The vectors of a word. Source: Gal et al. 2022, section 3.

    Args:
        word: what is typed for it; the folder's name where not given. It is set before captions without it.
        vectors: how many it has, each a token of the prompt.
        init: words near in meaning, whose vectors it begins with; the word as it is read without them where not given.
    """

    KIND: ClassVar[str] = "word"

    rate: Above = 5e-3
    decay: Annotated[float, Field(ge=0)] = 0.0
    word: str = ""
    vectors: Count = 2
    init: str = ""

    @property
    def texts_learn(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return self.word or re.sub(r"\W+", "-", folder_name(self.folder))

    def spelled(self, text: str) -> str:
        there = re.search(rf"(?<![A-Za-z0-9_]){re.escape(self.name)}(?![A-Za-z0-9_])", text, re.IGNORECASE)
        return text if there or not text or text == self.prior else f"{self.name}, {text}"

    @cached_property
    def _reading(self) -> Frozen:
        return self.frozen.reading({self.name: tuple(range(FIRST, FIRST + self.vectors))})

    def said(self, texts: Sequence[str]) -> list[Conditioning]:
        """What texts say by now; while the word's vectors are away, it is read as any other."""
        return (self._reading if self._on else self.frozen).said([self.spelled(text) for text in texts])

    def made(self) -> LearnedVectors:
        return LearnedVectors({role: self._first(tower) for role, tower in self.frozen.towers.items()})

    def _first(self, tower: CLIPText) -> Tensor:
        """(k, D): the vectors of the words that it begins with, again and again where there are fewer.

        Raises:
            InvalidInput: they say nothing.
        """
        ids = tokenizer_of(self.frozen.model).encode(self.init or self.name)
        if not ids:
            raise InvalidInput(f"init: {self.init!r} has no token to begin with: give a word")
        table = cast(nn.Embedding, place(tower, CLIP_TABLE).here).weight
        return table.detach()[torch.tensor([ids[i % len(ids)] for i in range(self.vectors)])].float()

    def put_on(self, learned: nn.Module) -> Detach:
        return cast(LearnedVectors, learned).attach(self.frozen.nets)

    def write(self, learned: nn.Module, folder: Path, said: Mapping[str, str]) -> Path:
        path, vectors = folder / f"{self.name}.safetensors", cast(LearnedVectors, learned).vectors
        names = {role: name for name, role in TOWERS.items()} if len(vectors) > 1 else dict.fromkeys(vectors, self.name)
        tensors = {names[role]: value.detach().cpu().contiguous() for role, value in vectors.items()}
        store.write(path, tensors, said)
        return path
