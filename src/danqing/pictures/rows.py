"""Requests out of a file: a prompt a line, or a row of fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ..errors import InvalidFile, InvalidInput
from ..inputs.parse import json_of
from ..request.request import Request
from .read import data_of

#: Endings of files of JSON, an object a line, and of tables, by what divides their cells.
JSON, TABLES = (".jsonl", ".ndjson"), {".csv": ",", ".tsv": "\t"}


def rows(source: str) -> list[dict[str, Any]]:
    """The fields of each request in a file, by their flat names.

    A text file holds a prompt a line; empty lines and those that begin with # are left out. A .csv or .tsv names fields
    in its first row, and an empty cell states nothing. A .jsonl holds an object of fields a line, or a prompt in
    quotes.

    Raises:
        InvalidFile: it cannot be read, or is no text in UTF-8.
        InvalidInput: what stands in a line is no request; the line is named.
    """
    data, name = data_of(source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidFile(f"{name} is no text in UTF-8: save it as such, a prompt a line") from None
    suffix = Path(source).suffix.lower()
    found = list[dict[str, Any]]()
    for line, row in (
        _json(text) if suffix in JSON else _table(text, TABLES[suffix]) if suffix in TABLES else _plain(text)
    ):
        try:
            if isinstance(row, InvalidInput):
                raise row
            Request(**row)
        except InvalidInput as error:
            raise InvalidInput(f"{name}, line {line}: {error}") from None
        found.append(row)
    return found


Rows = Iterator[tuple[int, "dict[str, Any] | InvalidInput"]]


def _plain(text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"prompt": line.strip()}


def _json(text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json_of(line)
        except ValueError as error:
            yield number, InvalidInput(f"this is not JSON: {error}")
            continue
        said = {"prompt": said} if isinstance(said, str) else said
        if isinstance(said, dict):
            yield number, cast("dict[str, Any]", said)
        else:
            yield number, InvalidInput('a line is an object of fields such as {"prompt": "a fox", "seed": 1}')


def _table(text: str, between: str) -> Rows:
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    try:
        for row in table:
            if None in row:
                yield (
                    table.line_num,
                    InvalidInput(f"it has more cells than the first row, {len(table.fieldnames or ())}"),
                )
            said = {
                (field or "").strip(): cell for field, cell in row.items() if isinstance(cell, str) and cell.strip()
            }
            if said:
                yield table.line_num, said
    except csv.Error as error:
        yield table.line_num + 1, InvalidInput(f"this is no row of a table: {error}")
