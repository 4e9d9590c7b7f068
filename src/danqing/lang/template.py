"""A message with holes: found again in the text that was made of it, and filled in another language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Formatter

_WORD = re.compile(r"[A-Za-zéü]{2,}")
_NUMBERS = re.compile(r"[\d.,:×±%/ -]*")
#: How the Python `repr` of a text begins, and ends.
QUOTES = "'\""
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)


def quoted(value: str) -> bool:
    """Whether a value is one text in quotes."""
    return bool(_QUOTED.fullmatch(value))


@dataclass(frozen=True)
class Template:
    """A format string whose fields are holes: ``{}``, or ``{: and }`` for a list with that between its items.

    In a translation ``{0}`` names the hole, so their order may change, and what stands behind the colon is between the
    items there.
    """

    text: str

    @cached_property
    def parts(self) -> list[tuple[str, str | None, str]]:
        """(what stands before a hole, its name or None where the text ends, what is between its items)."""
        return [(literal, field, spec or "") for literal, field, spec, _ in Formatter().parse(self.text)]

    @cached_property
    def named(self) -> bool:
        """Whether its fields have names, as those of click's own messages."""
        return any(field for _, field, _ in self.parts)

    @cached_property
    def holes(self) -> list[str]:
        """Of each hole what is between its items; "" where it holds one."""
        return [spec for _, field, spec in self.parts if field is not None]

    @cached_property
    def literals(self) -> list[str]:
        """What stands before, between and after the holes, one more than these."""
        found = [""]
        for literal, field, _ in self.parts:
            found[-1] += literal
            if field is not None:
                found.append("")
        return found

    @cached_property
    def weight(self) -> int:
        """How many characters are no holes."""
        return sum(map(len, self.literals))

    @cached_property
    def telling(self) -> bool:
        """Whether it has two words at least, or begins with one and a colon."""
        words = _WORD.findall(" ".join(self.literals))
        return (len(words) > 1 and len(max(words, key=len)) > 2) or self.literals[0].endswith(": ")

    @cached_property
    def heading(self) -> bool:
        """Whether it is a word, "warning: {}", before another message."""
        return bool(re.fullmatch(r"\w+: ", self.literals[0])) and self.literals[1:] == [""]

    def values(self, text: str) -> list[str] | None:
        """What stands in the holes; None where the text is not of this template. In linear time.

        Where several splits are possible, each hole but the last holds as little as it can; one that begins with a
        quote ends with it if it can. A template of a single word takes numbers alone unless that word and a colon
        begin it: "3 pictures" is one, the name of a folder "my pictures" is none.
        """
        first, *between, last = self.literals
        end = len(text) - len(last)
        if end < len(first) or not text.startswith(first) or not text.endswith(last):
            return None
        at, found = len(first), list[str]()
        for literal in between:
            if (stop := text.find(literal, at, end)) < 0:
                return None
            if literal and text[at] in QUOTES:
                stop = (text.find(text[at] + literal, at + 1, end) + 1) or stop
            found.append(text[at:stop])
            at = stop + len(literal)
        found.append(text[at:end])
        return found if self.telling or all(map(_NUMBERS.fullmatch, found)) else None

    def filled(self, values: Sequence[Sequence[str]]) -> str:
        """The text with these items in the holes of these numbers."""
        said, n = list[str](), 0
        for literal, field, spec in self.parts:
            said.append(literal)
            if field is not None:
                said.append(spec.join(values[int(field or n)]))
                n += 1
        return "".join(said)
