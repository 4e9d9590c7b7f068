"""Models that paint without denoising: what they do alike. `danqing.easel.generators` has the families."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..errors import InvalidFile, InvalidInput
from ..learn.data.order import keyed
from ..prompt.classes import Classes
from ..types import State
from . import files, zoo
from .base import Easel
from .picture import Picture
from .request import Request, settled

#: The fields that a recipe uses, beside those that all do.
FIELDS: Mapping[str, frozenset[str]] = {
    "text2image": frozenset({"seed", "index", "truncation"}),
    "reconstruct": frozenset(),
    "translate": frozenset({"to"}),
    "interpolate": frozenset({"other", "between"}),
}


class Direct(Easel):
    """A loaded generator, which paints in one size. Get one from `danqing.easel.load`.

    Every number that a picture draws is keyed by (its use, seed, index), so that no picture depends on another.

    Args:
        model: the description it was loaded by.
        nets: its networks by role, on ``device``; "generator" is the one that paints.
        dtype: of the networks.

    Raises:
        InvalidFile: the description names other classes than the generator knows, or states no size where the network
            fixes none.
    """

    net: Any  # the family's own class

    def __init__(self, *, model: zoo.Model, nets: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype):
        super().__init__(model=model, device=device, dtype=dtype)
        self.nets, self.net = nets, nets[model.core]
        self.count = getattr(self.net.config, "classes", 0)
        self.classes = classes_of(model, self.count)
        if not self.side and not {"width", "height"} <= model.defaults.keys():
            raise InvalidFile(f"{model.source}: its defaults must state width and height, the size of its pictures")

    def again(self, precision: str | None) -> Direct:
        from .load import load  # which knows the families

        found = load(self.model.source, str(self.device), precision)
        assert isinstance(found, Direct)
        return found

    def glimpse(self, state: State) -> Image.Image:
        return self.image(state.x0[:1].nan_to_num())

    # ------------------------------------------------------------------------------------------------------ request

    def uses(self, request: Request) -> Collection[str]:
        heard = {"prompt"} if self.classes and request.recipe == "text2image" else set()
        return FIELDS[request.recipe] | heard

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

    def heard(self, request: Request) -> tuple[int | None, str]:
        """The class that the prompt names, None where it names none, and a warning of what else it says.

        Raises:
            UnknownName: it names no class that the generator knows.
        """
        return self.classes.of(request.prompt) if self.classes and "prompt" in self.uses(request) else (None, "")

    def check(self, request: Request) -> None:
        self.heard(request)

    def notes(self, request: Request) -> Iterator[str]:
        yield from super().notes(request)
        yield from filter(None, self.heard(request)[1:])

    # ----------------------------------------------------------------------------------------------------- painting

    def label(self, request: Request) -> Tensor | None:
        """The class that the prompt names, (1,), or where it names none any one, drawn by the seed; None where there
        are no classes."""
        if not self.count:
            return None
        named, _ = self.heard(request)
        any_one = torch.randint(self.count, (1,), generator=keyed("class", settled(request.seed), request.index))
        return (any_one if named is None else torch.tensor([named])).to(self.device)

    def given(self, source: str, request: Request) -> tuple[Tensor, tuple[str, ...]]:
        """A picture at the size painted, its middle where the shape is another: (1, 3, H, W) in [-1, 1], and what is to
        be said of it."""
        read, size = files.read(source), (settled(request.width), settled(request.height))
        image, notes = files.over_white(read), []
        if read.mode != "RGB":
            notes.append("what is transparent in the picture was taken for white.")
        if image.size != size:
            cut = (
                "" if image.width * size[1] == image.height * size[0] else ", and what is beyond this shape was cut off"
            )
            notes.append(f"the picture of {image.width}×{image.height} was fitted to {size[0]}×{size[1]}{cut}.")
            image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
        return self.levels(image).to(self.device), tuple(notes)

    def shown(self, request: Request, picture: Tensor, notes: Collection[str] = ()) -> Iterator[State | Picture]:
        """A picture that was painted at once, (1, 3, H, W), as the only step and the end of a recipe."""
        x = self.finite("the generator", picture.float())
        yield State(step=1, steps=1, t=0.0, x=x, x0=x)
        yield self.finish(request, self.image(x), tuple(notes))


class Latent(Direct):
    """A generator that makes a picture of a latent, which a seed draws or a given picture has."""

    @abstractmethod
    def drawn(self, request: Request) -> Tensor:
        """The latent that the seed draws, (1, ...)."""

    @abstractmethod
    def latent(self, source: str, request: Request) -> tuple[Tensor, tuple[str, ...]]:
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

    def remembered(self, source: str) -> Tensor:
        """The latent of a picture that this model painted, by its record: no encoder gives it back.

        Raises:
            InvalidInput: it is no such picture.
        """
        record = files.carried(source).record or {}
        made = record.get("record")
        request = files.recorded(source) if isinstance(made, Mapping) and made.get("sha256") == self.sha256 else None
        if request is None or request.recipe != "text2image":
            name = self.model.name
            raise InvalidInput(
                f"{source[:200]} is not known as a picture that {name} painted from a seed, so {name} has no "
                "latent of it: paint one"
                f" with `danqing paint --model {name}`, or use --model vae, which finds a latent of any picture"
            )
        return self.drawn(request)


@torch.inference_mode()
def text2image(easel: Latent, request: Request) -> Iterator[State | Picture]:
    """From a latent that the seed draws."""
    yield from easel.shown(request, easel.painted(easel.drawn(request)))


@torch.inference_mode()
def reconstruct(easel: Latent, request: Request) -> Iterator[State | Picture]:
    """A picture as its latent has it: what is not in the latent is gone."""
    latent, notes = easel.latent(settled(request.image), request)
    yield from easel.shown(request, easel.painted(latent), notes)


@torch.inference_mode()
def interpolate(easel: Latent, request: Request) -> Iterator[State | Picture]:
    """Between two pictures, along the way between their latents."""
    (a, first), (b, second) = (easel.latent(settled(source), request) for source in (request.image, request.other))
    latent = easel.between(a, b, settled(request.between))
    yield from easel.shown(request, easel.painted(latent), dict.fromkeys((*first, *second)))


def classes_of(model: zoo.Model, count: int) -> Classes | None:
    """The classes that a model's description names, of which there must be so many; None where it names none."""
    if model.text.get("kind") != "classes":
        return None
    try:
        classes = Classes(tuple(map(tuple, model.text["names"])))
    except (LookupError, TypeError, AttributeError, InvalidInput) as error:
        raise InvalidFile(f"{model.source}: its text should name classes, each by a list of names: {error}") from None
    if len(classes.names) != count:
        raise InvalidFile(f"{model.source} names {len(classes.names)} classes, and its {model.core} knows {count}")
    return classes
