"""Models that paint without denoising: what they do alike. `GENERATORS` is the one table of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from ...errors import InvalidFile, InvalidInput
from ...noise import keyed
from ...pictures import read
from ...pictures.carried import carried_by, recorded
from ...pictures.picture import Picture
from ...request.request import Request, Resolved
from ...store.model import Model
from ...tables import Table
from ...types import State
from ..classes import classes_of
from ..loaded import LoadedModel, Recipe, Sibling, from_nothing, from_picture

#: The fields that a picture of a seed uses, beside those that all use.
SEEDED = frozenset({"seed", "index", "truncation"})


#: By the family of the network that paints.
GENERATORS: Table[type[Generator]] = Table(
    "generator",
    {
        "vae": "painting.generators.families:VAEPainter",
        "pixelcnn": "painting.generators.families:PixelCNNPainter",
        "stylegan2": "painting.generators.families:StyleGAN2Painter",
        "biggan": "painting.generators.families:BigGANPainter",
        "cyclegan": "painting.generators.families:CycleGANPainter",
    },
    kind="painting.generators.base:Generator",
    columns={"recipes": lambda row: ", ".join(f"`{name}`" for name in row.recipes)},
)


class Generator(LoadedModel):
    """A loaded generator, which paints in one size. Get one from `danqing.painting.load.load`.

    Every number that a picture draws is keyed by (its use, seed, index), so that no picture depends on another.

    Args:
        model: the description it was loaded by.
        nets: its networks by role, on ``device``; "generator" is the one that paints.
        dtype: of the networks.
        engine, sibling: as in `LoadedModel`.

    Raises:
        InvalidFile: the description names other classes than the generator knows, or states no size where the network
            fixes none.
    """

    net: Any  # the family's own class

    def __init__(
        self,
        *,
        model: Model,
        nets: Mapping[str, nn.Module],
        device: torch.device,
        dtype: torch.dtype,
        engine: str,
        sibling: Sibling,
    ):
        super().__init__(model=model, device=device, dtype=dtype, engine=engine, sibling=sibling)
        self.nets, self.net = nets, nets[model.core]
        self.count = getattr(self.net.config, "classes", 0)
        self.classes = classes_of(model, self.count)
        if not self.side and not {"width", "height"} <= model.defaults.keys():
            raise InvalidFile(f"{model.source}: its defaults must state width and height, the size of its pictures")

    def preview(self, state: State) -> Image.Image:
        return self.image(state.x0[:1].nan_to_num())

    # ------------------------------------------------------------------------------------------------------ request

    def fields_used(self, request: Request) -> Collection[str]:
        named = {"prompt"} if self.classes and request.recipe == "text2image" else set()
        return named.union(super().fields_used(request))

    @property
    def side(self) -> int | None:
        """Width and height of every picture, in pixels, where the network fixes them; None where the description says
        them."""
        return None

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {**self.model.defaults, **({"width": self.side, "height": self.side} if self.side else {})}

    def fit(self, size: tuple[int, int], width: int | None = None, height: int | None = None) -> tuple[int, int]:
        """Its own size, whatever is given."""
        return width or self.defaults["width"], height or self.defaults["height"]

    def check_size(self, width: int, height: int, most: int) -> None:
        own = self.defaults["width"], self.defaults["height"]
        if (width, height) != own:
            possible = f"{self.model.name} paints {own[0]}×{own[1]} pixels and no other size"
            raise InvalidInput(f"{width}×{height} was given; {possible}: leave width and height out")

    def named_class(self, request: Resolved) -> tuple[int | None, str]:
        """The class that the prompt names, None where it names none, and a warning of what else it says.

        Raises:
            UnknownName: it names no class that the generator knows.
        """
        return self.classes.of(request.prompt) if self.classes and "prompt" in self.fields_used(request) else (None, "")

    def check(self, request: Resolved) -> None:
        self.named_class(request)

    def notes(self, request: Resolved) -> Iterator[str]:
        yield from super().notes(request)
        yield from filter(None, self.named_class(request)[1:])

    # ----------------------------------------------------------------------------------------------------- painting

    def label(self, request: Resolved) -> Tensor | None:
        """The class that the prompt names, (1,), or where it names none any one, drawn by the seed; None where there
        are no classes."""
        if not self.count:
            return None
        named, _ = self.named_class(request)
        any_one = torch.randint(self.count, (1,), generator=keyed("class", request.seed, request.index))
        return (any_one if named is None else torch.tensor([named])).to(self.device)

    def fitted(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        """A picture at the size painted, its middle where the shape is another: (1, 3, H, W) in [-1, 1], and what is to
        be said of it."""
        given, size = read.picture(source), (request.width, request.height)
        image, notes = read.over_white(given), []
        if given.mode != "RGB":
            notes.append("what is transparent in the picture was taken for white.")
        if image.size != size:
            cut = (
                "" if image.width * size[1] == image.height * size[0] else ", and what is beyond this shape was cut off"
            )
            notes.append(f"the picture of {image.width}×{image.height} was fitted to {size[0]}×{size[1]}{cut}.")
            image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        return self.levels(image).to(self.device), tuple(notes)

    def at_once(self, request: Resolved, picture: Tensor, notes: Collection[str] = ()) -> Iterator[State | Picture]:
        """A picture that was painted at once, (1, 3, H, W), as the only step and the end of a recipe."""
        x = self.finite("the generator", picture.float())
        yield State(step=1, steps=1, t=0.0, x=x, x0=x)
        yield self.finish(request, [self.image(x)], tuple(notes))


class LatentGenerator(Generator):
    """A generator that makes a picture of a latent, which a seed draws or a given picture has."""

    @abstractmethod
    def drawn(self, request: Resolved) -> Tensor:
        """The latent that the seed draws, (1, ...)."""

    @abstractmethod
    def latent(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        """The latent of a given picture, and what is to be said of it.

        Raises:
            InvalidInput: it has none that is known.
        """

    @abstractmethod
    def painted(self, latent: Tensor) -> Tensor:
        """(1, ...) -> (1, 3, H, W), about [-1, 1]."""

    def between(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """From a at t = 0 to b at t = 1, in a straight line."""
        return (1 - t) * a.float() + t * b.float()

    def latent_of_record(self, source: str) -> Tensor:
        """The latent of a picture that this model painted, by its record: no encoder gives it back.

        Raises:
            InvalidInput: it is no such picture.
        """
        record = carried_by(source).record or {}
        made = record.get("record")
        request = recorded(source) if isinstance(made, Mapping) and made.get("sha256") == self.sha256 else None
        if request is None or request.recipe != "text2image":
            name = self.model.name
            raise InvalidInput(
                f"{source[:200]} is not known as a picture that {name} painted from a seed, so {name} has no "
                "latent of it: paint one"
                f" with `danqing paint --model {name}`, or use --model vae, which finds a latent of any picture"
            )
        return self.drawn(self.resolve(request))


@torch.inference_mode()
def text2image(generator: LatentGenerator, request: Resolved) -> Iterator[State | Picture]:
    """From a latent that the seed draws."""
    yield from generator.at_once(request, generator.painted(generator.drawn(request)))


@torch.inference_mode()
def reconstruct(generator: LatentGenerator, request: Resolved) -> Iterator[State | Picture]:
    """A picture as its latent has it: what is not in the latent is gone."""
    latent, notes = generator.latent(request.image, request)
    yield from generator.at_once(request, generator.painted(latent), notes)


@torch.inference_mode()
def interpolate(generator: LatentGenerator, request: Resolved) -> Iterator[State | Picture]:
    """Between two pictures, along the way between their latents."""
    (a, first), (b, second) = (
        generator.latent(source, request) for source in (request.image, request.interpolation.other)
    )
    latent = generator.between(a, b, request.interpolation.between)
    yield from generator.at_once(request, generator.painted(latent), dict.fromkeys((*first, *second)))


def between_pictures(request: Request) -> None:
    """The inputs of a recipe that goes from one picture to another.

    Raises:
        InvalidInput: one of them is not given.
    """
    from_picture(request)
    if not request.interpolation.other:
        raise InvalidInput("interpolate goes from one picture to another and the second was not given: state `other`")


TEXT2IMAGE = Recipe(run=text2image, uses=SEEDED, inputs=from_nothing)
RECONSTRUCT = Recipe(run=reconstruct)
INTERPOLATE = Recipe(run=interpolate, uses=frozenset({"other", "between"}), inputs=between_pictures)
