"""The groups of a `Request`: each what one part of painting is told. A field has the value that it has when neither the
request nor the model states one; which fields are stated, pydantic remembers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ..errors import InvalidInput
from ..inputs.fields import Domain
from .names import Emphasis, Fill, NoiseSchedule, Prediction, SceneName, Solver, Spacing, StartingNoise

Share = Annotated[float, Field(ge=0, le=1)]
#: Marks a field that names a given picture: a file, or a data: URI.
PICTURE = "picture"
#: Marks a field of records of which each names some.
PICTURES = "pictures"
Source = Annotated[str, PICTURE]
#: Marks a field whose usual value no record states.
QUIET = "quiet"
Margin = Annotated[int, Field(ge=0, le=4096)]


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= value[0] <= value[1] <= 1:
        raise InvalidInput(f"interval: {value} was given; possible are two times 0 <= low <= high <= 1, as 0.1 0.9")
    return value


class Group(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()):
    """Some fields of a request that belong together."""


class Composition(Group, frozen=True):
    """How several things come into one picture."""

    scene: SceneName = Field(
        default="whole",
        description="How things are painted that the prompt places, as a cat to the left of a tree: all at once, or "
        "each as a picture of its own, cut out and laid over the background.",
        examples=["layered", "whole"],
    )


class Sampling(Group, frozen=True):
    """How noise becomes a picture."""

    steps: int = Field(default=20, ge=1, le=1000, description="How many steps the solver takes.", examples=[20])
    solver: Solver = Field(default="dpmpp-2m", description="How a step is taken.", examples=["euler", "dpmpp-2m"])
    spacing: Spacing = Field(
        default="trailing", description="Which times are visited.", examples=["trailing", "karras"]
    )
    eta: Share | None = Field(
        default=None, description="How much fresh noise a solver that takes one adds in each step: 0 none, 1 all."
    )


class Guidance(Group, frozen=True):
    """How strongly the words, or a given picture, lead."""

    scale: float = Field(
        default=7.0,
        ge=-100,
        le=100,
        description="Guidance towards the prompt; 1 is none, and then costs half.",
        examples=[4],
    )
    rescale: Share = Field(default=0.0, description="How much of guidance's gain in contrast is taken back.")
    interval: Annotated[tuple[float, float], AfterValidator(_ordered), Domain(lambda: "two numbers")] = Field(
        default=(0.0, 1.0),
        description="The times within which guidance acts, 0 clean to 1 noise.",
        examples=[(0.1, 0.9)],
    )
    image_scale: float = Field(
        default=1.5,
        ge=0,
        le=100,
        description="Guidance towards the given picture, in models that follow instructions.",
        examples=[1.5],
    )
    apg: Annotated[Share, QUIET] = Field(
        default=1.0,
        description="How much is kept of what guidance adds along the estimate itself, which saturates colours: 1 all, "
        "0 nothing (adaptive projected guidance).",
        examples=[0],
    )
    apg_momentum: Annotated[float, QUIET, Domain(lambda: "a number between -1 and 1")] = Field(
        default=0.0,
        gt=-1,
        lt=1,
        description="How much of the steps before counts in guidance; below 0 takes it back.",
        examples=[-0.5],
    )
    apg_norm: Annotated[float, QUIET] = Field(
        default=0.0,
        ge=0,
        le=100_000,
        description="How long the difference that guides may be, over a picture's numbers; 0 is any.",
        examples=[15],
    )
    cfgpp: Annotated[Share, QUIET] = Field(
        default=0.0,
        description="Guidance by CFG++ in place of the scale, 0 to 1; 0 is off. With the solvers ddim and euler(-a).",
        examples=[0.6],
    )
    zero_star: Annotated[bool, QUIET] = Field(
        default=False, description="Guide from the negative prompt's estimate at the length that fits best (CFG-Zero*)."
    )
    zero_steps: Annotated[int, QUIET] = Field(
        default=0, ge=0, le=1000, description="How many of the first steps are not taken (CFG-Zero*).", examples=[1]
    )
    pag: Annotated[float, QUIET] = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Guidance away from what the model paints when the parts of a picture do not see each other "
        "(perturbed-attention guidance), which is one look more at the network in each step. 0 is off.",
        examples=[3],
    )
    pag_layers: Annotated[str, QUIET] = Field(
        default="",
        max_length=1_000,
        description="The attentions in which they do not, by the beginnings of their names with commas between; those "
        "in the middle of the network when not given.",
        examples=["mid_block,up_blocks.1"],
    )
    dynamic: Annotated[float, QUIET, Domain(lambda: "a number above 0, up to 1")] = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The share of an estimate's numbers that high scales may not drive out of the usual range (dynamic "
        "thresholding); 1 is off.",
        examples=[0.995],
    )
    dynamic_bound: Annotated[float, QUIET] = Field(
        default=0.0,
        ge=0,
        le=100,
        description="That range, about 0: 1 for models of pixels; that of the unguided estimate when not given.",
        examples=[1],
    )


class Acceleration(Group, frozen=True):
    """What of a walk is not computed, but taken from the steps before."""

    forecast: Annotated[int, QUIET] = Field(
        default=1,
        ge=1,
        le=1000,
        description="Compute every N-th step alone, and the last, and forecast the others from those; 1 computes all.",
        examples=[2],
    )
    forecast_order: Annotated[int, QUIET] = Field(
        default=1,
        ge=0,
        le=4,
        description="The degree of the polynomial that forecasts; 0 repeats the latest computed step.",
        examples=[1],
    )
    deep_every: Annotated[int, QUIET] = Field(
        default=1,
        ge=1,
        le=1000,
        description="Compute the whole network every N-th step alone, and between them its outermost layers, with what "
        "lies deeper as it was; 1 computes all.",
        examples=[2],
    )
    deep_outer: Annotated[int, QUIET] = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many layers are outermost: of a UNet so many down and up, of an MMDiT the first blocks.",
        examples=[3],
    )
    base_every: Annotated[int, QUIET] = Field(
        default=1,
        ge=1,
        le=1000,
        description="Compute what guidance leads away from every N-th time alone, and keep its difference between; 1 "
        "computes it always.",
        examples=[4],
    )
    base_below: Annotated[Share, QUIET] = Field(
        default=1.0, description="The time below which base-every counts, 1 noise to 0 clean.", examples=[0.5]
    )
    merge_tokens: Annotated[float, QUIET] = Field(
        default=0.0,
        ge=0,
        le=0.75,
        description="How many of the cells of the finest grid attend as one with others that are alike, as a share of "
        "all; 0 merges none.",
        examples=[0.5],
    )


class Variation(Group, frozen=True):
    """Where the noise starts beside the seed: on the way to another seed's, and as another program draws it."""

    seed: Annotated[int, QUIET] = Field(
        default=0, ge=0, lt=2**63, description="Another seed, to whose noise a picture's own goes.", examples=[7]
    )
    strength: Annotated[Share, QUIET] = Field(
        default=0.0,
        description="How far the noise goes to that of variation-seed: 0 not at all, 1 wholly; the pictures of a "
        "count then vary the first.",
        examples=[0.2],
    )
    like: Annotated[StartingNoise, QUIET] = Field(
        default="", description="The program whose noise of this seed the picture starts from."
    )


