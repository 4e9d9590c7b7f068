"""The one record behind every picture: what the command line, the Python API, a file's provenance and a replay share.

Free of torch, so that a wrong option is refused before anything heavy is loaded. The command line's options and their
help are made from the fields below and those of the groups.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self, Unpack, cast

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny, ValidationError, field_validator
from pydantic.fields import FieldInfo

from ..errors import InvalidInput, UnknownName
from ..finish.records import FINISHES, SHORT, Record, chain
from ..inputs.fields import Domain, translate
from ..inputs.parse import json_of
from . import control, flat, image_prompt, kept_face, reference, region, spellings
from .control import Control
from .groups import (
    PICTURE,
    PICTURES,
    QUIET,
    Acceleration,
    Composition,
    Edit,
    Generating,
    Group,
    Guidance,
    Hires,
    Interpolation,
    Override,
    Refiner,
    Sampling,
    Source,
    Text,
    Tiling,
    Translation,
    Typed,
    Variation,
)
from .image_prompt import ImagePrompt
from .kept_face import KeptFace
from .names import EngineName, Precision, QuantiserName, RecipeName
from .reference import Reference
from .region import Region

if TYPE_CHECKING:
    from .options import Options

#: How many fields a request names at most where it is shown, and how much of each, in characters.
SHOWN, QUOTED = 8, 60
#: What computes where nobody says.
PLAIN: Mapping[str, str] = {"precision": "fp32", "engine": "torch"}
#: What width and height are.
SIDE = "In pixels, before any enlarging; a multiple of what the model works in."


class Request(Group, frozen=True):
    """All that determines a picture. Frozen; what is not stated, `resolve` fills from the model's defaults.

    The JSON of a request and the record in a painted file are this same thing; the command line and `danqing.paint`
    name the same fields without their groups (`flat`), and so may whoever makes a request: ``Request(steps=20)`` is
    ``Request(sampling=Sampling(steps=20))``. None states nothing.

    A group of another package's fields is reached by `group`.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for an option, solver or choice that is not there.
    """

    model_config = ConfigDict(extra="allow")  # the groups of other packages; __init__ refuses all else

    recipe: RecipeName = Field(
        default="text2image",
        description="What is done: paint from nothing, over a picture or a part of it; or paint a picture anew as the "
        "model knows it, in another style, or between two.",
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
    negative: str = Field(
        default="", max_length=1_000_000, description="What to keep away from.", examples=["blurry, frame"]
    )
    style: str = Field(
        default="none",
        max_length=1_000,
        description="The style that is added to the prompt, as the model names it, or none; the model's own where the "
        "prompt names no style.",
        examples=["3d", "flat"],
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**63,
        description="Where the noise starts; drawn when not given.",
        examples=[42],
    )
    index: int = Field(default=0, ge=0, lt=2**31, description="Which picture of the seed this is.")
    width: int = Field(default=512, ge=8, le=4096, description=SIDE, examples=[128])
    height: int = Field(default=512, ge=8, le=4096, description=SIDE, examples=[128])
    frames: Annotated[int, QUIET] = Field(
        default=1,
        ge=1,
        le=256,
        description="How many frames a clip has; 1 is a still. They hang together as far as the model knows motion.",
        examples=[16],
    )
    composition: Composition = Composition()
    tiling: Tiling = Tiling()
    sampling: Sampling = Sampling()
    guidance: Guidance = Guidance()
    acceleration: Acceleration = Acceleration()
    variation: Variation = Variation()
    image: Source = Field(
        default="", description="The picture to start from: a file, or a data: URI.", examples=["fox.png"]
    )
    edit: Edit = Edit()
    hires: Hires = Hires()
    refiner: Refiner = Refiner()
    text: Text = Text()
    typed: Typed = Typed()
    override: Override = Override()
    generating: Generating = Generating()
    interpolation: Interpolation = Interpolation()
    translation: Translation = Translation()
    controls: Annotated[
        tuple[InstanceOf[Control], ...], PICTURES, QUIET, Domain(lambda: f"controls, each {control.WRITTEN}")
    ] = Field(
        default=(),
        description="Pictures that steer by what they show: edges, depth, pose and others, each through a network.",
        examples=["edges:fox.png,weight=0.8"],
    )
    image_prompts: Annotated[
        tuple[InstanceOf[ImagePrompt], ...],
        PICTURES,
        QUIET,
        Domain(lambda: f"image prompts, each {image_prompt.WRITTEN}"),
    ] = Field(
        default=(),
        description="Pictures to resemble, each through an IP-Adapter.",
        examples=["fox.png:0.6"],
    )
    faces: Annotated[
        tuple[InstanceOf[KeptFace], ...], PICTURES, QUIET, Domain(lambda: f"faces, each {kept_face.WRITTEN}")
    ] = Field(
        default=(),
        description="Pictures of faces that the picture is to have, each through an adapter of InstantID's.",
        examples=["portrait.png,weight=0.8"],
    )
    references: Annotated[
        tuple[InstanceOf[Reference], ...], PICTURES, QUIET, Domain(lambda: f"references, each {reference.WRITTEN}")
    ] = Field(
        default=(),
        description="Pictures that the model looks at while it paints, and may take shapes and colours of.",
        examples=["fox.png,fidelity=0.5"],
    )
    regions: Annotated[
        tuple[InstanceOf[Region], ...], PICTURES, QUIET, Domain(lambda: f"regions, each {region.WRITTEN}")
    ] = Field(
        default=(),
        description="Parts of the picture with words of their own: rectangles, by name or by their four sides, or "
        "drawn masks.",
        examples=["left: a red fox"],
    )
    finish: Annotated[
        tuple[SerializeAsAny[InstanceOf[Record]], ...], Domain(lambda: f"a chain of {', '.join((*FINISHES, *SHORT))}")
    ] = Field(
        default=(),
        description="What is done to the painted picture, in this order: enlarge, faces, tone and others, with their "
        "parameters; none leaves it as it is.",
        examples=["enlarge:scale=2,tone"],
    )
    strict: bool = Field(
        default=False, description="Refuse a LoRA that is not there or not wholly for this model, instead of warning."
    )
    precision: Precision | None = Field(
        default=None,
        description="What is computed in; chosen for the machine when not given.",
        examples=["fp32", "bf16"],
    )
    engine: EngineName | None = Field(
        default=None,
        description="In which way it is computed; the fastest of the machine when not given.",
        examples=["packed", "torch"],
    )
    quantise: Annotated[QuantiserName, QUIET] = Field(
        default="none",
        description="In how few bits the weights are kept: int8 is faster and smaller, int4 smaller still; each moves "
        "the picture.",
        examples=["int8", "int4"],
    )

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[Options]) -> None: ...

    else:

        def __init__(self, /, **data: Any):
            nested = flat.nested(spellings.plain(data))
            try:
                super().__init__(**{name: _other(name, value) for name, value in nested.items()})
            except ValidationError as error:
                errors = error.errors(include_url=False)
                raise translate(
                    errors, fields(), "option", lambda loc: flat.name_of(*map(str, (*loc, "")[:2]))
                ) from None

    @field_validator("finish", mode="before")
    @classmethod
    def _chain(cls, value: object) -> object:
        return chain(value)

    @field_validator("controls", mode="before")
    @classmethod
    def _controls(cls, value: object) -> object:
        return control.controls(value)

    @field_validator("image_prompts", mode="before")
    @classmethod
    def _image_prompts(cls, value: object) -> object:
        return image_prompt.image_prompts(value)

    @field_validator("faces", mode="before")
    @classmethod
    def _faces(cls, value: object) -> object:
        return kept_face.faces(value)

    @field_validator("references", mode="before")
    @classmethod
    def _references(cls, value: object) -> object:
        return reference.references(value)

    @field_validator("regions", mode="before")
    @classmethod
    def _regions(cls, value: object) -> object:
        return region.regions(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self.stated() == other.stated()

    def __hash__(self) -> int:
        return hash(self.json_text())

    def __repr__(self) -> str:
        """What is not usual of it: `data` is all that is stated."""
        usual = {name: info.default for name, info in fields().items()}
        said = [f"{name}={shorten(value)}" for name, value in self.stated().items() if value != usual[name]]
        more = ["…"] if len(said) > SHOWN else []
        return f"{type(self).__name__}({', '.join((*said[:SHOWN], *more))})"

    __str__ = __repr__

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The prompt and the negative prompt, then those of each region."""
        own = ((one.prompt, self.negative if one.negative is None else one.negative) for one in self.regions)
        return (self.prompt, self.negative), *own

    @property
    def computed(self) -> Mapping[str, str | None]:
        """In which way it is computed: what tells the forms of one loaded model apart."""
        return {name: getattr(self, name) for name in (*PLAIN, "quantise")}

    def group(self, name: str) -> Any:
        """The group of that name; one that is not stated has its defaults."""
        return getattr(self, name, None) or flat.GROUPS[name]()

    def stated(self) -> dict[str, Any]:
        """The fields that are stated, by their flat names."""
        return flat.stated(self)

    def but(self, **changes: Any) -> Self:
        """The same request with some fields, by their flat names, changed, checked again; None takes one back."""
        return type(self)(**{**self.stated(), **changes})

    def data(self) -> dict[str, Any]:
        """The fields that are stated, in their groups, as what JSON holds."""
        return flat.picked(self.model_dump(mode="json"), flat.nested(self.stated()))

    def json_text(self) -> str:
        """`data` as JSON; `parse` gives the same request back."""
        return json.dumps(self.data(), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """A request from its JSON.

        Raises:
            InvalidInput: not JSON, not an object, or a field outside its domain.
        """
        try:
            data = json_of(text)
        except ValueError as error:
            raise InvalidInput(
                f'a request is a JSON object such as {{"prompt": "a fox"}}; this is not JSON: {error}'
            ) from None
        if not isinstance(data, dict):
            raise InvalidInput(f'a request is a JSON object such as {{"prompt": "a fox"}}; given was {text[:80]!r}')
        return cls(**cast("dict[str, Any]", data))

    def resolve(
        self, defaults: Mapping[str, Any] = {}, used: Collection[str] | None = None, computed: Mapping[str, str] = PLAIN
    ) -> Resolved:
        """Every field that is used stated, the seed drawn: nothing left to choose.

        Args:
            defaults: the model's own values of some fields.
            used: the fields to fill; all where not given.
            computed: the precision and the engine where the request does not say.
        """
        own = {**DEFAULTS, "seed": secrets.randbelow(2**32), **defaults}
        filled = {name: value for name, value in own.items() if used is None or name in used}
        every: dict[str, Any] = {**filled, **computed, **self.stated()}
        return Resolved(**every)


#: Our own fields by their flat names.
FIELDS: Mapping[str, FieldInfo] = flat.own_fields(Request)


def fields() -> Mapping[str, FieldInfo]:
    """Every field by its flat name, ours and those of other packages."""
    return {**FIELDS, **flat.other_fields()}


def sources() -> set[str]:
    """The fields that name given pictures."""
    return {name for name, info in fields().items() if {PICTURE, PICTURES}.intersection(map(str, info.metadata))}


def pictures(request: Request) -> dict[str, str]:
    """The given pictures by the fields that name them; by ``image_prompts 0 mask`` that of a field of a record among
    several, its ``image`` by ``image_prompts 0``."""
    every = sources()
    stated = {name: value for name, value in request.stated().items() if name in every and value}
    found: dict[str, str] = {}
    for name, value in stated.items():
        if isinstance(value, str):
            found[name] = value
            continue
        for i, one in enumerate(cast("tuple[BaseModel, ...]", value)):
            named = {
                field: getattr(one, field) for field, info in type(one).model_fields.items() if PICTURE in info.metadata
            }
            found |= {f"{name} {i} {field}".removesuffix(" image"): given for field, given in named.items() if given}
    return found


def moved(request: Request, places: Mapping[str, str]) -> Request:
    """The same request with given pictures, named as `pictures` does, elsewhere."""
    changes: dict[str, Any] = {}
    for name, place in places.items():
        field, *inner = name.split(" ")
        if not inner:
            changes[field] = place
        else:
            several = list(changes.get(field, getattr(request, field)))
            number, within = int(inner[0]), inner[1] if inner[1:] else "image"
            several[number] = several[number].model_copy(update={within: place})
            changes[field] = tuple(several)
    return request.but(**changes)


def _other(name: str, value: Any) -> Any:
    """What is given for a field; for the group of another package, the group.

    Raises:
        UnknownName: it is no field. InvalidInput: a field of that group is outside its domain.
    """
    if name in Request.model_fields:
        return value
    if name not in flat.GROUPS:
        raise UnknownName("option", name, fields())
    try:
        return flat.GROUPS[name].model_validate(value)
    except ValidationError as error:
        raise translate(
            error.errors(include_url=False), fields(), "option", lambda loc: flat.name_of(name, *map(str, loc[:1]))
        ) from None


#: What our own fields are when neither the request nor the model says; one that is nothing then need not be stated, nor
#: a quiet one.
DEFAULTS: Mapping[str, Any] = {
    name: info.default for name, info in FIELDS.items() if info.default not in (None, "") and QUIET not in info.metadata
}


class Resolved(Request, frozen=True):
    """A request of which every field that is used is stated: what a recipe paints and a file records."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    precision: Precision = Field()
    engine: EngineName = Field()


def shorten(value: object) -> str:
    """A value as Python shows it, its middle left out where it is long."""
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[: QUOTED // 2]}…{text[1 - QUOTED // 2 :]}"


def spread(count: int) -> list[float]:
    """So many numbers from 0 to 1 at equal distances; a single one is 0.5.

    Raises:
        InvalidInput: fewer than one.
    """
    if count < 1:
        raise InvalidInput(f"count: {count} was given; possible is a whole number from 1")
    return [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
