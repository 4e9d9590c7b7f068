"""The words that a model learned, of most models not known: what of a prompt is outside of them is warned of.

``model.json`` names the files, ``"text": {"words": "words.json", "vectors": "words.safetensors"}``. The first holds::

    {
      "subjects": [{"emoji": "🦊", "en": ["fox", "fox face"], "zh": ["狐狸", "小狐狸"]}, ...],
      "kinds": {"colours": {"en": [...], "zh": [...]}, ..., "function": {"en": [...], "zh": [...]}},
      "plurals": ["foxes", ...],
      "tags": {"en": [...], "zh": [...]}
    }

The words of a kind stand for themselves, those of "function" say nothing alone, tags were only said beside a subject.
The second holds the text encoder's summary of each subject's first name, less the mean: ``en`` (N, D) of int8, and
``en.mean`` (D,), and so for ``zh``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidFile
from ..prompt.grammar import parse, plan
from ..prompt.lexicon import Lexicon, chinese
from ..store.model import Model
from .styles import Styles

if TYPE_CHECKING:
    from torch import Tensor

    from ..prompt.towers import Text

#: The fields of a model's ``text`` that name the files, and what ours are called.
FILES = {"words": "words.json", "vectors": "words.safetensors"}
#: The kind of words that say nothing by themselves.
FUNCTION = "function"
#: Names whose summaries have at least this cosine are near; of 20 made-up words 19 have less than 0.72 with any.
NEAR = 0.75
#: How many near names are told, and how much of a word, in characters.
TOLD, QUOTED = 3, 60
#: How many where none is near.
FAR = 2
#: What chooses the form of an emoji; and a part of a longer sign is not it.
_DRESSED = "(?:\ufe0f|[\U0001f3fb-\U0001f3ff])*(?![\u200d\U000e0020-\U000e007f])"


class Names(NamedTuple):
    """What something is called in each language."""

    en: tuple[str, ...]
    zh: tuple[str, ...]


class Subject(NamedTuple):
    """One thing that a model paints: its emoji, if any, and its names, the likeliest first."""

    emoji: str
    en: tuple[str, ...]
    zh: tuple[str, ...]


class Near(NamedTuple):
    """Names that are nearest to a word, and whether they are near."""

    names: tuple[str, ...]
    close: bool


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words of a model.

    Args:
        kinds: words beside those of subjects and styles, by their kind.
        plurals: of the names of subjects.
        tags: what was only said beside a subject.
        vectors: the file of summaries.
    """

    subjects: tuple[Subject, ...] = ()
    styles: Styles = field(default_factory=Styles)
    kinds: Mapping[str, Names] = field(default_factory=dict[str, Names])
    plurals: tuple[str, ...] = ()
    tags: Names = field(default_factory=lambda: Names((), ()))
    vectors: Path | None = None

    @classmethod
    def of(cls, model: Model) -> Vocabulary:
        """That which a model's description names.

        Raises:
            InvalidFile: its file is missing, or no vocabulary.
        """
        styles = Styles.of(model)
        if (file := model.text.get("words")) is None:
            return cls(styles=styles)
        path, vectors = model.path(file), model.text.get("vectors")
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                subjects=tuple(Subject(str(row["emoji"]), *_names(row)) for row in said["subjects"]),
                styles=styles,
                kinds={str(kind): _names(names) for kind, names in said["kinds"].items()},
                plurals=tuple(map(str, said["plurals"])),
                tags=_names(said["tags"]),
                vectors=None if vectors is None else model.path(vectors),
            )
        except (OSError, UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InvalidFile(f"{path} is no vocabulary: {error}. Copy the whole folder again") from None

    # -------------------------------------------------------------------------------------------------- what is known

    @cached_property
    def lexicon(self) -> Lexicon:
        """All of the words, to divide texts by."""
        subjects = [name for subject in self.subjects for name in (*subject.en, *subject.zh)]
        styles = [name for words in self.styles.words.values() for name in (*words.en, *words.zh)]
        kinds = [(kind, name) for kind, names in self.kinds.items() for name in (*names.en, *names.zh)]
        said = [name for kind, name in kinds if kind != FUNCTION]
        return Lexicon(
            alone=[*subjects, *self.plurals, *styles, *said, *_words(said), *_words(styles)],
            beside=[*self.tags.en, *self.tags.zh, *_words((*subjects, *self.plurals, *self.tags.en))],
            function=[name for kind, name in kinds if kind == FUNCTION],
        )

    def unknown(self, text: str, also: Iterable[str] = ()) -> list[str]:
        """What of a text, in which no grammar stands, the model has not learned; of a model without a vocabulary
        nothing.

        Args:
            also: names that it was taught since.
        """
        for name in also:
            text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
        return self.lexicon.unknown(text) if self.subjects else []

    def unknown_in(self, prompt: str, also: Iterable[str] = (), steps: int = 1, compose: bool = True) -> list[str]:
        """`unknown` of a prompt as typed, over all that its steps show; ``compose`` as in `parse`."""
        texts = plan(parse(self.spelled(prompt)[0], compose=compose), max(1, steps)).texts
        said = ("".join(piece.text for piece in part) for text in texts for part in text)
        return list(dict.fromkeys(word for text in said for word in self.unknown(text, also)))

    # --------------------------------------------------------------------------------------------------------- emoji

    @cached_property
    def _emoji(self) -> Mapping[str, Subject]:
        """The subjects that have an emoji, by it."""
        named = {_bare(subject.emoji): subject for subject in self.subjects if subject.emoji}
        return dict(sorted(named.items(), key=lambda each: -len(each[0])))

    @cached_property
    def _signs(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """What finds one emoji, the longest that stands there, and some in a row."""
        long = ["\ufe0f?".join(map(re.escape, emoji)) for emoji in self._emoji if len(emoji) > 1]
        short = _any_of(emoji for emoji in self._emoji if len(emoji) == 1)
        begins = _any_of(emoji[0] for emoji in self._emoji)  # most characters of a text begin none
        one = f"(?<!\u200d)(?={begins})(?:{'|'.join((*long, short))}){_DRESSED}"
        return re.compile(one), re.compile(f"{one}(?:\\s*{one})*")

    def spelled(self, prompt: str) -> tuple[str, list[str]]:
        """A prompt with the names of its emoji in their place, and what is to be said of that."""
        one, some = self._signs
        lang, comma, space = ("zh", "、", "") if chinese(prompt) else ("en", ", ", " ")
        said = dict[str, None]()

        def name(found: re.Match[str]) -> str:
            names = comma.join(getattr(self._emoji[_bare(each)], lang)[0] for each in one.findall(found[0]))
            said[f"{found[0]} was read as {names}."] = None
            before, after = prompt[: found.start()][-1:], prompt[found.end() :][:1]
            return space * before.isalnum() + names + space * after.isalnum()

        return some.sub(name, prompt), list(said)

    # ---------------------------------------------------------------------------------------------------- neighbours

    @cached_property
    def _summaries(self) -> Mapping[str, Tensor]:
        from ..weights import store

        return {} if self.vectors is None else store.read(self.vectors)

    def near(self, text: Text, words: Sequence[str]) -> list[Near]:
        """Of each word the names of subjects, in its language, that the model's text encoder has near it, the nearest
        first."""
        import torch.nn.functional as F

        found: list[Near] = []
        for word, summary in zip(words, summaries(text, words) if words else (), strict=True):
            lang = "zh" if chinese(word) else "en"
            if lang not in self._summaries or not any(map(str.isalpha, word)):  # a number has no neighbours
                found.append(Near((), False))
                continue
            apart = summary - self._summaries[f"{lang}.mean"].float()
            cosine = F.cosine_similarity(apart[None], self._summaries[lang].float())
            best = cosine.argsort(descending=True)[: 2 * TOLD].tolist()
            names = dict.fromkeys(getattr(self.subjects[i], lang)[0] for i in best if cosine[i] >= NEAR)
            close = bool(names)
            names = names or dict.fromkeys(getattr(self.subjects[i], lang)[0] for i in best[:FAR])
            found.append(Near(tuple(names)[:TOLD], close))
        return found

    def notes(
        self, text: Text, prompt: str, negative: str = "", also: Sequence[str] = (), steps: int = 1
    ) -> Iterator[str]:
        """What is to be said of a picture's prompts: a sentence for each word that is not learned, and for emoji."""
        said = (self.spelled(prompt)[1], self.spelled(negative)[1])
        yield from dict.fromkeys((*said[0], *said[1]))
        found = (self.unknown_in(prompt, also, steps), self.unknown_in(negative, also, steps, compose=False))
        words = list(dict.fromkeys((*found[0], *found[1])))
        for word, (near, close) in zip(words, self.near(text, words), strict=True):
            quoted = word if len(word) <= QUOTED else f"{word[:QUOTED]}…"
            yield f"{quoted}: not learned" + f"; {'near' if close else 'nearest, but far'}: {', '.join(near)}" * bool(
                near
            )


def summaries(text: Text, names: Sequence[str]) -> Tensor:
    """What a text encoder makes of each name, (N, D) on the CPU: its summary, or else the mean of its tokens."""
    import torch

    with torch.inference_mode():
        encoded = text.condition([plan(parse(name, compose=False), 1) for name in names], skip=0, weighting="ignore")
        every = [cond for one in encoded for cond in one.conditionings]
        return torch.cat([c.tokens.mean(1) if c.pooled is None else c.pooled for c in every]).float().cpu()


def _names(row: Mapping[str, Any]) -> Names:
    en, zh = (tuple(map(str, row[lang])) for lang in ("en", "zh"))
    return Names(en, zh)


def _words(names: Iterable[str]) -> Iterator[str]:
    """The single words of names that are in Latin letters."""
    return (word for name in names if not chinese(name) for word in re.split(r"[\s-]+", name))


def _any_of(characters: Iterable[str]) -> str:
    """A pattern of any of some characters."""
    return f"[{re.escape(''.join(dict.fromkeys(characters)))}]".replace("[]", "(?!)")


def _bare(emoji: str) -> str:
    """An emoji without what chooses its form."""
    return re.sub("[\ufe0f\U0001f3fb-\U0001f3ff]", "", emoji)
