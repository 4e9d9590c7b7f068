"""The one record behind every picture: what the command line, the Python API, a file's provenance and a replay share.

Free of torch, so that a wrong option is refused before anything heavy is loaded. The command line's options and their
help are made from the fields below.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InvalidInput, UnknownName
from ..finish.records import Finishing, chain
from .words import choices, translate

T = TypeVar("T")

#: What width and height are.
SIDE = "In pixels, before any enlarging; a multiple of what the model works in."
Margin = Annotated[int, Field(ge=0, le=4096)]

#: What a field is when neither the request nor the model says.
FALLBACK: Mapping[str, Any] = {
    "negative": "",
    "width": 512,
    "height": 512,
    "steps": 20,
    "solver": "dpmpp-2m",
    "spacing": "trailing",
    "scale": 7.0,
    "rescale": 0.0,
    "interval": (0.0, 1.0),
    "strength": 0.6,
    "hires": 1.0,
    "hires_strength": 0.5,
    "hires_by": "latent",
    "emphasis": "original",
    "clip_skip": 1,
    "truncation": 1.0,
    "between": 0.5,
    "finish": (),
}
#: Recipes whose picture keeps the given one around what is painted: a model's own finishing is no default there.
KEEPING = ("inpaint", "outpaint")

RecipeName = Literal[
    "text2image", "image2image", "inpaint", "outpaint", "reconstruct", "translate", "interpolate", "finish"
]


class Request(BaseModel):
    """All that determines a picture. Frozen; a field left at None is filled by `resolve` from the model's defaults.

    The JSON of a request, the options of the command line, and the record in a painted file are this same thing.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for an option, solver or choice that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    recipe: RecipeName = Field(
        default="text2image",
        description="What is done: paint from nothing, over a picture or a part of it; or paint a picture anew as "
        "the model knows it,"
        " in another style, or between two.",
    )
    model: str = Field(
        default="danqing-mini", min_length=1, description="A shipped model, or the path of a model's folder."
    )
    prompt: str = Field(
        default="",
        max_length=1_000_000,
        description="What to paint, in English or Chinese; empty paints anything.",
        examples=["a red fox, 3d style", "一只(红色:1.2)的狐狸", "[a cat:a dog:0.5]"],
    )
    negative: str | None = Field(
        default=None, max_length=1_000_000, description="What to keep away from.", examples=["blurry, frame"]
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="Where the noise starts; drawn when not given.", examples=[42]
    )
    index: int = Field(default=0, ge=0, lt=2**31, description="Which picture of the seed this is.")
    width: int | None = Field(default=None, ge=8, le=4096, description=SIDE, examples=[128])
    height: int | None = Field(default=None, ge=8, le=4096, description=SIDE, examples=[128])
    tile: int | None = Field(
        default=None,
        ge=16,
        le=4096,
        description="The side in pixels of what the model sees at once: a larger picture is painted in "
        "overlapping tiles, in the memory of"
        " one; whole when not given.",
        examples=[512],
    )
    panorama: bool = Field(default=False, description="The left and the right edge meet, as all around a viewer.")
    steps: int | None = Field(
        default=None, ge=1, le=1000, description="How many steps the solver takes.", examples=[20]
    )
    solver: str | None = Field(default=None, description="How a step is taken.", examples=["euler", "dpmpp-2m"])
    spacing: str | None = Field(default=None, description="Which times are visited.", examples=["trailing", "karras"])
    eta: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How much fresh noise a solver that takes one adds in each step: 0 none, 1 all.",
    )
    scale: float | None = Field(
        default=None,
        ge=-100,
        le=100,
        description="Guidance towards the prompt; 1 is none, and then costs half.",
        examples=[4],
    )
    rescale: float | None = Field(
        default=None, ge=0, le=1, description="How much of guidance's gain in contrast is taken back."
    )
    interval: tuple[float, float] | None = Field(
        default=None, description="The times within which guidance acts, 0 clean to 1 noise.", examples=[(0.1, 0.9)]
    )
    strength: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How far a given picture is painted anew: 0 not at all, 1 wholly.",
        examples=[0.6],
    )
    hires: float | None = Field(
        default=None,
        ge=1,
        le=8,
        description="How many times larger the picture is painted anew, over itself enlarged, in a second pass; 1 "
        "is no second pass.",
        examples=[2],
    )
    hires_steps: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="How many steps the second pass counts; 0, or when not given, as many as the first.",
    )
    hires_strength: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="How far the second pass paints the enlarged picture anew: 0 not at all, 1 wholly.",
    )
    hires_by: str | None = Field(
        default=None,
        min_length=1,
        description="How it is enlarged for that: latent, lanczos, or the name or the path of an enlarger.",
        examples=["latent", "lanczos", "danqing-x4"],
    )
    image_scale: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Guidance towards the given picture, in models that follow instructions.",
        examples=[1.5],
    )
    image: str | None = Field(
        default=None, description="The picture to start from: a file, or a data: URI.", examples=["fox.png"]
    )
    mask: str | None = Field(
        default=None, description="What to repaint: white yes, black no, grey partly; of the picture's size.",
        examples=["mask.png"],
    )  # fmt: skip
    mask_blur: int = Field(
        default=0, ge=0, le=256, description="A soft rim within the mask, in pixels; outside nothing changes."
    )
    extend: tuple[Margin, Margin, Margin, Margin] | None = Field(
        default=None,
        description="How many pixels the picture grows by to the left, above, to the right and below.",
        examples=[(0, 0, 64, 0)],
    )
    refiner: str | None = Field(
        default=None,
        min_length=1,
        description="A second model that takes the last steps, such as SDXL's refiner: a name or a path.",
    )
    refiner_at: float = Field(
        default=0.8, ge=0, le=1, description="The part of the steps after which the refiner takes over."
    )
    emphasis: str | None = Field(default=None, description="How (words:1.3) weigh.", examples=["original", "no-norm"])
    clip_skip: int | None = Field(
        default=None, ge=1, le=12, description="Which layer of the text encoder speaks: 1 the last, 2 the one before."
    )
    truncation: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="How varied pictures of a model that paints without denoising are: the lower, the more alike "
        "and typical.",
        examples=[0.7],
    )
    mix: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="The seed of a second picture, whose styles the last layers take.",
        examples=[9],
    )
    mix_from: int | None = Field(
        default=None, ge=0, le=64, description="The first of the layers that take them.", examples=[4]
    )
    other: str | None = Field(
        default=None, description="The second picture: a file, or a data: URI.", examples=["cat.png"]
    )
    between: float | None = Field(
        default=None, ge=0, le=1, description="How far from the first picture to the second: 0 to 1."
    )
    to: str | None = Field(
        default=None,
        min_length=1,
        description="The style to translate into, as the model names it.",
        examples=["fluent"],
    )
    finish: tuple[Finishing, ...] | None = Field(
        default=None,
        description="What is done to the painted picture, in this order: enlarge, faces, tone and others, with "
        "their parameters;"
        " none leaves it as it is.",
        examples=["enlarge:scale=2,tone"],
    )
    strict: bool = Field(
        default=False, description="Refuse a LoRA that is not there or not wholly for this model, instead of warning."
    )
    precision: str | None = Field(
        default=None,
        description="What is computed in; chosen for the machine when not given.",
        examples=["fp32", "bf16"],
    )

    if not TYPE_CHECKING:  # checkers keep the generated signature

        def __init__(self, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise translate(error.errors(include_url=False), type(self).model_fields) from None

    @field_validator("solver", "spacing", "emphasis", "precision")
    @classmethod
    def _named(cls, value: str | None, info: Any) -> str | None:
        possible = choices(info.field_name, cls.model_fields[info.field_name])
        if value is not None and value not in possible:
            raise UnknownName(info.field_name, value, possible)
        return value

    @field_validator("finish", mode="before")
    @classmethod
    def _chain(cls, value: object) -> object:
        return chain(value)

    @field_validator("interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1] <= 1:
            raise InvalidInput(f"interval: {value} was given; possible are two times 0 <= low <= high <= 1, as 0.1 0.9")
        return value

    def but(self, **changes: Any) -> Request:
        """The same request with some fields changed, checked again."""
        return Request(**{**self.model_dump(), **changes})

    def json_text(self) -> str:
        """The request as JSON, all fields; `parse` gives the same request back."""
        return self.model_dump_json()

    @classmethod
    def parse(cls, text: str | bytes) -> Request:
        """A request from its JSON.

        Raises:
            InvalidInput: not JSON, not an object, or a field outside its domain.
        """
        import json

        try:
            data = json.loads(text)
        except ValueError as error:
            raise InvalidInput(
                f'a request is a JSON object such as {{"prompt": "a fox"}}; this is not JSON: {error}'
            ) from None
        if not isinstance(data, dict):
            raise InvalidInput(f'a request is a JSON object such as {{"prompt": "a fox"}}; given was {text[:80]!r}')
        return cls(**data)

    def resolve(self, defaults: Mapping[str, Any] | None = None, used: Collection[str] | None = None) -> Request:
        """Every default filled and the seed drawn: nothing left to choose but the precision of the machine.

        Args:
            defaults: the model's own values of some fields.
            used: the fields to fill; all where not given.

        Raises:
            InvalidInput: the recipe wants a picture and none is given, or is given one it cannot use.
        """
        if self.recipe == "text2image" and (self.image or self.mask):
            raise InvalidInput(
                "text2image starts from nothing, but a picture was given: use `edit`, the recipes image2image or "
                "inpaint"
            )
        if self.recipe != "text2image" and not self.image:
            raise InvalidInput(
                f"{self.recipe} starts from a picture and none was given: state `image`, a PNG, JPEG or WebP file"
            )
        if self.recipe == "interpolate" and not self.other:
            raise InvalidInput(
                "interpolate goes from one picture to another and the second was not given: state `other`"
            )
        if self.recipe == "image2image" and self.mask:
            raise InvalidInput("image2image repaints the whole picture, but a mask was given: use the recipe inpaint")
        if self.recipe == "outpaint" and not any(self.extend or ()):
            raise InvalidInput(
                "outpaint grows a picture, and no side to grow was given: state extend, (0, 0, 64, 0) for 64 to "
                "the right"
            )
        wholly, kept = ({"strength": 1.0}, {"finish": ()}) if self.recipe in KEEPING else ({}, {})
        fill = {**FALLBACK, "seed": secrets.randbelow(2**32), **wholly, **(defaults or {}), **kept}
        wanted = {
            name: fill[name] for name in fill if getattr(self, name, 0) is None and (used is None or name in used)
        }
        return self.but(**wanted) if wanted else self

    def stated(self) -> dict[str, Any]:
        """The fields that say something: those that differ from what they are when nobody states them."""
        return {name: value for name, value in self if value != Request.model_fields[name].default}


def spread(count: int) -> list[float]:
    """So many numbers from 0 to 1 at equal distances; a single one is 0.5.

    Raises:
        InvalidInput: fewer than one.
    """
    if count < 1:
        raise InvalidInput(f"count: {count} was given; possible is a whole number from 1")
    return [i / (count - 1) for i in range(count)] if count > 1 else [0.5]


def settled(value: T | None) -> T:
    """The value of a field that `resolve` filled."""
    if value is None:
        raise InvalidInput("this request is not resolved yet: call painter.resolve(request) first")
    return value
