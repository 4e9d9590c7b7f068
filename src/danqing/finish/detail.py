"""The record of `detail`, which paints: so `danqing.painting.details` makes the finish."""

from __future__ import annotations

from typing import Literal, NoReturn

from pydantic import Field

from ..errors import InvalidInput
from .records import Load, Record, Share

#: What a detector's file ends with, and what stands between it and one of its classes.
FILE, CLASS = ".onnx", "#"


class Detail(Record):
    """What is found in the picture, such as faces, is painted anew, each by itself at the model's own size."""

    name: Literal["detail"] = "detail"
    what: str = Field(
        default="face",
        min_length=1,
        max_length=1000,
        description="What is looked for: face, a detector's FILE.onnx or FILE.onnx#CLASS, or a word.",
        examples=["face", "hand_yolov8n.onnx", "hat"],
    )
    strength: Share = Field(default=0.4, description="How far it is painted anew: 0 not at all, 1 wholly.")
    prompt: str = Field(default="", max_length=10_000, description="What is painted there; the picture's own prompt.")
    model: str = Field(default="", description="What paints it; what painted the picture, or else the default model.")
    count: int = Field(default=16, ge=1, le=64, description="How many are painted at most.")
    order: Literal["largest", "left"] = Field(
        default="largest", description="Which first: the largest, or from the left."
    )
    least: float = Field(
        default=0.0,
        ge=0,
        le=8192,
        description="The smaller side at least, in pixels; below 1 a share of the picture's.",
    )
    padding: int = Field(default=32, ge=0, le=1024, description="Pixels around it that are seen with it.")
    grow: int = Field(default=0, ge=0, le=256, description="Pixels that it grows by before it is painted.")

    @property
    def networks(self) -> tuple[str, ...]:
        file = self.what.partition(CLASS)[0]
        return (file,) if file.lower().endswith(FILE) else ()

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.networks, self.model)

    def make(self, load: Load | None = None, device: str | None = None) -> NoReturn:
        raise InvalidInput("detail paints: do it with `danqing.paint(finish=...)` or `danqing.touch_up`")
