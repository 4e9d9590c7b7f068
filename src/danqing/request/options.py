"""A request's options as `danqing.paint` takes them: every field by its flat name, with its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ..finish.records import Record
from . import groups
from .control import Control
from .image_prompt import ImagePrompt
from .kept_face import KeptFace
from .names import RecipeName
from .reference import Reference
from .region import Region

if TYPE_CHECKING:
    from ..solve.core import Solver

#: A chain of finishes: "enlarge:scale=2,tone", or records, names and JSON of them in their order.
Finishes = str | Sequence[Record | str | Mapping[str, Any]] | None

#: What is to be resembled: "fox.png:0.6", or records, texts and JSON of them.
ImagePrompts = str | Sequence[ImagePrompt | str | Mapping[str, Any]] | None


#: What steers: "edges:fox.png", or records, texts and JSON of them.
Controls = str | Sequence[Control | str | Mapping[str, Any]] | None


#: Whose faces are kept: "portrait.png", or records, texts and JSON of them.
KeptFaces = str | Sequence[KeptFace | str | Mapping[str, Any]] | None


#: What is looked at: "fox.png", or records, texts and JSON of them.
References = str | Sequence[Reference | str | Mapping[str, Any]] | None

#: Parts with words of their own: "left: a red fox", or records, texts and JSON of them.
Regions = str | Sequence[Region | str | Mapping[str, Any]] | None


class Painting(TypedDict, total=False):
    """What all functions of `danqing.api` take by name; `Request` and its groups describe each."""

    recipe: RecipeName
    model: str
    negative: str | None
    style: str | None
    seed: int | None
    index: int | None
    width: int | None
    height: int | None
    frames: int | None
    scene: str | None
    tile: int | None
    panorama: bool | None
    steps: int | None
    solver: str | Solver | None
    spacing: str | None
    eta: float | None
    scale: float | None
    rescale: float | None
    interval: tuple[float, float] | None
    image_scale: float | None
    apg: float | None
    apg_momentum: float | None
    apg_norm: float | None
    cfgpp: float | None
    zero_star: bool | None
    zero_steps: int | None
    pag: float | None
    pag_layers: str | None
    dynamic: float | None
    dynamic_bound: float | None
    forecast: int | None
    forecast_order: int | None
    deep_every: int | None
    deep_outer: int | None
    base_every: int | None
    base_below: float | None
    merge_tokens: float | None
    strength: float | None
    mask_blur: int | None
    mask_grow: int | None
    only_masked: bool | None
    padding: int | None
    fill: str | None
    extend: tuple[int, int, int, int] | None
    hires: float | groups.Hires | None
    hires_steps: int | None
    hires_strength: float | None
    hires_by: str | None
    refiner: str | groups.Refiner | None
    refiner_at: float | None
    emphasis: str | None
    clip_skip: int | None
    variation_seed: int | None
    variation_strength: float | None
    like_noise: str | None
    template: str | None
    negative_template: str | None
    prediction: str | None
    noise_schedule: str | None
    vae: str | None
    truncation: float | None
    mix: int | None
    mix_from: int | None
    to: str | None
    controls: Controls
    image_prompts: ImagePrompts
    faces: KeptFaces
    references: References
    regions: Regions
    finish: Finishes
    strict: bool | None
    precision: str | None
    engine: str | None
    quantise: str | None
    composition: groups.Composition
    tiling: groups.Tiling
    sampling: groups.Sampling
    guidance: groups.Guidance
    acceleration: groups.Acceleration
    edit: groups.Edit
    text: groups.Text
    variation: groups.Variation
    typed: groups.Typed
    override: groups.Override
    generating: groups.Generating
    interpolation: groups.Interpolation
    translation: groups.Translation


class Options(Painting, total=False):
    """All that a `Request` is made of: the prompt and the pictures too, which those functions take in places of their
    own."""

    prompt: str
    image: str | None
    mask: str | None
    other: str | None
    between: float | None
