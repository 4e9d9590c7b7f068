"""Laws of names: a name as typed finds its file, or says which it might have meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from danqing.adapt.tags import pick
from danqing.errors import UnknownName

KNOWN = {name: Path(f"{name}.pt") for name in ("ink", "Wool", "styles/Wool", "old", "v1.5")}


@pytest.mark.parametrize(
    "name, found",
    [
        ("ink", "ink"),
        ("wool", "Wool"),
        ("styles/Wool", "styles/Wool"),
        (r"styles\wool", "styles/Wool"),
        ("ink.safetensors", "ink"),
        ("old", "old"),
        ("v1.5", "v1.5"),
    ],
)
def test_case_ending_and_slashes_do_not_matter_where_the_name_is_clear(name, found) -> None:
    assert pick(KNOWN, name, "LoRA") == KNOWN[found]


@pytest.mark.parametrize("name", ["inc", "../b/ink", "/etc/passwd", "notes", "styles"])
def test_an_unknown_name_is_refused_with_the_nearest(name) -> None:
    with pytest.raises(UnknownName, match="Possible: .*ink, old"):
        pick(KNOWN, name, "LoRA")
    with pytest.raises(UnknownName, match="Did you mean 'ink'"):
        pick(KNOWN, "inkk", "LoRA")
