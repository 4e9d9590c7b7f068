"""The models that installed packages bring, ours among them."""

from __future__ import annotations

from pathlib import Path

from .. import installed

DEFAULT = "danqing-mini"


def folders() -> dict[str, Path]:
    """Where each lies, by its name; the default one first."""
    found = {
        path.parent.name: path.parent for root in reversed(installed.folders()) for path in root.glob("*/model.json")
    }
    return dict(sorted(found.items(), key=lambda each: (each[0] != DEFAULT, each[0])))


def names() -> list[str]:
    """Their names, the default one first."""
    return list(folders())