class Hires(Group, frozen=True):
    """A second pass over the picture enlarged."""

    factor: float = Field(
        default=1.0,
        ge=1,
        le=8,
        description="How many times larger the picture is painted anew, over itself enlarged, in a second pass; "
        "1 is no second pass.",
        examples=[2],
    )
    steps: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How many steps the second pass counts; 0, or when not given, as many as the first.",
    )
    strength: Share = Field(
        default=0.5, description="How far the second pass paints the enlarged picture anew: 0 not at all, 1 wholly."
    )
    by: str = Field(
        default="latent",
        min_length=1,
        description="How it is enlarged for that: latent, lanczos, or the name or the path of an enlarger.",
        examples=["latent", "lanczos", "danqing-x4"],
    )


class Edit(Group, frozen=True):
    """How a given picture is repainted."""

    strength: Share = Field(
        default=0.6, description="How far a given picture is painted anew: 0 not at all, 1 wholly.", examples=[0.6]
    )
    mask: Source = Field(
        default="",
        description="What to repaint: white yes, black no, grey partly; of the picture's size.",
        examples=["mask.png"],
    )
    blur: int = Field(
        default=0, ge=0, le=256, description="A soft rim within the mask, in pixels; outside nothing changes."
    )
    grow: Annotated[int, QUIET] = Field(
        default=0, ge=0, le=256, description="How many pixels the mask grows by before anything is painted."
    )
    only_masked: Annotated[bool, QUIET] = Field(
        default=False,
        description="Paint each part of the mask by itself, at the model's own size, and put it back into the picture.",
    )
    padding: Annotated[int, QUIET] = Field(
        default=32, ge=0, le=1024, description="How many pixels around a part of the mask are seen with it."
    )
    fill: Annotated[Fill, QUIET] = Field(
        default="original",
        description="What painting starts from within the mask, at a strength below 1.",
        examples=["original", "blur"],
    )
    extend: Annotated[tuple[Margin, Margin, Margin, Margin], Domain(lambda: "four whole numbers from 0 to 4096")] = (
        Field(
            default=(0, 0, 0, 0),
            description="How many pixels the picture grows by to the left, above, to the right and below.",
            examples=[(0, 0, 64, 0)],
        )
    )


