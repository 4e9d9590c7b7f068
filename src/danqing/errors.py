"""The one exception family: what was given, what is possible, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(given: str, possible: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The names most like a given one, the nearest first; ``cutoff`` is how like at least, of 1."""
    return difflib.get_close_matches(given, list(possible), n=count, cutoff=cutoff)


def shortened(given: str, most: int = 80) -> str:
    """What was given, of at most so many signs: of a longer one, which may be a path, the beginning and the end."""
    return given if len(given) <= most else f"{given[: most // 2 - 1]}…{given[-most // 2 :]}"


class DanqingError(Exception):
    """Everything danqing refuses. The message is written for the person who reads it in a terminal."""


class InvalidInput(DanqingError, ValueError):
    """A value outside its domain: an option, a prompt, a size, a picture."""


class UnknownName(InvalidInput):
    """A name that is not among the possible ones; offers the nearest.

    Args:
        kind: what is named, e.g. "solver".
        given: the name as given.
        possible: every name that would have been taken.
    """

    def __init__(self, kind: str, given: str, possible: Iterable[str]):
        names = sorted(possible)
        plain = {_plain(name): name for name in names}
        found = nearest(_plain(str(given)), plain, count=3, cutoff=0.4)
        meant = [plain[key] for key in (found[:1] if _plain(str(given)) in plain else found)]
        hint = f" Did you mean {' or '.join(repr(n) for n in meant)}?" if meant else ""
        super().__init__(f"unknown {kind} {shortened(str(given))!r}.{hint} Possible: {', '.join(names)}.")
        self.kind, self.given, self.possible, self.near = kind, given, names, meant


def _plain(name: str) -> str:
    """A name without the spelling of one program: "DPM++ 2M" and "dpmpp_2m" are dpmpp-2m."""
    return name.lower().replace("++", "pp").replace(" ", "-").replace("_", "-")


class InvalidFile(DanqingError):
    """A file that is missing, truncated, foreign or dangerous."""
