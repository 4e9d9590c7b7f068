"""What every loaded model does alike, whatever its family: fill in a request, walk its recipe, and sign the picture."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import DanqingError, InvalidInput
from ..levels import bytes_of, levels_of
from ..log import log
from ..pictures import read
from ..pictures.past import hash_of, parents
from ..pictures.picture import Picture
from ..request.request import Request, Resolved, fields, pictures
from ..run.precision import precision_name
from ..run.record import describe
from ..store import library
from ..store.find import AnyModel
from ..store.model import Model
from ..types import State
from ..version import __version__
from . import drawing, finishing
from .styles import NONE
from .vocabulary import Vocabulary

#: The fields of a request that every recipe of every model uses.
ALWAYS = frozenset({"recipe", "model", "image", "width", "height", "precision", "engine", "finish"}) | {
    "prediction",
    "noise_schedule",
    "vae",
    "template",
    "negative_template",
}
#: How much of a value a warning quotes, in characters.
QUOTED = 60
#: How many times the model's own area is painted at most: memory grows with its square.
MOST = 16
#: (the loaded model, a resolved request) -> each step, and the picture last.
Run = Callable[[Any, Resolved], Iterator[State | Picture]]
#: (a model, in which way it is computed, as `Request.computed` says it) -> the model loaded on the same device.
Sibling = Callable[[AnyModel, Mapping[str, str | None]], "LoadedModel"]
#: Width and height, in pixels.
Size = tuple[int, int]


def from_nothing(request: Request) -> None:
    """The inputs of a recipe that takes no picture.

    Raises:
        InvalidInput: one is given.
    """
    if request.image or request.edit.mask:
        raise InvalidInput(
            f"{request.recipe} starts from nothing, but a picture was given: use `edit`, the recipes image2image or "
            "inpaint"
        )


def from_picture(request: Request) -> None:
    """The inputs of a recipe that takes a picture.

    Raises:
        InvalidInput: none is given.
    """
    if not request.image:
        raise InvalidInput(
            f"{request.recipe} starts from a picture and none was given: state `image`, a PNG, JPEG or WebP file"
        )


def of_picture(request: Request) -> Size | None:
    """The size of the given picture, where one is given."""
    return read.picture(request.image).size if request.image else None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way from a resolved request to its picture: a row of a model's table of recipes.

    Args:
        run: yields each step, and the picture last.
        uses: the fields of a request that it uses, by their flat names, beside those that all use.
        inputs: refuses a request that lacks the pictures it starts from, or has others, by InvalidInput.
        size: of what is painted over, whose shape a picture has of which no size is stated; None for the model's own.
        defaults: from the model's own values of fields to those of this recipe.
        check: refuses what the request asks of it in vain, by InvalidInput.
        notes: what is to be said of any picture of the request, a sentence each.
        does: in one sentence.
    """

    run: Run
    uses: Collection[str] = ()
    inputs: Callable[[Request], None] = from_picture
    size: Callable[[Request], Size | None] = of_picture
    defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    check: Callable[[Any, Resolved], None] = lambda loaded, request: None
    notes: Callable[[Any, Resolved], Iterable[str]] = lambda loaded, request: ()
    does: str = ""


class NotFinite(DanqingError):
    """A stage gave NaN or infinity, which would have become a black picture."""

    def __init__(self, stage: str, precision: str):
        super().__init__(
            f"{stage} gave numbers that are not finite, computed in {precision}. Try a lower scale or another "
            "solver; if every"
            " request fails, the weights are damaged: `danqing inspect` tells, given the model's folder"
        )
        self.stage = stage