class Tiling(Group, frozen=True):
    """How a large picture is seen part by part."""

    size: int | None = Field(
        default=None,
        ge=16,
        le=4096,
        description="The side in pixels of what the model sees at once: a larger picture is painted in overlapping "
        "tiles, in the memory of one; whole when not given.",
        examples=[512],
    )
    panorama: bool = Field(default=False, description="The left and the right edge meet, as all around a viewer.")


class Refiner(Group, frozen=True):
    """A second model that ends the picture."""

    model: str = Field(
        default="",
        min_length=1,
        description="A second model that takes the last steps, such as SDXL's refiner: a name or a path.",
    )
    at: Share = Field(default=0.8, description="The part of the steps after which the refiner takes over.")


class Text(Group, frozen=True):
    """How the prompt is encoded."""

    emphasis: Emphasis = Field(
        default="original", description="How (words:1.3) weigh.", examples=["original", "no-norm"]
    )
    clip_skip: int = Field(
        default=1,
        ge=1,
        le=12,
        description="Which layer of the text encoder speaks: 1 the last, 2 the one before.",
    )


class Typed(Group, frozen=True):
    """The prompts as they were typed, where choices were drawn from them; "" where there was nothing to draw, and what
    then looks like choices is none."""

    template: str = Field(default="", max_length=1_000_000, description="The prompt with its choices, as typed.")
    negative_template: str = Field(
        default="", max_length=1_000_000, description="The negative prompt with its choices, as typed."
    )


class Override(Group, frozen=True):
    """What is said of a model by hand, before all that its files say."""

    prediction: Prediction = Field(default="", description="What the model predicts, where its files say it wrongly.")
    noise_schedule: NoiseSchedule = Field(
        default="", description="The noise schedule it was trained on; zero-snr keeps its own, ended in noise."
    )
    vae: str = Field(default="", description="An autoencoder's file, in place of the model's or where it has none.")


class Generating(Group, frozen=True):
    """What models that paint in one pass are told."""

    truncation: float = Field(
        default=1.0,
        ge=0,
        le=2,
        description="How varied pictures of a model that paints without denoising are: the lower, the more alike and "
        "typical.",
        examples=[0.7],
    )
    mix: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="The seed of a second picture, whose styles the last layers take.",
        examples=[9],
    )
    mix_from: int = Field(default=0, ge=0, le=64, description="The first of the layers that take them.", examples=[4])


class Interpolation(Group, frozen=True):
    """The way from a picture to another."""

    other: Source = Field(default="", description="The second picture: a file, or a data: URI.", examples=["cat.png"])
    between: Share = Field(default=0.5, description="How far from the first picture to the second: 0 to 1.")


class Translation(Group, frozen=True):
    """Into what a picture is translated."""

    to: str = Field(
        default="",
        min_length=1,
        description="The style to translate into, as the model names it.",
        examples=["fluent"],
    )
