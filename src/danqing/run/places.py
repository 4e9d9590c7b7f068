"""The folders that a platform keeps for what is a user's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

NAME = "danqing"


def place(kind: Literal["config", "data", "cache"]) -> Path:
    """The user's folder for settings, for data or for what can be made again, by the custom of the platform; perhaps
    not there yet."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / NAME
        roaming = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming") / NAME
        return {"config": roaming, "data": local, "cache": local / "cache"}[kind]
    if sys.platform == "darwin":
        support = home / "Library" / "Application Support" / NAME
        return home / "Library" / "Caches" / NAME if kind == "cache" else support
    variable, usual = {
        "config": ("XDG_CONFIG_HOME", ".config"),
        "data": ("XDG_DATA_HOME", ".local/share"),
        "cache": ("XDG_CACHE_HOME", ".cache"),
    }[kind]
    given = os.environ.get(variable, "")
    return (
        Path(given) if os.path.isabs(given) else home / usual
    ) / NAME  # the standard says that a relative one is ignored
