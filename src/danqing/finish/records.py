"""What is done to a finished picture: `FINISHES`, each a record of checked parameters that makes a finish, picture ->
picture.

A record is JSON: ``{"name": "clahe", "clip": 3.0}``. The same record on the same picture gives the same picture, so a
request that holds records can be replayed. Records need neither torch nor numpy until `make` is called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import Domain
from ..inputs.named import named
from ..inputs.records import Named, does, domains, name_of, parameters
from ..tables import Table

if TYPE_CHECKING:
    from torch import nn

    from .pixels import Raster

#: From the name or the path of a model's file to its network.
Load = Callable[[str], "nn.Module"]
Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[
    tuple[tuple[Share, Share], ...], Field(max_length=64), Domain(lambda: "up to 64 points (x, y) from 0 to 1")
]


class Finish(Protocol):
    """A picture, of Pillow or as an array of levels, to a picture of the same kind."""

    def __call__(self, picture: Raster, /) -> Raster: ...


class Record(Named, ABC):
    """The parameters of a finish, its name among them. Frozen.

    Raises:
        InvalidInput: a parameter outside its domain; UnknownName for one that is not there.
    """

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that it runs."""
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """What of it may be the path of something that is read."""
        return self.networks

    @abstractmethod
    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        """The finish; ``load`` is asked for the networks that it runs, which compute on the device.

        Raises:
            InvalidInput: parameters that contradict each other, or a network is needed and ``load`` is None.
        """


class Learned(Record):
    """What runs a network."""

    model: str
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(
        default=None, description="What is computed in; the machine's own."
    )

    @property
    def networks(self) -> tuple[str, ...]:
        return (self.model,)

    def network(self, load: Load | None) -> nn.Module:
        if load is None:
            raise InvalidInput(
                f"{name_of(type(self))} runs a network: make it with a function that loads one by its name"
            )
        return load(self.model)


class Enlarge(Learned):
    """A network enlarges; Lanczos does the rest of the ratio."""

    name: Literal["enlarge"] = "enlarge"
    model: str = Field(
        default="danqing-x4", min_length=1, description="An enlarger's name or file.", examples=["realesrgan-x4plus"]
    )
    scale: float | None = Field(
        default=None, ge=1, le=16, description="How many times larger each side becomes; the network's own."
    )
    tile: int = Field(default=384, ge=64, le=8192, description="Pixels along the side of what is computed at once.")

    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        net = self.network(load)
        from .enlarge import Enlarger

        return Enlarger(net, self.scale, device=device, precision=self.precision, tile=self.tile)


class Faces(Learned):
    """Faces are found, turned upright, restored, and put back without a border."""

    name: Literal["faces"] = "faces"
    model: str = Field(
        default="danqing-faces",
        min_length=1,
        description="A face restorer: ours, of drawn portraits, or a file of GFPGAN 1.2 to 1.4.",
        examples=["GFPGANv1.4.pth"],
    )
    find: Literal["portrait", "photographed"] = Field(
        default="portrait", description="Which faces; a portrait is one as a whole."
    )
    strength: Share = Field(default=1.0, description="0 changes nothing, 1 all.")

    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        net = self.network(load)
        from .detect import MTCNN, Portrait, packaged
        from .faces import Faces, Network

        detector = Portrait() if self.find == "portrait" else MTCNN(packaged())
        return Faces(Network(net, device=device, precision=self.precision), detector, strength=self.strength)


class Tone(Record):
    """The function of `danqing.finish.tone` that has the record's name."""

    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        from . import tone

        settings = {field: getattr(self, field) for field in parameters(type(self))}
        return partial(getattr(tone, name_of(type(self)).replace("-", "_")), **settings)


class Clahe(Tone):
    """Contrast of the lightness, within parts of the picture (Lab; Zuiderveld 1994)."""

    name: Literal["clahe"] = "clahe"
    clip: float = Field(default=2.0, ge=1, le=100, description="How steep contrast may become; 1 changes nothing.")
    tiles: int = Field(default=8, ge=1, le=64, description="Tiles along each side.")


