"""Help in a script of characters two cells wide that stand without spaces: its lines end where a terminal's do."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from click.formatting import measure_table
from rich.cells import cell_len

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
    """Lays texts out by their cells; click counts characters, and leaves alone what follows a \\b."""

    def write_text(self, text: str) -> None:
        paragraphs = text.split("\n\n")
        super().write_text("\n\n".join(self._kept(each, self.width - self.current_indent) for each in paragraphs))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        given = list(rows)
        width = max(self.width - min(measure_table(given)[0], col_max) - col_spacing - 2, 10)
        super().write_dl([(name, self._kept(text, width)) for name, text in given], col_max, col_spacing)

    def _kept(self, text: str, width: int) -> str:
        return "\b\n" + "\n".join(wrapped(text, width)) if text else ""