class LoadedModel(ABC):
    """A loaded model, from a Request to its Picture.

    Args:
        model: the description it was loaded by.
        device: where it computes.
        dtype: what in.
        engine: in which way, of `danqing.run.engine.engines`.
        sibling: loads another model, or the same computed otherwise, on this device.
    """

    #: What it can do, by the names of `Request.recipe`.
    recipes: Mapping[str, Recipe]
    #: How it paints more pixels than `max_pixels`, in words.
    remedy: ClassVar[str] = ""

    def __init__(self, *, model: Model, device: torch.device, dtype: torch.dtype, engine: str, sibling: Sibling):
        self.model, self.device, self.dtype, self.precision = model, device, dtype, precision_name(dtype)
        self.engine, self.sibling = engine, sibling
        self.vocabulary = Vocabulary.of(model)
        self.prompt_styles = self.vocabulary.styles

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model.name} on {self.device} in {self.precision}>"

    @property
    def computed(self) -> Mapping[str, str]:
        """In which way it computes, as a request states it."""
        return {"precision": self.precision, "engine": self.engine}

    def in_precision(self, precision: str | None) -> LoadedModel:
        """The same model in another precision."""
        return self.sibling(self.model.source, {**self.computed, "precision": precision})

    def abreast(self, request: Resolved) -> int:
        """How many pictures like that of a request are painted sooner together than one after another."""
        return 1

    @abstractmethod
    def preview(self, state: State) -> Image.Image:
        """What a step knows of the picture so far."""

    def fields_used(self, request: Request) -> Collection[str]:
        """The fields, beside those that all use, that this request's recipe uses; the others are ignored, and a warning
        says so."""
        return self.recipes[request.recipe].uses

    def _used(self, request: Request) -> Collection[str]:
        return ALWAYS.union(self.fields_used(request))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What fields are that nobody states."""
        return self.model.defaults

    @property
    def multiple(self) -> int:
        """The number of pixels that sizes are multiples of."""
        return self.model.multiple

    def check(self, request: Resolved) -> None:
        """Refuse what a resolved request asks of this family in vain.

        Raises:
            InvalidInput: what was given, and what is possible.
        """
        return None

    def attached(self, request: Resolved) -> AbstractContextManager[LoadedModel]:
        """The same model for the painting of one request, with what the request attaches to it."""
        return nullcontext(self)

    def notes(self, request: Resolved) -> Iterator[str]:
        """What is to be said of any picture of this request, a sentence each."""
        yield from self.model.warnings
        yield from drawing.remarks(request)
        used, usual = self._used(request), fields()
        for name, value in request.stated().items():
            if name not in used and (value or value != usual[name].default):
                yield (
                    f"{name} {str(value)[:QUOTED]!r} was ignored: {request.recipe} of {self.model.name} has no "
                    "use for it."
                )

    # ------------------------------------------------------------------------------------------------------ request

    def resolve(self, request: Request) -> Resolved:
        """Every default filled, the seed drawn, the size checked against the model and the picture.

        Raises:
            InvalidInput: a size that the model cannot work in, or a picture that does not fit the recipe.
        """
        if request.recipe not in self.recipes:
            possible = f"possible with {self.model.name} is {', '.join(self.recipes)}"
            raise InvalidInput(
                f"recipe: {request.recipe} was given; {possible}. Other models can do it: `danqing models`"
            )
        request = self._styled(drawing.drawn(drawing.styled(request, self.prompt_styles)))
        recipe, used, stated = self.recipes[request.recipe], self._used(request), request.stated()
        recipe.inputs(request)
        defaults = {**recipe.defaults(self.defaults)}
        if not {"width", "height"} <= stated.keys() and (size := recipe.size(request)):
            defaults["width"], defaults["height"] = self.fit(size, stated.get("width"), stated.get("height"))
        resolved = finishing.settle(request.resolve(defaults, used, self.computed))
        self.check_size(resolved.width, resolved.height, self.max_pixels(resolved))
        self.check(resolved)
        recipe.check(self, resolved)
        return resolved

    def _styled(self, request: Request) -> Request:
        """The request with the style that is added to its prompt: the one stated, or the model's own. A picture that is
        given says its own, so nothing is added there unstated.

        Raises:
            UnknownName: a style is stated that the model does not name.
        """
        stated = self.prompt_styles.named(request.style)
        if not self.prompt_styles.words:
            return request.but(style=None)
        own = self.defaults.get("style", NONE) if request.recipe == "text2image" else NONE
        unstated = "style" not in request.stated()
        said = next((prompt for prompt, _ in request.texts if prompt.strip()), "")
        return request.but(style=self.prompt_styles.added_to(said, own) if unstated else stated)

    def max_pixels(self, request: Resolved) -> int:
        """How many pixels are painted at most."""
        return MOST * self.area

    def check_size(self, width: int, height: int, most: int) -> None:
        """Refuse a size that the model cannot paint.

        Raises:
            InvalidInput: what was given, and what is possible.
        """
        m = self.multiple
        if width % m or height % m:
            near = "×".join(str(max(m, round(side / m) * m)) for side in (width, height))
            raise InvalidInput(
                f"{width}×{height} was given; {self.model.name} paints multiples of {m} pixels, the nearest is {near}"
            )
        if width * height > most:
            side = int(most**0.5)
            possible = f"{self.model.name} paints up to {side}×{side} pixels, or as many in another shape"
            raise InvalidInput(f"{width}×{height} was given; {possible}{self.remedy}")

    @property
    def area(self) -> int:
        """How many pixels the model is at home in."""
        return self.defaults.get("width", 512) * self.defaults.get("height", 512)

    def fit(self, size: tuple[int, int], width: int | None = None, height: int | None = None) -> tuple[int, int]:
        """The size to paint a given picture in: its shape, its own size where the model is at home there, else the
        model's area."""
        own, m = size[0] * size[1], self.multiple
        share = 1.0 if self.area / 2 <= own <= self.area * 2 else (self.area / own) ** 0.5
        if width or height:
            share = width / size[0] if width else height / size[1]  # pyright: ignore[reportOptionalOperand]
        fitted = [max(m, round(side * share / m) * m) for side in size]
        return width or fitted[0], height or fitted[1]

    # ------------------------------------------------------------------------------------------------------ painting

    def paint(self, request: Request) -> Picture:
        """The picture of a request, resolved here if it is not yet."""
        *_, last = self.states(request)
        if not isinstance(last, Picture):
            raise DanqingError(f"the recipe {request.recipe} ended without a picture")
        return last

    def states(self, request: Request) -> Iterator[State | Picture]:
        """Each step as it is done, then the picture; stop listening and the work stops.

        What is not finite is painted once more in fp32, and the picture's warnings say so.
        """
        resolved = self.resolve(request)
        if {name: getattr(resolved, name) for name in self.computed} != self.computed:
            yield from self.sibling(self.model.source, resolved.computed).states(resolved)
            return
        # What cannot finish the picture is known before it is painted.
        finishes = [finishing.make(record, self, resolved) for record in resolved.finish]
        clock = [time.perf_counter()]
        try:
            with self.attached(resolved) as model:
                for state in self.recipes[resolved.recipe].run(model, resolved):
                    clock.append(time.perf_counter())
                    yield (
                        _done(finishing.apply(state, finishes, _timings(clock)))
                        if isinstance(state, Picture)
                        else state
                    )
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            size = f"{resolved.width}×{resolved.height}"
            raise DanqingError(
                f"there is not enough memory on {self.device} to paint {size}: make it smaller, or close other programs"
            ) from None
        except NotFinite as found:
            if self.precision == "fp32":
                raise
            warning = f"{found.stage} was not finite in {self.precision}; painted again in fp32"
            for state in self.in_precision("fp32").states(resolved.but(precision="fp32")):
                yield replace(state, warnings=(warning, *state.warnings)) if isinstance(state, Picture) else state

    def finish(self, request: Resolved, frames: Iterable[Image.Image], notes: Sequence[str] = ()) -> Picture:
        """The picture with its record and whatever is to be said of it; ``notes`` is what the recipe says."""
        own = self.recipes[request.recipe].notes(self, request)
        record = {"danqing": __version__, "model": self.model.name, "sha256": self.sha256}
        record |= describe(self.device, self.dtype, self.engine)
        used = self._used(request)
        given = {name: value for name, value in pictures(request).items() if name.partition(" ")[0] in used}
        record |= {name: hash_of(value) for name, value in given.items()}
        record |= {"weights": self.hashes(request), "parents": parents(given.values())}
        return Picture(
            frames=tuple(frames), request=request, warnings=(*self.notes(request), *own, *notes), record=record
        )

    def hashes(self, request: Resolved) -> dict[str, str]:
        """The SHA-256 of each file of weights that a request's picture depends on, by its role."""
        parts = self.model.components.items()
        return {role: part.sha256 or library.digest(self.model.file_of(role)) for role, part in parts}

    @property
    def sha256(self) -> str:
        """Of the file of the network that paints: it stands for the model in a picture's record."""
        part = self.model.components[self.model.core]
        return part.sha256 or library.digest(
            self.model.path(part.file)
        )  # of a large file it is remembered over the sessions

    @staticmethod
    def levels(image: Image.Image) -> Tensor:
        """A picture as (1, 3, H, W) in [-1, 1]."""
        import numpy as np

        return levels_of(torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)[None])

    @staticmethod
    def image(levels: Tensor) -> Image.Image:
        """(1, 3, H, W), about [-1, 1], as an RGB picture."""
        return Image.fromarray(bytes_of(levels)[0].permute(1, 2, 0).cpu().numpy())

    def finite(self, stage: str, value: Tensor) -> Tensor:
        """The value as it is.

        Raises:
            NotFinite: a number of it is NaN or infinite.
        """
        if not value.isfinite().all():
            raise NotFinite(stage, self.precision)
        return value


def _done(picture: Picture) -> Picture:
    """The picture as it is, its seconds told."""
    log.info("painted: %s", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in picture.timings.items()))
    return picture


def _timings(clock: Sequence[float]) -> dict[str, float]:
    """Seconds from the marks of a picture's start, its steps and its end."""
    begin, *steps, end = clock
    times = {"total": end - begin}
    if len(steps) > 1:
        times |= {
            "first_step": steps[0] - begin,
            "step": (steps[-1] - steps[0]) / (len(steps) - 1),
            "decode": end - steps[-1],
        }
    return {name: round(value, 4) for name, value in times.items()}
