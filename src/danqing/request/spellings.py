"""What other programs call the options of a request and their values: understood wherever a request is made.

A1111's, ComfyUI's, InvokeAI's and NovelAI's names of samplers and schedules, and diffusers' of arguments and classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..solve.solvers import SOLVERS
from .names import SPACINGS

#: Options by their names elsewhere.
OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("sampler", "sampler_name", "sampling_method"), "solver"),
    **dict.fromkeys(("schedule", "schedule_type", "scheduler_name", "timestep_spacing"), "spacing"),
    **dict.fromkeys(("cfg", "cfg_scale", "guidance_scale"), "scale"),
    **dict.fromkeys(("num_inference_steps", "sampling_steps"), "steps"),
    **dict.fromkeys(("denoise", "denoising_strength"), "strength"),
    **dict.fromkeys(("checkpoint", "ckpt", "sd_model"), "model"),
    **dict.fromkeys(("hr_scale", "hires_upscale"), "hires"),
    **dict.fromkeys(("init_image", "init_img"), "image"),
    "hr_second_pass_steps": "hires_steps",
    "hr_upscaler": "hires_by",
    "negative_prompt": "negative",
    "guidance_rescale": "rescale",
    "image_guidance_scale": "image_scale",
    "mask_image": "mask",
    "refiner_checkpoint": "refiner",
    "refiner_switch_at": "refiner_at",
    "subseed": "variation_seed",
    "subseed_strength": "variation_strength",
}
#: Those of the command line alone.
COMMAND: Mapping[str, str] = {
    **OPTIONS,
    **dict.fromkeys(("n", "batch_size", "batch_count", "n_iter", "num_images_per_prompt"), "count"),
    **{"s": "steps", "W": "width", "H": "height"},
}
#: Solvers whose name elsewhere is none of ours spelled otherwise, as `_key` has it.
SAMPLERS: Mapping[str, str] = {
    "pndm": "plms",
    "kdpm2": "dpm2",
    "unipcbh2": "unipc",
    "unipcmultistep": "unipc",
    "dpmsolvermultistep": "dpmpp-2m",
    "dpmsolversinglestep": "dpmpp-2s",
    "dpmsolversde": "dpmpp-sde",
    "flowmatcheuler": "euler",
}
#: Spacings likewise; None leaves the choice to the model.
SCHEDULES: Mapping[str, str | None] = {"automatic": None, "ddimuniform": "leading", "k": "karras"}
LENGTH = 100


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by our names, and a sampler and its schedule that are named at once, parted.

    Raises:
        InvalidInput: two say the same thing.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        own = OPTIONS.get(name, name)
        if name == "scheduler":  # which is a sampler in diffusers and a schedule in ComfyUI
            own = "spacing" if isinstance(value, str) and spacing_of(value) != "" else "solver"
        if value is not None and found.get(own) is not None:
            other = next(other for other in options if other != name and OPTIONS.get(other, other) == own)
            raise InvalidInput(f"{other} and {name} both say {own}: give one of them")
        if own not in found or value is not None:
            found[own] = value
    if isinstance(spacing := found.get("spacing"), str) and (known := spacing_of(spacing)) != "":
        found["spacing"] = known
    solver, spacing = sampler_of(found["solver"]) if isinstance(found.get("solver"), str) else ("", "")
    if solver:
        found["solver"] = solver
    if spacing and found.get("spacing") not in (None, spacing):
        raise InvalidInput(
            f"the solver {options.get('solver')!r} names the spacing {spacing}, and the spacing is "
            f"{found['spacing']!r}: give one of them"
        )
    return {**found, "spacing": spacing} if spacing else found


def sampler_of(text: str) -> tuple[str, str]:
    """The solver and the spacing that a sampler's name elsewhere says: ("dpmpp-2m", "karras") of "DPM++ 2M Karras";
    each is empty where it says none that is known."""
    if text in SOLVERS:
        return text, ""
    rows = SOLVERS.usable().items()
    solvers = {**{_key(each): name for name, row in rows for each in (name, row.title)}, **SAMPLERS}
    key = _key(text)
    for suffix, spacing in {"": "", **_spacings()}.items():
        name = key.removesuffix(suffix) if suffix and key.endswith(suffix) else key
        for start in ("", "k"):  # k-diffusion's, before the names of its samplers
            if solver := solvers.get(name.removeprefix(start)):
                return solver, spacing or ""
    return "", ""


def spacing_of(text: str) -> str | None:
    """The spacing that a schedule's name elsewhere says; None where the model is to choose, empty where it is none that
    is known."""
    return text if text in SPACINGS else _spacings().get(_key(text), "")


def _spacings() -> dict[str, str | None]:
    ours = {_key(each): name for name, label in SPACINGS.items() for each in (name, label)}
    return {**ours, **SCHEDULES}


def _key(text: str) -> str:
    """What is left of a name when case, signs and what each program adds to it are taken away."""
    said = text[:LENGTH].lower().replace("++", "pp").replace("ancestral", "a")
    said = re.sub(r"[^a-z0-9]", "", said)
    return re.sub(r"(discrete)?scheduler$|gpu$", "", said)
