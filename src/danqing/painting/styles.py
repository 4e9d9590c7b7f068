"""The styles that a model names: one of them is added to a prompt that names none.

``model.json`` names the file of their words, ``"text": {"styles": "styles.json"}``, a list of
``{"style": "3d", "en": ["3d style", "3d"], "zh": ["3D风格"]}`` whose first words are those added, and the style of a
prompt that names none, ``"defaults": {"style": "3d"}``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import InvalidFile, UnknownName
from ..inputs.parse import json_of
from ..prompt.grammar import appended
from ..store.model import Model

#: The name of no style.
NONE = "none"
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


class Words(NamedTuple):
    """What a style is called in each language; the first is what is added."""

    en: tuple[str, ...]
    zh: tuple[str, ...]

    def within(self, text: str) -> bool:
        """Whether a text names the style, in either language."""
        return any(re.search(_bounded(word), _plain(text)) for word in (*self.en, *self.zh))

    def after(self, text: str) -> str:
        """A text with the style, in the text's language; one that names it already, or says nothing, as it is."""
        if not text.strip() or self.within(text):
            return text
        bare = text.rstrip(" ,.，。、")
        return f"{bare}，{self.zh[0]}" if _CHINESE.search(bare) else f"{bare}, {self.en[0]}"


@dataclass(frozen=True, kw_only=True)
class Styles:
    """The styles of a model, by name; of most models none."""

    words: Mapping[str, Words] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model) -> Styles:
        """Those that a model's description names.

        Raises:
            InvalidFile: their file is missing, or no list of styles.
        """
        file = model.text.get("styles")
        if file is None:
            return cls()
        path = model.path(file)
        try:
            rows = json_of(path.read_text(encoding="utf-8"))
            return cls(words={str(row["style"]): Words(_texts(row["en"]), _texts(row["zh"])) for row in rows})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidFile(f"{path} is no list of styles: {error}. Copy the whole folder again") from None

    def named(self, stated: str) -> str:
        """The name of a style that is called so.

        Raises:
            UnknownName: none is.
        """
        if (found := self._called.get(_plain(stated))) is None:
            raise UnknownName("style", stated, (NONE, *self.words))
        return found

    def knows(self, stated: str) -> bool:
        """Whether a style is called so, or none is stated."""
        return _plain(stated) in self._called

    @property
    def _called(self) -> Mapping[str, str]:
        called = {_plain(word): name for name, words in self.words.items() for word in (name, *words.en, *words.zh)}
        return {NONE: NONE, **called}

    def added_to(self, prompt: str, default: str) -> str:
        """The style that a prompt is given where nobody states one: the default, or none where the prompt names one or
        says nothing."""
        return default if prompt.strip() and not any(words.within(prompt) for words in self.words.values()) else NONE

    def moved(self, text: str, style: str, other: str) -> str:
        """A text that names a style, and in its place the first words of another."""
        words, new = self.words[style], self.words[other]
        named = sorted((*words.en, *words.zh), key=len, reverse=True)  # "3d style" before "3d"
        told = new.zh[0] if _CHINESE.search(text) else new.en[0]
        return re.sub("|".join(map(_bounded, named)), lambda _: told, _plain(text))

    def applied(self, prompt: str, style: str) -> str:
        """The prompt as the model hears it: each of its terms with the style."""
        words = self.words.get(style)
        return prompt if words is None else appended(prompt, words.after)


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text.strip() for text in given):
        raise ValueError(f"{given!r:.80} is no list of words")
    return tuple(given)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _bounded(word: str) -> str:
    """A pattern of a word where it stands by itself; Chinese has no spaces, so its words stand anywhere."""
    return rf"(?<![a-z0-9]){re.escape(_plain(word))}(?![a-z0-9])"
