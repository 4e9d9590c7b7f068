"""Names that a request may state, with what A1111 calls them: known without loading torch.

A test holds the keys equal to what `solve`, `schedule`, `prompt` and `run` offer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator

from ..errors import UnknownName

#: What can be done.
RecipeName = Literal[
    "text2image", "image2image", "inpaint", "outpaint", "reconstruct", "translate", "interpolate", "finish"
]

SOLVERS: Mapping[str, str] = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "euler": "Euler",
    "euler-a": "Euler a",
    "heun": "Heun",
    "lms": "LMS",
    "plms": "PLMS",
    "dpm2": "DPM2",
    "dpm3": "DPM3",
    "dpmpp-2s": "DPM++ 2S",
    "dpmpp-2s-a": "DPM++ 2S a",
    "dpmpp-2m": "DPM++ 2M",
    "dpmpp-3m": "DPM++ 3M",
    "dpmpp-sde": "DPM++ SDE",
    "dpmpp-1m-sde": "DPM++ 1M SDE",
    "dpmpp-2m-sde": "DPM++ 2M SDE",
    "dpmpp-3m-sde": "DPM++ 3M SDE",
    "unipc": "UniPC",
    "unipc-3": "UniPC 3",
    "lcm": "LCM",
    "pc": "Predictor-Corrector",
}

SPACINGS: Mapping[str, str] = {
    "leading": "DDIM",
    "trailing": "Simple",
    "linspace": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm-uniform": "SGM Uniform",
}

#: How a picture is enlarged between two passes; an enlarger that is not here is called as its file.
ENLARGERS: Mapping[str, str] = {
    "latent": "Latent (bicubic)",
    "lanczos": "Lanczos",
    "realesrgan-x4plus": "R-ESRGAN 4x+",
    "realesrgan-x4plus-anime": "R-ESRGAN 4x+ Anime6B",
}

EMPHASES = ("original", "no-norm", "comfy", "ignore")
PRECISIONS = ("fp32", "bf16", "fp16")

#: The fields of a request that are one of several names, with those names.
CHOICES: Mapping[str, Mapping[str, str] | tuple[str, ...]] = {
    "solver": SOLVERS,
    "spacing": SPACINGS,
    "emphasis": EMPHASES,
    "precision": PRECISIONS,
}


def _among(field: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in CHOICES[field]:
            raise UnknownName(field, value, CHOICES[field])
        return value

    return check


Solver = Annotated[str, AfterValidator(_among("solver"))]
Spacing = Annotated[str, AfterValidator(_among("spacing"))]
Emphasis = Annotated[str, AfterValidator(_among("emphasis"))]
Precision = Annotated[str, AfterValidator(_among("precision"))]
