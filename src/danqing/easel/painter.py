"""The painter: a model loaded and put together, from a Request to its Picture.

One picture depends on (recipe, seed, index) and the rest of its request alone: each is painted by itself, and every
number of noise is keyed by (seed, index, stage, step), so neither neighbours nor order nor previews can change it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .. import guide, solve, tiles
from .. import schedule as schedules
from ..codec import Codec
from ..denoise import Denoiser, LearnedVariance
from ..errors import InvalidInput, UnknownName
from ..prompt.towers import Text
from ..run.device import find_device
from ..run.precision import find_precision
from ..run.textcache import cached_text
from ..types import Denoise, Denoised, State
from ..weights import store
from ..weights.load import load
from . import files, hires, zoo
from .base import Easel, NotFinite
from .networks import codec_of, denoiser_of
from .recipes import RECIPES
from .request import KEEPING, Request, settled
from .scenes import Scene, Spoken, in_turn, spoken
from .steps import taken
from .tasks import NOTHING, TASKS, Beside
from .texts import heard
from .wear import Shelf, Worn, wearing

#: How many prompts a painter remembers in encoded form.
REMEMBERED = 16
#: The fields of a request that denoising uses: all but those of models that paint without it.
DENOISING = Request.model_fields.keys() - {"truncation", "mix", "mix_from", "other", "between", "to"}
#: Of them those that a recipe has no use for.
IDLE: Mapping[str, frozenset[str]] = {
    "text2image": frozenset({"strength", "extend"}),
    "image2image": frozenset({"extend"}),
    "inpaint": frozenset({"extend"}),
    "outpaint": frozenset({"mask"}),
}


class Painter(Easel):
    """A loaded model. Get one from `Painter.load`, which keeps the latest two.

    Args:
        model: the description it was loaded by.
        denoiser, codec, text: its networks, on ``device``.
        nets: those that LoRAs and learned words are made for, by role: "denoiser", "text", "text_2", "text_3".
        dtype: of the denoiser and the codec.
    """

    recipes = RECIPES
    remedy = "; with a tile, up to 64 million"

    def __init__(
        self,
        *,
        model: zoo.Model,
        denoiser: Denoiser,
        codec: Codec,
        text: Text,
        nets: Mapping[str, torch.nn.Module],
        device: torch.device,
        dtype: torch.dtype,
    ):
        super().__init__(model=model, device=device, dtype=dtype)
        self.denoiser, self.codec, self.text, self.shelf = denoiser, codec, text, Shelf(nets)
        home = max(2, round(self.area**0.5) // codec.factor)
        self._preview = tiles.Tiled(
            codec, tiles.Tiling(tile=home)
        )  # whatever the size, in the memory of the model's own
        self._worn = Worn(text)
        self._remembering = cached_text(denoiser.net)
        self._remembering.__enter__()  # for as long as the painter lives
        self._heard: dict[tuple[object, ...], Spoken] = {}
        #: What stands between the denoiser and whoever asks it.
        self.sees: Callable[[guide.Conditioned], guide.Conditioned] = lambda denoiser: denoiser

    @classmethod
    def load(cls, model: zoo.Given = zoo.DEFAULT, device: str | None = None, precision: str | None = None) -> Painter:
        """A model by name, folder or description, on a device, in a precision; the best of the machine where not given.

        Raises:
            UnknownName: no such model, device or precision. InvalidInput: it does not denoise; `danqing.easel.load`
                loads any model.
            InvalidFile: the folder's files are missing, damaged or foreign.
        """
        described = zoo.find(model)
        if described.core != "denoiser":
            raise InvalidInput(
                f"{described.name} paints without denoising; possible here is a model that denoises, such as "
                f"{zoo.DEFAULT}"
            )
        where = find_device(device)
        return _load(*described.stamped, where, find_precision(where, precision))

    def again(self, precision: str | None) -> Painter:
        return Painter.load(self.model.source, str(self.device), precision)

    def uses(self, request: Request) -> Collection[str]:
        return DENOISING - IDLE[request.recipe]

    def check(self, request: Request) -> None:
        if settled(request.clip_skip) > self.text.layers:
            given = f"clip_skip: {request.clip_skip} was given"
            raise InvalidInput(f"{given}; possible is 1 to {self.text.layers}, the layers of this text encoder")
        solver_of(request)
        if request.tile is not None and request.tile % self.multiple:
            near = max(self.multiple, round(request.tile / self.multiple) * self.multiple)
            possible = f"{self.model.name} sees multiples of {self.multiple} pixels, the nearest is {near}"
            raise InvalidInput(f"tile: {request.tile} was given; {possible}")
        hires.check(self, request)

    def most(self, request: Request) -> int:
        return super().most(request) if request.tile is None else files.MAX_PIXELS

    @contextmanager
    def ready(self, request: Request) -> Iterator[None]:
        """What the prompts ask for is on within, and off after."""
        with wearing(request, self.shelf, self.text) as self._worn:
            try:
                yield
            finally:
                self._worn = Worn(self.text)

    def notes(self, request: Request) -> Iterator[str]:
        said = self.encode(request)
        own = (*said.warnings, *self._worn.warnings)
        return iter((*own, *super().notes(request), *_idle(request, said), *hires.notes(self, request)))

    def seeing(self, request: Request) -> Painter:
        """The same painter, whose networks see no more of a picture at once than the request's tile, or all of it."""
        tile = None if request.tile is None else request.tile // self.codec.factor
        tiling, other = tiles.Tiling(tile=tile, closing=request.panorama), copy.copy(self)
        other.codec, other.sees = tiles.Tiled(self.codec, tiling), partial(tiles.in_tiles, tiling=tiling)
        return other

    # ---------------------------------------------------------------------------------------------------------- text

    def encode(self, request: Request) -> Spoken:
        """What the prompts say, step by step; the latest are remembered."""
        steps = max(1, taken(request)[0])
        words = (
            request.prompt,
            settled(request.negative),
            steps,
            settled(request.emphasis),
            settled(request.clip_skip),
        )
        key = (*words, self._worn.files)
        if key not in self._heard:
            if len(self._heard) >= REMEMBERED:
                del self._heard[next(iter(self._heard))]
            found = spoken(self._worn, *words)
            for said in (said for scene in found.scenes for said in scene.heard):
                self.finite("the text encoder", said.tokens)
            self._heard[key] = found
        return self._heard[key]

    def assemble(self, request: Request, points: Sequence[solve.Point], beside: Beside = NOTHING) -> Denoise:
        """The guided estimate: the prompts composed, within the interval; where they change over the steps, by the time
        asked."""
        said = self.encode(request)
        return in_turn([self._guided(request, scene, beside) for scene in said.scenes], said.steps, points)

    def refined(self, request: Request, points: Sequence[solve.Point], beside: Beside = NOTHING) -> Denoise:
        """`assemble`, handed over to the refiner's estimate for the last steps, where the request names one.

        Both see the same noise levels, so the hand-over is a choice by time (Podell et al. 2023, section 2.5).

        Raises:
            InvalidInput: the refiner paints in other latents or on another schedule.
        """
        early = self.assemble(request, points, beside)
        if request.refiner is None:
            return early
        other = Painter.load(request.refiner, str(self.device), request.precision).seeing(request)
        fits = other.codec.channels == self.codec.channels and other.denoiser.schedule == self.denoiser.schedule
        if not fits or other.learned(request) != self.learned(request):
            possible = f"a model with the latents and the schedule of {self.model.name}"
            raise InvalidInput(f"refiner: {request.refiner} was given; possible is {possible}")
        late = other.assemble(request, points, other.beside(request))
        steps = len(points) - 1
        first = points[min(round(request.refiner_at * steps), steps)].t  # where the refiner begins

        def denoise(x: Tensor, t: Tensor) -> Denoised:
            return early(x, t) if float(t[0]) > first else late(x, t)

        return denoise

    def _guided(self, request: Request, scene: Scene, beside: Beside) -> Denoise:
        """x_0 = d(negative) + scale · sum_i w_i (d(term_i) - d(negative)); outside the interval the terms alone."""
        scale, (low, high) = settled(request.scale), settled(request.interval)

        def at(scale: float, rescale: float = 0.0) -> Denoise:
            terms, base = beside.guided(tuple((said, scale * weight) for said, weight in scene.terms), scene.base)
            return guide.rescaled(guide.compose(self.sees(self.denoiser), terms, base), rescale)

        inside = at(scale, settled(request.rescale))
        return inside if (low, high) == (0, 1) else guide.interval(inside, at(1.0), low, high)

    def learned(self, request: Request) -> bool:
        """Whether the steps take their variance of the network: DDPM's do, where it says one."""
        return request.solver == "ddpm" and isinstance(self.denoiser, LearnedVariance)

    def points(self, request: Request) -> tuple[solve.Point, ...]:
        """The times visited, noise first, as points of the schedule."""
        times = schedules.spacing(settled(request.spacing))(self.denoiser.schedule, settled(request.steps))
        return solve.points(self.denoiser.schedule, times)

    def walk(
        self,
        request: Request,
        points: Sequence[solve.Point],
        x0: Tensor,
        wrap: Callable[[Denoise], Denoise] = lambda denoise: denoise,
        beside: Beside = NOTHING,
        *,
        told: Sequence[solve.Point] | None = None,
        stage: str = "",
    ) -> Iterator[State]:
        """Noise a clean latent to the first point and sample from there to the last.

        Args:
            x0: (1, C, h, w); zeros for a picture from nothing.
            wrap: what is to stand between the guided estimate and the solver.
            beside: what the denoiser reads beside the latent.
            told: the points of the request's steps, by whose times prompts change and a refiner takes over; those
                walked if not given.
            stage: of a recipe that walks more than once, which draws noise of its own.
        """
        start, noise = (
            solve.Noise.of(settled(request.seed), [request.index], stage + part) for part in ("start", "sample")
        )
        x = x0 * points[0].alpha + start(x0) * points[0].sigma
        denoise = wrap(self.refined(request, points if told is None else told, beside))
        solver = solve.LearnedDDPM() if self.learned(request) else solver_of(request)
        for state in solve.sample(denoise, solver, points, x, noise):
            if not state.x0.isfinite().all() or not state.x.isfinite().all():
                raise NotFinite(f"step {state.step} of {state.steps}", self.precision)
            yield state

    def beside(self, request: Request, picture: Image.Image | None = None, free: Tensor | None = None) -> Beside:
        """What the denoiser's task has it read beside the latent; the picture at the size painted, free (1, 1, h, w) of
        0 and 1."""
        return TASKS[self.model.task](self, request, picture, free)

    def blank(self, request: Request) -> Tensor:
        """No picture yet: zeros (1, C, h, w)."""
        factor = self.codec.factor
        shape = (1, self.codec.channels, settled(request.height) // factor, settled(request.width) // factor)
        return torch.zeros(shape, device=self.device)

    def encode_image(self, image: Image.Image) -> Tensor:
        """An RGB picture as its most probable latent, (1, C, h, w)."""
        return self.encode_levels(self.levels(image))

    def encode_levels(self, levels: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] as its most probable latent, (1, C, h, w)."""
        return self.finite("the picture's encoding", self.codec.encode(levels.to(self.device)))

    def decode(self, latent: Tensor) -> Image.Image:
        """A latent (1, C, h, w) as an RGB picture."""
        return self.image(self.finite("decoding", self.codec.decode(latent)))

    @torch.inference_mode()
    def glimpse(self, state: State) -> Image.Image:
        """What a step knows of the picture so far."""
        return self.image(self._preview.decode(state.x0[:1]).nan_to_num())


def solver_of(request: Request) -> solve.Solver:
    """The solver of a resolved request; eta only where it is stated, for not every solver takes one."""
    name, eta = settled(request.solver), request.eta
    if eta is None:
        return solve.solver(name)
    try:
        return solve.solver(name, eta=eta)
    except InvalidInput:
        raise InvalidInput(
            f"eta: {eta:g} was given; the solver {name} takes none: leave eta out, or use ddim or dpmpp-2m"
        ) from None


def _idle(request: Request, said: Spoken) -> Iterator[str]:
    """What a resolved request states without any effect, a sentence each."""
    scale = settled(request.scale)
    if request.negative and all(math.fsum(scale * weight for _, weight in scene.terms) == 1 for scene in said.scenes):
        yield f"the negative prompt was ignored: at scale {scale:g} nothing guides away from it."
    if request.mask_blur and request.recipe not in KEEPING:
        yield f"mask_blur {request.mask_blur} was ignored: {request.recipe} has no mask."


@lru_cache(maxsize=2)
def _load(source: Path, stamp: int, device: torch.device, dtype: torch.dtype) -> Painter:
    """Every part on the device; the text is encoded once a picture, in fp32 in every precision, so that all hear the
    same."""
    model = zoo.find(source)
    if model.task not in TASKS:
        raise UnknownName("task of a denoiser", model.task, TASKS)

    def part(role: str, dtype: torch.dtype) -> torch.nn.Module:
        component = model.components[role]
        path = model.path(component.file)
        config = component.config or None
        net = load(
            path, family=component.family, part=component.part or None, config=config, device=device, dtype=dtype
        )
        model.verify(role)  # afterwards, for what cannot be loaded at all has a better reason than another sum
        # CUDA's convolutions are written for this order; on processors the UNet's are a sixth slower in it.
        # pyright: ignore[reportCallIssue]
        return net.to(memory_format=torch.channels_last) if device.type == "cuda" else net

    with store.at_hand(model.path(component.file) for component in model.components.values()):
        nets = {
            role: part(role, dtype if role in ("denoiser", "codec") else torch.float32) for role in model.components
        }
    text, net = heard(model, nets)
    return Painter(
        model=model,
        denoiser=denoiser_of(model, net),
        codec=codec_of(model, nets),
        text=text,
        nets={role: net for role, net in nets.items() if role != "codec"},
        device=device,
        dtype=dtype,
    )
