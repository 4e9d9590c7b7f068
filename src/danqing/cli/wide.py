"""Help in another language than English, be its characters two cells wide and without spaces between words."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from click.formatting import measure_table
from rich.cells import cell_len

from ..lang.spoken import said, term

#: What no line begins with, and what none ends with.
CLOSING, OPENING = "。，、；：？！）》」』”’…]", "（《「『“‘["
_CLOSE, _OPEN = map(re.escape, (CLOSING, OPENING))
#: What stays together on a line: a run without spaces of narrow characters, or a wide one with its signs.
_PIECE = re.compile(rf" +|[{_OPEN}]*(?:[^\W\u2e80-\uffef]|[!-Z^-~])+[{_CLOSE}]*|[{_OPEN}]*[^\s][{_CLOSE}]*")


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most so many cells, where its pieces are not longer."""
    lines = [""]
    for piece in _PIECE.findall(re.sub(r"\s*\n\s*", " ", text)):
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines]


class WideFormatter(click.HelpFormatter):
    """Translates headings and texts, and lays them out by their cells; click counts characters, and leaves alone what
    follows a \\b."""

    def write_heading(self, heading: str) -> None:
        super().write_heading(term(heading))

    def write_text(self, text: str) -> None:
        paragraphs = (" ".join(each.split()) for each in text.split("\n\n"))
        super().write_text("\n\n".join(self._told(each, self.width - self.current_indent) for each in paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        given = list(rows)
        width = max(self.width - min(measure_table(given)[0], col_max) - col_spacing - 2, 10)
        super().write_dl([(name, self._told(text, width)) for name, text in given], col_max, col_spacing)

    def _told(self, text: str, width: int) -> str:
        what, extra, more = text.partition("  [")  # its default and its bounds, which click tells
        return "\b\n" + "\n".join(wrapped(said(what) + extra + more, width)) if text else ""
