"""Names of one layout to names of another, by ordered rules that run both ways.

A rule is a pair of patterns of whole names. ``{x}`` stands for one part between dots, ``{x*}`` for one or more parts:
``("{block*}.attn_1.q.{end}", "{block*}.attentions.0.to_q.{end}")``. The first rule that fits a name rewrites it; what
none fits keeps its name. A rule with None instead of the second pattern drops a name that a network has no use for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..errors import InvalidFile, InvalidInput

Rule = tuple[str, str | None]
HOLE = re.compile(r"\{(\w+)(\*?)\}")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; a hole that stands twice must hold the same both times."""
    regex, end, seen = "", 0, set()
    for hole in HOLE.finditer(pattern):
        name, many = hole.groups()
        part = r"[^.]+(?:\.[^.]+)*" if many else "[^.]+"
        group = f"(?P={name})" if name in seen else f"(?P<{name}>{part})"
        regex += re.escape(pattern[end : hole.start()]) + group
        seen.add(name)
        end = hole.end()
    return re.compile(regex + re.escape(pattern[end:]))


def holes(pattern: str) -> set[str]:
    """The names of a pattern's holes."""
    return {hole[1] for hole in HOLE.finditer(pattern)}


@dataclass(frozen=True)
class KeyMap:
    """Stages of rules, each stage applied to what the one before it made; without stages, the identity.

    Args:
        stages: tuples of rules.

    Raises:
        InvalidInput: the two sides of a rule have different holes, so that it could not run both ways.
    """

    stages: tuple[tuple[Rule, ...], ...] = ()

    def __post_init__(self) -> None:
        for old, new in (rule for stage in self.stages for rule in stage):
            if new is not None and holes(old) != holes(new):
                raise InvalidInput(f"the rule {old!r} -> {new!r} has different holes on its two sides: name the same ones")

    @cached_property
    def compiled(self) -> list[list[tuple[re.Pattern[str], str | None]]]:
        """Each stage's regular expressions and what they write, in Python's format syntax."""
        return [[(compile_pattern(a), b and b.replace("*}", "}")) for a, b in stage] for stage in self.stages]

    @property
    def inverse(self) -> KeyMap:
        """The map back; rules that drop names are left out."""
        return KeyMap(tuple(tuple((b, a) for a, b in stage if b is not None) for stage in reversed(self.stages)))

    def name(self, key: str) -> str | None:
        """The new name of one key, None for one that is dropped."""
        for stage in self.compiled:
            for pattern, new in stage:
                if match := pattern.fullmatch(key):
                    if new is None:
                        return None
                    key = new.format(**match.groupdict())
                    break
        return key

    def names(self, keys: Iterable[str]) -> dict[str, str]:
        """Old name -> new name of every key that is not dropped.

        Raises:
            InvalidFile: two keys get the same name.
        """
        result: dict[str, str] = {}
        taken: dict[str, str] = {}
        for key in keys:
            new = self.name(key)
            if new is None:
                continue
            if new in taken:
                raise InvalidFile(f"the tensors {taken[new]!r} and {key!r} are both {new!r}: the file mixes two layouts")
            result[key], taken[new] = new, key
        return result


IDENTITY = KeyMap()
