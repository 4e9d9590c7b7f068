"""The kinds of hints: what each draws, and its parameters."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..errors import InvalidInput
from ..inputs.records import name_of, parameters
from .base import Draw, Hint, Load

Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=1, le=4096)]


class Opaque(Hint):
    """What a function draws that has the record's name: RGB levels (H, W, 3) -> (H, W) or (H, W, 3). What is
    transparent lies on white."""

    #: The file of the function.
    where: ClassVar[str]

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .drawn import opaque

        settings = {field: getattr(self, field) for field in parameters(type(self))}
        function = getattr(import_module(f"danqing.hint.{self.where}"), name_of(type(self)).replace("-", "_"))
        return opaque(partial(function, **settings))


class Lines(Opaque):
    """White on black."""

    where, ground = "lines", "black"


class Areas(Opaque):
    """Colours and levels."""

    where = "areas"


# ---- lines ---------------------------------------------------------------------------------------------------------


class Edges(Lines):
    """Where brightness or colour changes: Canny's edges, one pixel wide."""

    made = "lines"
    name: Literal["edges"] = "edges"
    low: float = Field(default=100, ge=0, le=2000, description="Edges weaker than this are none.")
    high: float = Field(default=200, ge=0, le=2000, description="Edges are begun where they are stronger than this.")
    blur: float = Field(default=0, ge=0, le=64, description="Pixels by which the picture is blurred before.")

    def model_post_init(self, context: Any, /) -> None:
        if not self.low <= self.high:
            raise InvalidInput(f"edges: low {self.low:g} must not be above high {self.high:g}")


class SoftEdge(Lines):
    """How strong edges are, at three scales at once: gradients, no network, in the place of HED and PiDiNet."""

    name: Literal["soft-edge"] = "soft-edge"
    width: float = Field(default=1.0, ge=0.01, le=32, description="Pixels of the finest of three scales.")
    contrast: float = Field(default=1.0, ge=0.01, le=100, description="Above 1 weak edges show more.")


class LineArt(Lines):
    """Dark lines and dark sides of edges as one-pixel lines: differences of Gaussians, thinned."""

    made = "lines"
    name: Literal["line-art"] = "line-art"
    width: float = Field(default=1.0, ge=0.01, le=32, description="Pixels of the finest line that is looked for.")
    threshold: Share = Field(default=0.04, description="How much darker than beside it a line is, of 1.")


class Scribble(Lines):
    """The main lines alone, thick, as drawn by hand with a felt pen."""

    name: Literal["scribble"] = "scribble"
    width: float = Field(default=1.5, ge=0.01, le=20, description="How thick, in hundredths of the shorter side.")
    threshold: Share = Field(default=0.04, description="How much darker than beside it a line is, of 1.")


class Straight(Lines):
    """Straight lines of buildings and rooms: segments found by LSD (von Gioi et al. 2010), one pixel wide."""

    made = "lines"
    name: Literal["straight"] = "straight"
    length: Share = Field(default=0.05, description="Of the longer side, that a line has at least.")


class DrawnLines(Hint):
    """Lines that are drawn already: dark ones on light are turned into white on black."""

    finished = True
    made, ground = "lines", "black"
    name: Literal["drawn-lines"] = "drawn-lines"

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .drawn import turned

        return turned


# ---- colours and areas ---------------------------------------------------------------------------------------------


class Tile(Areas):
    """The picture without its detail: smaller, and as large again."""

    name: Literal["tile"] = "tile"
    factor: float = Field(default=8, ge=1, le=64, description="How many times smaller.")


class Blur(Areas):
    """The picture out of focus."""

    name: Literal["blur"] = "blur"
    radius: float = Field(default=9, ge=0, le=512, description="The Gaussian's standard deviation, in pixels.")


class ColourGrid(Areas):
    """Blocks of the mean colour."""

    made = "areas"
    name: Literal["colour-grid"] = "colour-grid"
    block: Pixels = Field(default=64, description="Pixels along a block's side.")


class Palette(Areas):
    """The main colours alone: as the picture in them, or as bands as wide as each is common."""

    made = "areas"
    name: Literal["palette"] = "palette"
    colours: int = Field(default=8, ge=1, le=256, description="How many.")
    form: Literal["picture", "bands"] = Field(default="picture", description="How they are shown.")


