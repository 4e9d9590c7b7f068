"""Which words of a text are known: the text divided into known phrases so that as little as can be is left over.

A text is read in atoms: a word of Latin letters and digits, a Chinese character, a run of letters of another script, a
sign, or a whole piece of a grammar that is not read here (``{a|b}``, ``__name__``, ``--name``, ``16:9``). A phrase is
one atom or more with nothing between them but spaces and hyphens, so that Chinese, which has no spaces, is divided by
the longest match. This module imports no torch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

_LATIN = "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SIGNS = "\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_FOREIGN = r"\{[^{}]*\}|__[A-Za-z0-9_]{1,64}?__|--[A-Za-z][\w-]*|[0-9]+(?:[.,:/][0-9]+)+"
_ATOM = re.compile(
    rf"{_FOREIGN}|[{_LATIN}]+(?:['’][A-Za-z]+)*|[{_HAN}]|[^\W_{_LATIN}{_HAN}]+|[{_SIGNS}]"  # alternatives in order
)
_CHINESE = re.compile(f"[{_HAN}]")
_NAME = re.compile("[A-Z\u00c0-\u00de][a-z\u00df-\u024f]+")
#: Longer phrases are not looked for, in atoms.
LONGEST = 16


class Atom(NamedTuple):
    """A word as it is compared, and where it stands in the text."""

    word: str
    start: int
    end: int


Phrase = tuple[str, ...]


def chinese(text: str) -> bool:
    """Whether a text has a Chinese character."""
    return _CHINESE.search(text) is not None


def plain(text: str) -> str:
    """A text whose compatible forms of characters, wide letters above all, are one."""
    return unicodedata.normalize("NFKC", text)


def atoms(text: str) -> list[list[Atom]]:
    """The atoms of a `plain` text, those together that nothing but spaces, hyphens and marks part."""
    found = [Atom(f[0].casefold().removesuffix("'s").removesuffix("’s"), *f.span()) for f in _ATOM.finditer(text)]
    runs = [found[:1]]
    for before, atom in pairwise(found):
        if not all(c in "-_'’" or unicodedata.category(c)[0] in "ZMC" for c in text[before.end : atom.start]):
            runs.append([])
        runs[-1].append(atom)
    return runs


def phrases(names: Iterable[str]) -> Iterator[Phrase]:
    """The phrases that names are made of; most names are one."""
    return (tuple(atom.word for atom in run) for run in atoms(plain("|".join(dict.fromkeys(names)))) if run)


class Lexicon:
    """The phrases that a model learned.

    Args:
        alone: those that say something by themselves: names, colours, attributes.
        beside: those that were only said beside others: a word of a longer name, a tag. A run of capitalised words is
            a name, and is not made of these: "Hello Kitty" is no kitten that says hello.
        function: words that say nothing by themselves, such as "a" and "of".
    """

    def __init__(self, alone: Iterable[str], beside: Iterable[str] = (), function: Iterable[str] = ()):
        self._given = tuple(beside), tuple(alone), tuple(function)

    @cached_property
    def _function(self) -> frozenset[str]:
        return frozenset(phrase[0] for phrase in phrases(self._given[2]) if len(phrase) == 1)

    @cached_property
    def _alone(self) -> dict[Phrase, bool]:
        """Of each phrase whether it says something, or nothing, by itself."""
        return {phrase: i > 0 for i, names in enumerate(self._given) for phrase in phrases(names)}

    def unknown(self, text: str) -> list[str]:
        """What of a text is not known, as it is written there and in its order; neighbours are one."""
        text = plain(text)
        found = (text[start:end] for run in atoms(text) for start, end in self._left(run, text))
        return list(dict.fromkeys(found))

    def _left(self, run: Sequence[Atom], text: str) -> Iterator[tuple[int, int]]:
        """Where neighbouring atoms stand that no phrase has."""
        names = _names([text[a.start : a.end] for a in run], [a.word in self._function for a in run])
        left, single = self._uncovered(run, names)
        for start, end in _spans(names):
            left[start:end] = [any(left[start:end])] * (end - start)
        for i in (*range(1, len(run)), *range(len(run) - 2, -1, -1)):  # a name's characters may be words: 李白
            content = single[i] and chinese(run[i].word) and run[i].word not in self._function
            left[i] = left[i] or (content and (left[i - 1 : i] + left[i + 1 : i + 2]).count(True) > 0)
        return ((run[start].start, run[end - 1].end) for start, end in _spans(left))

    def _uncovered(self, run: Sequence[Atom], names: Sequence[bool]) -> tuple[list[bool], list[bool]]:
        """Of each atom whether no phrase has it, where as few as can be are left and phrases are as long as can be, and
        whether it is a phrase by itself."""
        words = [atom.word for atom in run]
        best: list[tuple[int, int, int]] = [(0, 0, 0)]  # atoms left over, phrases, where the last one begins
        for end in range(1, len(run) + 1):
            options = [(best[end - 1][0] + 1, best[end - 1][1] + 1, end - 1)]
            for start in range(max(0, end - LONGEST), end):
                alone = self._alone.get(tuple(words[start:end]))
                if alone or (alone is False and not any(names[start:end])):
                    options.append((best[start][0], best[start][1] + 1, start))
            best.append(min(options))
        left, single = [False] * len(run), [False] * len(run)
        end = len(run)
        while end:
            count, _, start = best[end]
            left[start], single[start] = count > best[start][0], end - start == 1
            end = start
        return left, single


def _names(texts: Sequence[str], function: Sequence[bool]) -> list[bool]:
    """Of each word whether it and a neighbour are capitalised, as the words of a name are."""
    large = [_NAME.fullmatch(text) is not None and not small for text, small in zip(texts, function, strict=True)]
    sides = [False, *large, False]
    return [one and (sides[i] or sides[i + 2]) for i, one in enumerate(large)]


def _spans(marks: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where marks that stand side by side begin and end."""
    edges = [i for i, (a, b) in enumerate(pairwise((False, *marks, False))) if a != b]
    return zip(edges[::2], edges[1::2], strict=True)
