"""Styles of one's own, as A1111 keeps them: ``styles.csv`` in the user's folder of settings.

Each row is a name, a prompt and a negative prompt, under ``name,prompt,negative_prompt``. ``{prompt}`` in one stands
for what is asked for; where it does not stand, the style comes after a comma.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import InvalidFile
from .. import settings

FILE = "styles.csv"
#: What stands for the prompt in a style.
PLACE = "{prompt}"


class Style(NamedTuple):
    """What a style makes of a prompt, and of a negative one."""

    prompt: str
    negative: str

    def of(self, prompt: str, negative: str) -> tuple[str, str]:
        """Both prompts in this style."""
        return _joined(prompt, self.prompt), _joined(negative, self.negative)


def path() -> Path:
    """Where the styles lie."""
    return settings.place("config") / FILE


def read() -> Mapping[str, Style]:
    """All of them by name; none where there is no file.

    Raises:
        InvalidFile: it cannot be read, or has no column of names.
    """
    try:
        table = csv.DictReader(io.StringIO(path().read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = list(table)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidFile(f"cannot read the styles in {path()}: {error}. Mend or remove the file") from None
    if "name" not in (table.fieldnames or ()):
        raise InvalidFile(f"{path()} has no column of names: its first row is name,prompt,negative_prompt")
    # A1111 divides its list by rows that have a name alone.
    return {
        row["name"]: Style(row.get("prompt") or "", row.get("negative_prompt") or "")
        for row in rows
        if row["name"] and (row.get("prompt") or row.get("negative_prompt"))
    }


def _joined(text: str, style: str) -> str:
    if PLACE in style:
        return style.replace(PLACE, text)
    return ", ".join(filter(None, (text.strip(), style.strip())))
