"""What is done to a finished picture: `FINISHES`, each a record of checked parameters that makes a finish, picture -> picture.

A record is JSON: ``{"name": "clahe", "clip": 3.0}``. The same record on the same picture gives the same picture, so a request that
holds records can be replayed. Records need neither torch nor numpy until `make` is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from torch import nn

    from .pixels import Raster

__all__ = [
    "FINISHES", "Adjust", "Clahe", "Curves", "Enlarge", "Faces", "Finish", "Finishing", "Levels", "Load", "WhiteBalance", "finishing",
]  # fmt: skip

#: From the name or the path of a model's file to its network.
Load = Callable[[str], "nn.Module"]
Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[tuple[tuple[Share, Share], ...], Field(max_length=64)]


class Finish(Protocol):
    """A picture, of Pillow or as an array of levels, to a picture of the same kind."""

    def __call__(self, picture: Raster, /) -> Raster: ...


def _name(kind: type[BaseModel]) -> str:
    return kind.model_fields["name"].default


class Record(BaseModel, ABC):
    """The parameters of a finish, its name among them. Frozen.

    Raises:
        InvalidInput: a parameter outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # checkers keep the generated signature

        def __init__(self, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise _translated(type(self), error) from None

    @abstractmethod
    def make(self, load: Load | None = None) -> Finish:
        """The finish; ``load`` is asked for the networks that it runs.

        Raises:
            InvalidInput: parameters that contradict each other, or a network is needed and ``load`` is None.
        """


class Enlarge(Record):
    """`danqing.finish.enlarge.Enlarger`."""

    name: Literal["enlarge"] = "enlarge"
    model: str = Field(min_length=1, description="An upscaler's name or file, see `upscalers`.", examples=["realesrgan-x4plus"])
    scale: float | None = Field(default=None, ge=1, le=16, description="How many times larger each side becomes; the network's own.")
    tile: int = Field(default=384, ge=64, le=8192, description="Pixels along the side of what is computed at once.")
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(default=None, description="What is computed in; the machine's own.")

    def make(self, load: Load | None = None) -> Finish:
        if load is None:
            raise InvalidInput("enlarge runs a network: make it with a function that loads one by its name")
        from .enlarge import Enlarger

        return Enlarger(load(self.model), self.scale, tile=self.tile, precision=self.precision)


class Faces(Record):
    """`danqing.finish.faces.Faces`."""

    name: Literal["faces"] = "faces"
    model: str = Field(min_length=1, description="A face restorer's file: GFPGAN 1.2 to 1.4, or ours.", examples=["GFPGANv1.4.pth"])
    find: Literal["photographed", "portrait"] = Field(default="photographed", description="Which faces; a portrait is one as a whole.")
    strength: Share = Field(default=1.0, description="0 changes nothing, 1 all.")
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(default=None, description="What is computed in; the machine's own.")

    def make(self, load: Load | None = None) -> Finish:
        if load is None:
            raise InvalidInput("faces runs a network: make it with a function that loads one by its name")
        from .detect import MTCNN, Portrait, packaged
        from .faces import Faces, Network

        detector = Portrait() if self.find == "portrait" else MTCNN(packaged())
        return Faces(Network(load(self.model), precision=self.precision), detector, strength=self.strength)


class Tone(Record):
    """The function of `danqing.finish.tone` that has the record's name."""

    def make(self, load: Load | None = None) -> Finish:
        from . import tone

        settings = {field: getattr(self, field) for field in type(self).model_fields if field != "name"}
        return partial(getattr(tone, _name(type(self)).replace("-", "_")), **settings)


class Clahe(Tone):
    """`danqing.finish.tone.clahe`."""

    name: Literal["clahe"] = "clahe"
    clip: float = Field(default=2.0, ge=1, le=100, description="How steep contrast may become; 1 changes nothing.")
    tiles: int = Field(default=8, ge=1, le=64, description="Tiles along each side.")


class WhiteBalance(Tone):
    """`danqing.finish.tone.white_balance`."""

    name: Literal["white-balance"] = "white-balance"
    method: Literal["grey-world", "white-patch"] = Field(default="grey-world", description="What is taken for grey.")
    percentile: float = Field(default=99.0, ge=50, le=100, description="Of each channel, taken for white by white-patch.")
    strength: Share = Field(default=1.0, description="0 changes nothing, 1 all.")


class Levels(Tone):
    """`danqing.finish.tone.levels`."""

    name: Literal["levels"] = "levels"
    black: Share = Field(default=0.0, description="What becomes the darkest.")
    white: Share = Field(default=1.0, description="What becomes the lightest.")
    gamma: float = Field(default=1.0, ge=0.1, le=10, description="Above 1 lightens the middle.")
    low: Share = Field(default=0.0, description="What the darkest becomes.")
    high: Share = Field(default=1.0, description="What the lightest becomes.")

    def model_post_init(self, context: Any, /) -> None:
        if not self.black < self.white:
            raise InvalidInput(f"levels: black {self.black:g} must be below white {self.white:g}")


class Curves(Tone):
    """`danqing.finish.tone.curves`."""

    name: Literal["curves"] = "curves"
    points: Points = Field(default=(), description="Of all channels, after each one's own.", examples=[((0, 0), (0.5, 0.6), (1, 1))])
    red: Points = Field(default=(), description="Of red.")
    green: Points = Field(default=(), description="Of green.")
    blue: Points = Field(default=(), description="Of blue.")

    def model_post_init(self, context: Any, /) -> None:
        for points in (self.points, self.red, self.green, self.blue):
            if points and (len(points) < 2 or len({x for x, _ in points}) < len(points)):
                raise InvalidInput(f"curves: {list(points)} was given; possible are two or more points (x, y) of different x")


class Adjust(Tone):
    """`danqing.finish.tone.adjust`."""

    name: Literal["adjust"] = "adjust"
    exposure: float = Field(default=0.0, ge=-10, le=10, description="In stops.")
    gamma: float = Field(default=1.0, ge=0.1, le=10, description="Above 1 lightens the middle.")
    saturation: float = Field(default=1.0, ge=0, le=10, description="0 grey, 1 as it is.")


#: Any of the records, told by its name: the type of a field of a request.
Finishing = Annotated[Enlarge | Faces | Clahe | WhiteBalance | Levels | Curves | Adjust, Field(discriminator="name")]
#: Every finish by its name.
FINISHES: Mapping[str, type[Record]] = {_name(kind): kind for kind in (Enlarge, Faces, Clahe, WhiteBalance, Levels, Curves, Adjust)}


def finishing(name: str, /, **parameters: Any) -> Record:
    """The record of a finish by its name.

    Raises:
        UnknownName: no such finish or parameter. InvalidInput: a value outside its domain.
    """
    if name not in FINISHES:
        raise UnknownName("finish", name, FINISHES)
    return FINISHES[name](**parameters)


def _translated(kind: type[Record], error: ValidationError) -> InvalidInput:
    """Pydantic's findings as one of ours."""
    name, lines = _name(kind), []
    for found in error.errors(include_url=False):
        where = ".".join(map(str, found["loc"]))
        if found["type"] == "extra_forbidden":
            return UnknownName(f"parameter of {name}", where, [f for f in kind.model_fields if f != "name"])
        if isinstance(cause := found.get("ctx", {}).get("error"), InvalidInput):
            lines.append(str(cause))
            continue
        given = "nothing" if found["type"] == "missing" else repr(found["input"])[:80]
        lines.append(f"{name}: {where}: {given} was given; {found['msg'][0].lower()}{found['msg'][1:]}")
    return InvalidInput("\n".join(lines))
