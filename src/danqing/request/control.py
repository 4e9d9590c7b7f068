"""What steers a picture beside its words: `Control`, a given picture, what it shows, and the network that reads it.

A record is text, ``edges@my-net:fox.png,weight=0.8,to=0.5``, or JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InvalidInput, UnknownName
from ..inputs.fields import translate
from .groups import Share, Source
from .written import TIMES, several

#: How a hint of another ratio than the picture's is fitted to it.
Fit = Literal["fit", "fill", "stretch"]
#: Which of the words and the hint counts more, as A1111 has it; and to guess without words.
Balance = Literal["balanced", "prompt", "control", "guess"]
#: What a hint shows -> the words by which files of networks name it, and which stand for it in a request too.
KINDS: Mapping[str, tuple[str, ...]] = {
    "edges": ("canny", "edge"),
    "soft-edge": ("softedge", "hed", "pidi", "pidinet"),
    "line-art": ("lineart", "line"),
    "scribble": ("scribble", "sketch"),
    "straight": ("mlsd",),
    "depth": ("depth", "zoe", "midas"),
    "normal": ("normal", "normalbae", "bae", "normals"),
    "pose": ("openpose", "pose"),
    "segmentation": ("seg",),
    "inpaint": ("inpaint",),
    "tile": ("tile",),
    "blur": ("blur",),
    "grey": ("gray", "recolor"),
    "shuffle": ("shuffle",),
}
OTHERS = {word: kind for kind, words in KINDS.items() for word in words}
WRITTEN = "KIND[@FILE]:PICTURE[,weight=,from=,to=,ready]"
#: A kind has two letters at least: one alone is a disk.
KIND = re.compile(r"[^\W\d][\w-]+")
MISSPELLED = re.compile(r" *[a-z_]{2,16} *")
PARAMETER = re.compile(r"[^\W\d]\w*=[^:@,=\\/]*")


class Control(BaseModel):
    """A picture that steers another. Frozen.

    Raises:
        InvalidInput: a field outside its domain; UnknownName for one that is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str = Field(
        min_length=2,
        max_length=1_000,
        description="What the hint shows: edges, depth, pose and others, with the parameters that it is made with.",
        examples=["edges", "edges:low=50"],
    )
    image: Source = Field(min_length=1, description="The picture that steers.", examples=["fox.png"])
    file: str = Field(default="", description="The network's name or file; the one of that kind that fits the model.")
    weight: float = Field(default=1.0, ge=0, le=10, description="How strongly it steers: 0 not at all, 1 as trained.")
    start: Share = Field(default=0.0, description="The part of the steps after which it begins to steer.")
    end: Share = Field(default=1.0, description="The part of the steps after which it no longer steers.")
    ready: bool = Field(default=False, description="The picture is the hint already.")
    fit: Fit = Field(default="fit", description="How a hint of another ratio is fitted to the picture.")
    balance: Balance = Field(default="balanced", description="Which counts more, the prompt or the control.")

    if not TYPE_CHECKING:

        def __init__(self, /, **data: Any):
            try:
                super().__init__(**data)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                raise _named(errors, type(self)) from None

    def model_post_init(self, context: Any, /) -> None:
        if self.start > self.end:
            given = f"control {self.name}: from {self.start:g} to {self.end:g} was given"
            raise InvalidInput(f"{given}; possible are two parts of the steps, the first no later: from=0.2,to=0.8")

    @field_validator("kind")
    @classmethod
    def _kind(cls, kind: str) -> str:
        name, colon, parameters = kind.partition(":")
        if not KIND.fullmatch(name):
            raise InvalidInput(
                f"control: the kind {name[:60]!r} was given; possible are {', '.join(KINDS)}, and others"
            )
        return OTHERS.get(name.lower(), name.lower()) + colon + parameters

    @property
    def name(self) -> str:
        """The kind without parameters."""
        return self.kind.partition(":")[0]


def _named(errors: Any, kind: type[BaseModel]) -> InvalidInput:
    missing = [str(found["loc"][0]) for found in errors if found["type"] == "missing"]
    if missing:
        return InvalidInput(f"control: its {' and its '.join(missing)} was not given; it is written {WRITTEN}")
    return translate(errors, kind.model_fields, "parameter of a control", where="control: ")


def controls(given: object) -> object:
    """Controls as people write them, one a text, or as records of JSON.

    Raises:
        UnknownName, InvalidInput: as `Control`.
    """
    return several(given, Control, _written)


def _written(text: str) -> dict[str, Any]:
    """``KIND[:PARAMETER=VALUE…][@FILE]:PICTURE[,NAME=VALUE…][,ready]`` as the fields of a control."""
    found: dict[str, Any] = {}
    while True:  # from the end, for a picture's name may have commas
        rest, comma, last = text.rpartition(",")
        name, equals, value = last.partition("=")
        field = TIMES.get(name.strip(), name.strip())
        if not comma or (field not in Control.model_fields) or (not equals and field != "ready"):
            if comma and value.strip("=") and ":" in rest and MISSPELLED.fullmatch(name):
                raise UnknownName("parameter of a control", name.strip(), (*Control.model_fields, *TIMES))
            break
        if field in found:
            raise InvalidInput(f"control: {name.strip()} was given twice: give it once")
        found[field] = value.strip() if equals else True
        text = rest
    kind = KIND.match(text)
    where = kind.end() if kind else 0
    while kind and text[where : where + 1] == ":" and (more := PARAMETER.match(text, where + 1)):
        if text[more.end() : more.end() + 1] not in (":", "@"):
            break
        where = more.end()
    named, left, file = text[:where], text[where:], ""
    if left.startswith("@"):
        at = 3 if re.match(r"@[A-Za-z]:[\\/]", left) else 1  # after the colon of a disk
        cut = left.find(":", at)
        file, left = (left[1:cut], left[cut:]) if cut > 0 else (left[1:], "")
    if not kind or not left.startswith(":") or not left[1:].strip():
        raise InvalidInput(
            f"control: {text[:100]!r} was given; it is written {WRITTEN}, for example edges:fox.png,weight=0.8 "
            "or depth@my-net.safetensors:scene.png,to=0.5"
        )
    return {"kind": named, "image": left[1:].strip(), **({"file": file.strip()} if file else {}), **found}
