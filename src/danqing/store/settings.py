"""Where models lie and where they come from: the environment, then a settings file, then what is usual on the platform.

The file is ``settings.toml`` in the user's folder of settings::

    models = ["~/models", "/home/me/ComfyUI"]     where models are looked for; the first takes what is pulled
    mirror = "https://hub.example.org"            asked instead of https://huggingface.co

``DANQING_MODELS`` (folders, divided as in PATH) and ``HF_ENDPOINT`` go before it.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidFile, InvalidInput, UnknownName
from ..run.places import place
from .addresses import split_address

FILE = "settings.toml"
MODELS, MIRROR = "DANQING_MODELS", "HF_ENDPOINT"
HUB = "https://huggingface.co"
KEYS = ("models", "mirror")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is set.

    Args:
        models: the folders of models; the first takes what is pulled.
        mirror: the hub's address, without a slash at its end.
        stated: whether somebody named the folders, so that one which is missing is worth a word.
    """

    models: tuple[Path, ...]
    mirror: str
    stated: bool


def read() -> Settings:
    """The settings as they are now.

    Raises:
        InvalidFile: the settings file is no TOML, or a value in it of the wrong kind. UnknownName: it has a key that is
            none.
        InvalidInput: the mirror is no address.
    """
    path = place("config") / FILE
    said = _file(path)
    given = [Path(os.path.expanduser(one)) for one in os.environ.get(MODELS, "").split(os.pathsep) if one]
    named = given or [path.parent / os.path.expanduser(one) for one in said.get("models", ())]
    mirror = (os.environ.get(MIRROR) or said.get("mirror") or HUB).rstrip("/")
    if not mirror.startswith(("https://", "http://")) or not split_address(mirror).hostname:
        raise InvalidInput(f"the mirror {mirror!r} is no address: {MIRROR}, or mirror in {path}, reads like {HUB}")
    return Settings(models=tuple(named) or (place("data") / "models",), mirror=mirror, stated=bool(named))


def _file(path: Path) -> dict[str, Any]:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InvalidFile(f"cannot read the settings in {path}: {error}. Mend or remove the file") from None
    for key, value in said.items():
        if key not in KEYS:
            raise InvalidFile(f"{path}: {UnknownName('setting', key, KEYS)}")
        texts = value if key == "models" else [value]
        if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
            form = 'models = ["FOLDER", ...]' if key == "models" else f'mirror = "{HUB}"'
            raise InvalidFile(f"{path}: {key} is {value!r:.80}; it reads {form}")
    return said