class WhiteBalance(Tone):
    """What should be grey becomes grey."""

    name: Literal["white-balance"] = "white-balance"
    method: Literal["grey-world", "white-patch"] = Field(default="grey-world", description="What is taken for grey.")
    percentile: float = Field(
        default=99.0, ge=50, le=100, description="Of each channel, taken for white by white-patch."
    )
    strength: Share = Field(default=1.0, description="0 changes nothing, 1 all.")


class Levels(Tone):
    """The darkest, the lightest, and the middle."""

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
    """A smooth curve through points."""

    name: Literal["curves"] = "curves"
    points: Points = Field(
        default=(), description="Of all channels, after each one's own.", examples=[((0, 0), (0.5, 0.6), (1, 1))]
    )
    red: Points = Field(default=(), description="Of red.")
    green: Points = Field(default=(), description="Of green.")
    blue: Points = Field(default=(), description="Of blue.")

    def model_post_init(self, context: Any, /) -> None:
        for points in (self.points, self.red, self.green, self.blue):
            if points and (len(points) < 2 or len({x for x, _ in points}) < len(points)):
                raise InvalidInput(
                    f"curves: {list(points)} was given; possible are two or more points (x, y) of different x"
                )


class Adjust(Tone):
    """In stops of light, and in colourfulness."""

    name: Literal["adjust"] = "adjust"
    exposure: float = Field(default=0.0, ge=-10, le=10, description="In stops.")
    gamma: float = Field(default=1.0, ge=0.1, le=10, description="Above 1 lightens the middle.")
    saturation: float = Field(default=1.0, ge=0, le=10, description="0 grey, 1 as it is.")


class CutOut(Record):
    """What is joined to the border and of the background's colour becomes transparent, with clean rims."""

    name: Literal["cut-out"] = "cut-out"
    tolerance: Share = Field(default=0.06, description="How far a colour may be from the background's to belong to it.")

    def make(self, load: Load | None = None, device: str | None = None) -> Finish:
        from .cut import CutOut

        return CutOut(tolerance=self.tolerance)


#: Every finish by its name.
FINISHES: Table[type[Record]] = Table(
    "finish",
    {
        **{name_of(kind): kind for kind in (Enlarge, Faces)},
        "detail": "finish.detail:Detail",
        **{name_of(kind): kind for kind in (CutOut, Clahe, WhiteBalance, Levels, Curves, Adjust)},
    },
    kind="finish.records:Record",
    columns={
        "parameters": domains,
        "what it does": does,
    },
)

#: Short names of finishes.
SHORT: Mapping[str, str] = {"tone": "clahe"}


def finishing(name: str, /, **parameters: Any) -> Record:
    """The record of a finish by its name.

    Raises:
        UnknownName: no such finish or parameter. InvalidInput: a value outside its domain.
    """
    name = SHORT.get(name, name)
    if name not in FINISHES:
        raise UnknownName("finish", name, (*FINISHES, *SHORT))
    return FINISHES[name](**parameters)


def chain(given: object) -> object:
    """A chain of finishes as people write it, "enlarge:scale=2,tone", as a list of names or as records of JSON; "" and
    "none" are none.

    Raises:
        UnknownName, InvalidInput: as `finishing`.
    """
    if isinstance(given, str):
        given = [part for part in given.split(",") if part.strip() not in ("", "none")]
    return tuple(map(_read, given)) if isinstance(given, list | tuple) else given


def _read(given: object) -> object:
    """A record of its text ``name:parameter=value:...`` or of its JSON."""
    if isinstance(given, str):
        name, settings = named("finish", given, "enlarge:scale=2")
        given = {"name": name, **settings}
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        return finishing(given["name"], **{str(key): value for key, value in given.items() if key != "name"})
    return given
