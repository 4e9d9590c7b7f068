"""The messages of a catalogue, found again in the English text that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from pathlib import Path

from .template import QUOTES, Template, quoted

ROOT = Path(__file__).parent
DOMAIN = "danqing"
#: How much of a text is looked at, in characters; a longer one is shown as it is.
LONGEST = 10_000
#: How deep messages may stand in each other's holes, and how many may be told at once.
DEPTH, MANY = 6, 50
#: What stands between messages that are told at once; the first that is there parts them.
APART = re.compile(r"\n|; | \| |, ")
#: Where a sentence ends and another begins.
_ENDS = re.compile(r"(?<=[^\s.]{2}\.) (?=[A-Z])")


class Messages:
    """The translations into a language, by the folder of its name."""

    def __init__(self, language: str):
        place = ROOT / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
        with place.open("rb") as file:
            catalogue = vars(GNUTranslations(file))["_catalog"]
        self.whole: dict[str, str] = {key: text for key, text in catalogue.items() if isinstance(key, str) and key}

    @cached_property
    def templates(self) -> dict[str, list[tuple[Template, Template]]]:
        """Messages with holes and their translations by the character that their texts begin with, of which "" is any;
        headings first, then those that say most by themselves."""
        found = dict[str, list[tuple[Template, Template]]]()
        pairs = ((Template(key), Template(text)) for key, text in self.whole.items() if "{" in key)
        holed = (pair for pair in pairs if pair[0].holes and not pair[0].named)
        begun = {"", *(key[0] for key in self.whole)}
        for english, other in sorted(holed, key=_first):
            for first in [english.literals[0][:1]] if english.literals[0] else begun:
                found.setdefault(first, []).append((english, other))
        return found

    def term(self, text: str) -> str:
        """A message without holes that is known to be one, be it a single word."""
        found = self.whole.get(text.replace("{", "{{").replace("}", "}}"), "")
        return found.replace("{{", "{").replace("}}", "}") or text

    def said(self, text: str, depth: int = 0) -> str:
        """The translation of a text; what is no message, and a single word that need not be one, stays as it is."""
        if not text or len(text) > LONGEST or depth > DEPTH:
            return text
        if " " in text.strip() and (whole := self.term(text)) != text:
            return whole
        found = None
        for english, other in self.templates.get(text[0], self.templates[""]):
            if (values := english.values(text)) is not None:
                if self._fits(english, values, depth):
                    return self._filled(english, other, values, depth)
                found = found or (english, other, values)
        return self._filled(*found, depth) if found else self._ended(text, depth + 1)

    def _fits(self, english: Template, values: list[str], depth: int) -> bool:
        """Whether no other template is to be tried: behind a heading stands a message, no hole begins with a quote that
        does not end there."""
        if english.heading:
            return " " not in values[0] or self.said(values[0], depth + 1) != values[0]
        return all(not value or value[0] not in QUOTES or quoted(value) for value in values)

    @cached_property
    def endings(self) -> list[tuple[Template, Template]]:
        """Messages that others end with: they begin with what stands between two."""
        pairs = ((Template(key), Template(text)) for key, text in self.whole.items() if key[0] in " ,;:.(" and key[1:])
        return sorted((pair for pair in pairs if not pair[0].named), key=lambda pair: -pair[0].weight)

    def _ended(self, text: str, depth: int) -> str:
        """A message with another one behind it, or several."""
        for english, other in self.endings:
            at = text.rfind(english.literals[0])
            if at > 0 and (values := english.values(text[at:])) is not None:
                return self.said(text[:at], depth) + self._filled(english, other, values, depth)
        return self._parted(text, depth)

    def _filled(self, english: Template, other: Template, values: list[str], depth: int) -> str:
        items = zip(values, english.holes, strict=True)
        return other.filled([self._items(value, between, depth + 1) for value, between in items])

    def _items(self, value: str, between: str, depth: int) -> list[str]:
        """What stands in a hole, item by item, translated where it is a message itself; what is quoted is none."""
        items = value.split(between, MANY) if between else [value]
        return [item if quoted(item) else self.said(item, depth) for item in items]

    def _parted(self, text: str, depth: int) -> str:
        """Several messages with the same between them, or several sentences."""
        if found := APART.search(text):
            return found[0].join(self.said(each, depth) for each in text.split(found[0], MANY))
        if len(sentences := _ENDS.split(text, MANY)) > 1:
            return together(self.said(each, depth) for each in sentences)
        name, colon, rest = text.partition(": ")
        return name + colon + self.said(rest, depth) if name.isprintable() and " " not in name else text


def _first(pair: tuple[Template, Template]) -> tuple[bool, int, int]:
    """What is looked for first sorts lowest."""
    return not pair[0].heading, -pair[0].weight, len(pair[0].holes)


def together(sentences: Iterable[str]) -> str:
    """Sentences one after another, with a space where the one before does not end as Chinese ones do."""
    return re.sub(r"(?<=[。；：]) ", "", " ".join(sentences))


@lru_cache
def messages(language: str) -> Messages:
    """Those of a language, read once."""
    return Messages(language)
