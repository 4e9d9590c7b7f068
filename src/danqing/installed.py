"""Models that installed packages bring: all that lies in the namespace package ``danqing_models``.

A package that brings models holds ``danqing_models/NAME/model.json`` and the files that it names, or
``danqing_models/loras/NAME.safetensors``, and so on as in any folder of models, without an ``__init__.py`` (PEP 420).
Wherever it is installed, its folder is one more folder of models; nothing of it is imported. danqing's own models come
so, in the packages of `BRINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .errors import InvalidInput

NAMESPACE = "danqing_models"
#: What danqing's own packages bring, by the packages' names; their folders are those of zoo/.
BRINGS: Mapping[str, tuple[str, ...]] = {
    "danqing-mini": ("danqing-depth", "danqing-mini", "danqing-x4", "ipadapter", "judge"),
    "danqing-families": (
        "biggan",
        "controlnet",
        "cyclegan",
        "danqing-faces",
        "ddpm",
        "features",
        "pixelcnn",
        "portraits",
        "score",
        "stylegan2",
        "vae",
    ),
    "danqing-identity": ("face-analysis",),
}


def folders() -> list[Path]:
    """The folders of models that installed packages bring, in the order of ``sys.path``."""
    found = find_spec(NAMESPACE)
    return [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []


def path(name: str, file: str) -> Path | None:
    """``name/file`` in the first folder that has it; None where none has."""
    return next((path for folder in folders() if (path := folder / name / file).is_file()), None)


def require(name: str, file: str) -> Path:
    """`path`, of what one of danqing's own packages brings.

    Raises:
        InvalidInput: that package is not installed.
    """
    if (found := path(name, file)) is None:
        raise missing(name)
    return found


def missing(name: str) -> InvalidInput:
    """The error for a name in `BRINGS` that is not installed."""
    package = next(package for package, names in BRINGS.items() if name in names)
    return InvalidInput(
        f"{name} comes with the package {package}, which is not installed: run `pip install {package}`, or in a clone"
        f" of danqing `pip install ./zoo/{package.removeprefix('danqing-')}`"
    )
