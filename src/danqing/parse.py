"""JSON of whoever: a value, or a ValueError, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

#: How deep lists and objects may lie in each other; what walks them afterwards needs some frames for each.
DEPTH = 64


def json_of(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; ``pairs`` makes its objects, as ``object_pairs_hook`` of `json.loads`.

    Raises:
        ValueError: it is no JSON, no text in Unicode, or nested deeper than `DEPTH`.
    """
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEPTH} levels") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH):
        if not level:
            return value
        inside = (one for each in level for one in (each.values() if isinstance(each, dict) else each))
        level = [one for one in inside if isinstance(one, dict | list)]
    raise ValueError(f"it is nested deeper than {DEPTH} levels")