class Grey(Areas):
    """The picture without its colours, to be coloured anew."""

    name: Literal["grey"] = "grey"
    of: Literal["luminance", "intensity"] = Field(
        default="luminance", description="The light that is seen, or the brightest of red, green and blue."
    )
    gamma: float = Field(default=1.0, ge=0.1, le=10, description="Above 1 lightens the middle.")


class Threshold(Areas):
    """Black and white: what is brighter than a level, and the rest."""

    made = "areas"
    name: Literal["threshold"] = "threshold"
    level: Share = Field(default=0.5, description="Of the luminance.")


class Shuffle(Areas):
    """The picture's colours and textures, pulled out of their places."""

    name: Literal["shuffle"] = "shuffle"
    seed: int = Field(default=0, ge=0, lt=2**32, description="Another one, another disorder.")


class Segmentation(Hint):
    """What is what: a transparent picture's body, white on black; an opaque picture is taken for a map of colours."""

    finished = True
    made, ground = "areas", "black"
    name: Literal["segmentation"] = "segmentation"

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .drawn import segmented

        return segmented


class Inpaint(Hint):
    """The picture, transparent and black where it is to be painted: where it is more than half transparent."""

    made = "areas"
    name: Literal["inpaint"] = "inpaint"

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .drawn import open_places

        return open_places


class Given(Hint):
    """The picture is the hint already."""

    finished = True
    name: Literal["given"] = "given"

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .drawn import opaque

        return opaque(lambda levels: levels)


# ---- what networks see ---------------------------------------------------------------------------------------------


class Near(Hint):
    """What is drawn from how near each pixel is."""

    model: str = Field(
        default="danqing-depth",
        min_length=1,
        description="Ours, of solids before plain grounds; a file of Depth Anything; or given, of a picture of depth.",
        examples=["depth_anything_v2_vits.safetensors"],
    )

    @property
    def networks(self) -> tuple[str, ...]:
        return () if self.model == "given" else (self.model,)

    def nearness(self, load: Load | None, device: str | None) -> Any:
        from .depth import Nearness, shown

        if not self.networks:
            return shown
        if load is None:
            raise InvalidInput(
                f"{name_of(type(self))} runs a network: make it with a function that loads one by its name"
            )
        return Nearness(load(self.model), device)


class Depth(Near):
    """How near each pixel is: the nearest white, the farthest black."""

    ground = "black"
    name: Literal["depth"] = "depth"

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .depth import levels

        return partial(levels, self.nearness(load, device))


class Normal(Near):
    """Which way each surface faces: blue to the front, red to the left, green upwards."""

    ground = "#8080ff"
    name: Literal["normal"] = "normal"
    relief: float = Field(default=0.25, ge=0.01, le=10, description="How deep the picture is, of its shorter side.")

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .depth import normals

        return partial(normals, self.nearness(load, device), relief=self.relief)


class Pose(Hint):
    """A person's limbs and hands, in the colours of OpenPose: found by MediaPipe, or given as points."""

    ground = "black"
    name: Literal["pose"] = "pose"
    points: str = Field(
        default="", description="A file of OpenPose's JSON; nothing is looked for then.", examples=["pose.json"]
    )
    model: str = Field(
        default="",
        description="A file of MediaPipe (.task), where its package brings no networks.",
        examples=["pose_landmarker.task"],
    )
    hands: bool = Field(default=True, description="Whether fingers are drawn.")

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .pose import drawer

        return drawer(self.points, self.model, self.hands)


class Face(Hint):
    """A face's eyes, nose and mouth as coloured points, as InstantID reads them; or 68 points as dots, as OpenPose."""

    ground = "black"
    name: Literal["face"] = "face"
    points: Literal["five", "all"] = Field(default="five", description="Of each face: five, or 68.")
    every: bool = Field(default=False, description="All faces, not the largest alone.")

    def make(self, load: Load | None = None, device: str | None = None) -> Draw:
        from .face import drawer

        return drawer(self.points == "five", self.every)
