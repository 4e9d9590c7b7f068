"""The language that is spoken: which one, and what is said in it. English until another is asked for: a catalogue is
read only then."""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import Messages

#: Where a language is named: ours first, then as gettext reads them.
NAMED = ("DANQING_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")

_spoken: Messages | None = None


def languages() -> list[str]:
    """The code of each language: English, and those that have a catalogue."""
    return ["en", *sorted(place.parent.parent.name for place in Path(__file__).parent.glob("*/LC_MESSAGES/*.mo"))]


def chosen(args: Sequence[str], environ: Mapping[str, str] = os.environ) -> str:
    """The language that ``--lang`` names anywhere among the arguments, or else the first of `NAMED` that is set:
    "zh_CN.UTF-8" is zh. What is none of `languages` is English."""
    options = [os.fspath(arg) for arg in (args[: args.index("--")] if "--" in args else args)]
    told = [value for name, value in pairwise(options) if name == "--lang"]
    told += [each.partition("=")[2] for each in options if each.startswith("--lang=")]
    known = languages()
    told = [code for code in told if code in known]  # the others are refused when the command is read
    said = next(filter(None, (*told[-1:], *map(environ.get, NAMED))), "en")
    codes = (each.replace("-", "_").partition(".")[0].partition("_")[0].lower() for each in said.split(":"))
    return next((code for code in codes if code in known), "en")  # LANGUAGE may name several, the favourite first


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Everything that is `said` meanwhile is in this language, and what click says too."""
    global _spoken
    before = _spoken, gettext.textdomain(), os.environ.get("LANGUAGE")
    try:
        if language != "en":
            from .messages import DOMAIN, ROOT, messages

            _spoken = messages(language)
            gettext.bindtextdomain(DOMAIN, str(ROOT))
            gettext.textdomain(DOMAIN)
            os.environ["LANGUAGE"] = language  # where gettext looks for it, and processes that this one starts
        yield
    finally:
        _spoken = before[0]
        gettext.textdomain(before[1])
        if before[2] is None:
            os.environ.pop("LANGUAGE", None)
        else:
            os.environ["LANGUAGE"] = before[2]


def foreign() -> bool:
    """Whether another language than English is spoken."""
    return _spoken is not None


def said(text: object) -> str:
    """A message in the language that is spoken, with all that stands in it; what is no message stays as it is."""
    return str(text) if _spoken is None else _spoken.said(str(text))


def term(text: str) -> str:
    """`said`, of what is known to be a message, be it a single word: a heading, or the name of a value."""
    if _spoken is None:
        return text
    return found if (found := _spoken.term(text)) != text else _spoken.said(text)


def sentences(*texts: str) -> str:
    """Messages as sentences, one after another: each begins with a capital letter and ends with a full stop."""
    if _spoken is None:
        return " ".join(_ended(text, ".") for text in texts if text)
    from .messages import together

    return together(_ended(_spoken.said(text), _spoken.term(".")) for text in texts if text)


def _ended(text: str, stop: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text[-1:] in f"{stop}.?？" else stop)
