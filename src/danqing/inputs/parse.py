"""JSON of whoever: a value, or a ValueError, whatever is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

#: How deep lists and objects may lie in each other; what walks them afterwards needs some frames for each.
DEPTH = 64
#: Digits of a whole number at most, its sign among them; 64 bits have 20.
DIGITS = 20


def json_of(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; ``pairs`` makes its objects, as ``object_pairs_hook`` of `json.loads`.

    Raises:
        ValueError: it is no JSON, no text in Unicode, nested deeper than `DEPTH`, or holds a number that no machine
            does.
    """
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=_int, parse_float=_float, parse_constant=_float)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEPTH} levels") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH):
        if not level:
            return value
        inside = (one for each in level for one in (each.values() if isinstance(each, dict) else each))
        level = [one for one in inside if isinstance(one, dict | list)]
    raise ValueError(f"it is nested deeper than {DEPTH} levels")


def _int(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds the number {text[:DIGITS]}, which is not finite")
    return value
