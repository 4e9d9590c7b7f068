"""Prompts of models that know classes instead of words: the class that a prompt names.

This module imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import InvalidInput, UnknownName

#: The longest rest of a prompt that a warning quotes whole, in characters.
QUOTED = 240
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Classes:
    """The classes of a model, by the names that people give them; a class's label is its place.

    Args:
        names: each class's names, the English one first, which stands for it in messages.

    Raises:
        InvalidInput: no class, or one without a name.
    """

    names: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.names or not all(names and all(name.strip() for name in names) for names in self.names):
            raise InvalidInput(
                f"the classes {self.names} were given: there must be one at least, and each needs a name"
            )

    def of(self, prompt: str) -> tuple[int | None, str]:
        """The class that a prompt names, and a warning of what else it says, "" where that is nothing.

        It is the class of the longest name that stands in the prompt, in letters of either case: as whole words where
            it is written
        in ASCII, as a part where it is not, for Chinese has no spaces. Of names as long the first one said counts. A
        prompt without
        words names none: (None, "").

        Raises:
            UnknownName: there are words, and none is a name.
        """
        if not _WORD.search(prompt):
            return None, ""
        found = [
            (hit, i) for i, names in enumerate(self.names) for name in names if (hit := _pattern(name).search(prompt))
        ]
        if not found:
            raise UnknownName("kind", prompt, [names[0] for names in self.names])
        hit, index = max(found, key=lambda each: (each[0].end() - each[0].start(), -each[0].start()))
        rest = " ".join(_WORD.findall(f"{prompt[: hit.start()]} {prompt[hit.end() :]}"))
        if not rest:
            return index, ""
        quoted = rest if len(rest) <= QUOTED else f"{rest[:QUOTED]} …"
        return index, f'"{quoted}" was ignored: this model hears the names of its {len(self.names)} kinds alone.'


def _pattern(name: str) -> re.Pattern[str]:
    """A name as it stands in a prompt, with any spaces between its words."""
    words = r"\s+".join(map(re.escape, name.split()))
    return re.compile(rf"(?<![A-Za-z0-9_]){words}(?![A-Za-z0-9_])" if name.isascii() else words, re.IGNORECASE)
