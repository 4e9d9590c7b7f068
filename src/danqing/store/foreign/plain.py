"""YAML of a stranger, as plain values alone."""

from __future__ import annotations

from typing import Any

import yaml

#: Deeper than any config nests.
MAX_DEPTH = 32


def values(text: str) -> Any:
    """What a text of YAML says.

    Raises:
        ValueError: it is no YAML, repeats parts by name, or nests too deep.
    """
    try:
        return yaml.load(text, Loader=_Plain)
    except yaml.YAMLError as error:
        raise ValueError(error) from None


class _Plain(yaml.SafeLoader):
    """Values alone: a name for a value, by which a short file could become a long one, is refused, and so is depth."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it repeats its parts by name (&, *)")
        if self.depth == MAX_DEPTH:
            raise yaml.YAMLError(f"it nests more than {MAX_DEPTH} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node
