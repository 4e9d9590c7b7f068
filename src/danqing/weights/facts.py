"""What the shapes of a network's tensors say of its config, and what only the family's published models say: `Facts`.

`danqing.weights.families` reads them from names and shapes in our layout. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A config's fields, by how they are known.

    Args:
        inferred: from the shapes; nothing may contradict them.
        assumed: as in the family's published models; a stated config may say otherwise.
        unknown: field -> why neither holds; a stated config must give them.
        parts: fields that are configs themselves.
    """

    inferred: Mapping[str, Any]
    assumed: Mapping[str, Any] = field(default_factory=lambda: NONE)
    unknown: Mapping[str, str] = field(default_factory=lambda: NONE)
    parts: Mapping[str, Facts] = field(default_factory=dict)


def count(keys: Collection[str], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), ... there are before the first that is not."""
    n = 0
    while pattern.format(n) in keys:
        n += 1
    return n


def groups(widths: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Group norms have 32 groups in all published models; of widths that 32 does not divide nothing is known."""
    if all(width % 32 == 0 for width in widths):
        return {"norm_num_groups": 32}, {}
    return {}, {"norm_num_groups": f"the published 32 does not divide all of the widths {widths}"}
