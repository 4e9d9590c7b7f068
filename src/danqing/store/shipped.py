"""The models that ship with danqing."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

DEFAULT = "danqing-mini"


def folder() -> Path:
    """Where they lie."""
    return Path(str(files("danqing"))) / "zoo"


def names() -> list[str]:
    """Their names, the default one first."""
    root = folder()
    found = [p.parent.name for p in root.glob("*/model.json")] if root.is_dir() else []
    return sorted(found, key=lambda name: (name != DEFAULT, name))
