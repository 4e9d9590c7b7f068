"""Names that a request may state, with what A1111 calls them: known without loading torch.

A test holds the keys equal to what `schedule`, `prompt` and `run` offer.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator

from ..inputs.fields import Among
from ..run.engine.engines import ENGINES
from ..run.quantise.quantisers import QUANTISERS
from ..solve.solvers import SOLVERS, name_of
from ..tables import Table

#: What a model that denoises can do; each row is a `danqing.painting.loaded.Recipe`.
RECIPES: Table[Any] = Table(
    "recipe",
    {
        name: f"painting.recipes.denoising:{name.upper()}"
        for name in ("text2image", "image2image", "inpaint", "outpaint")
    },
    kind="painting.loaded:Recipe",
    columns={"what it does": lambda row: row.does},
)
#: What a part of a picture that is painted anew starts from; each row is a `danqing.painting.recipes.fill.Fill`.
FILLS: Table[Any] = Table(
    "fill",
    {name: f"painting.recipes.fill:{name.upper()}" for name in ("original", "blur", "noise", "nothing")},
    kind="painting.recipes.fill:Fill",
    columns={"what painting starts from": lambda row: row.does},
)
#: What other models can do, and what is done with none.
OTHER_RECIPES = ("reconstruct", "translate", "interpolate", "finish")

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

#: How what a prompt places is painted.
SCENES = ("whole", "layered")
EMPHASES = ("original", "no-norm", "comfy", "ignore")
#: What a denoiser may be said to predict, and the noise schedules that it may be said to be trained on.
PREDICTIONS = ("eps", "v", "x0", "flow", "edm", "edm-v")
NOISE_SCHEDULES = ("scaled-linear", "linear", "cosine", "flow", "edm", "zero-snr")
PRECISIONS = ("fp32", "bf16", "fp16")

#: Programs whose noise of a seed a picture may start from.
NOISES = ("a1111-gpu", "a1111-cpu", "comfy")

Solver = Annotated[str, BeforeValidator(name_of), AfterValidator(Among("solver", SOLVERS))]
Spacing = Annotated[str, AfterValidator(Among("spacing", SPACINGS))]
SceneName = Annotated[str, AfterValidator(Among("scene", SCENES))]
Emphasis = Annotated[str, AfterValidator(Among("emphasis", EMPHASES))]
Fill = Annotated[str, AfterValidator(Among("fill", FILLS))]
Prediction = Annotated[str, AfterValidator(Among("prediction", PREDICTIONS))]
NoiseSchedule = Annotated[str, AfterValidator(Among("noise schedule", NOISE_SCHEDULES))]
StartingNoise = Annotated[str, AfterValidator(Among("noise", NOISES))]
Precision = Annotated[str, AfterValidator(Among("precision", PRECISIONS))]
EngineName = Annotated[str, AfterValidator(Among("engine", ENGINES))]
QuantiserName = Annotated[str, AfterValidator(Among("quantiser", QUANTISERS))]
RecipeName = Annotated[
    str, AfterValidator(Among("recipe", ChainMap[str, Any](dict.fromkeys(OTHER_RECIPES), cast(Any, RECIPES))))
]
