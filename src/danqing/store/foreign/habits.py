"""How the published models are used: one table, `HABITS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

BETAS = {"kind": "scaled-linear", "start": 0.00085, "end": 0.012}
#: Noise without end, as of EDM: sigma itself, on which a schedule's table of betas has no say.
SIGMAS = {"kind": "edm", "sigma_min": 0.002, "sigma_max": 80.0}


class Habit(NamedTuple):
    """How a published model is used.

    Args:
        text: how its text is read, one of `danqing.painting.text.TEXTS`.
        needs: its parts.
        schedule: what it was trained with.
        defaults: of a request.
        optional: parts that it paints without.
        multiple: sizes in pixels are multiples of it.
        codec: fields of its autoencoder's config that the shapes of one alone do not tell.
    """

    text: str
    needs: tuple[str, ...]
    schedule: Mapping[str, Any]
    defaults: Mapping[str, Any]
    optional: tuple[str, ...] = ()
    multiple: int = 8
    codec: Mapping[str, Any] = {}


def _sized(side: int, **more: Any) -> dict[str, Any]:
    return {"width": side, "height": side, "steps": 25, "solver": "dpmpp-2m", "spacing": "karras", "scale": 7.0, **more}


def _sd3(**more: Any) -> Habit:
    defaults = _sized(1024, **{"steps": 28, "solver": "euler", "spacing": "linspace", "clip_skip": 2, **more})
    return Habit(
        "sd3",
        ("denoiser", "codec"),
        {"kind": "flow", "shift": 3.0},
        defaults,
        ("text", "text_2", "text_3"),
        multiple=16,
    )


XL_CODEC = {"scaling_factor": 0.13025}
#: By the names of `danqing.weights.kinds.Kind`. Scales and steps are those that the models were published with.
HABITS: Mapping[str, Habit] = {
    "SD1.x": Habit("clip", ("denoiser", "codec", "text"), BETAS, _sized(512, clip_skip=1)),
    "SD2.x": Habit("openclip", ("denoiser", "codec", "text"), BETAS, _sized(768, clip_skip=1)),
    "SDXL": Habit(
        "sdxl",
        ("denoiser", "codec", "text", "text_2"),
        BETAS,
        _sized(1024, scale=5.0, clip_skip=2),
        codec=XL_CODEC,
    ),
    "SDXL refiner": Habit(
        "sdxl-refiner",
        ("denoiser", "codec", "text"),
        BETAS,
        _sized(1024, scale=5.0, clip_skip=2, strength=0.3),
        codec=XL_CODEC,
    ),
    "SD3 medium": _sd3(scale=7.0),
    "SD3.5 medium": _sd3(scale=4.5, steps=40),
    "SD3.5 large": _sd3(scale=3.5),
}
#: Denoisers that read the picture beside the noise paint it wholly anew.
STRENGTHS = {"instruct-pix2pix": {"strength": 1.0}}
