"""The painter: a model loaded and put together, from a Request to its Picture.

One picture depends on (recipe, seed, index) and the rest of its request alone: each is painted by itself, and every
number of noise is keyed by (seed, index, stage, step), so neither neighbours nor order nor previews can change it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .. import guide, tiles
from .. import schedule as schedules
from ..codec import Codec
from ..denoise import Denoiser, LearnedVariance
from ..errors import InvalidInput
from ..guides.regional import Shares, regional, within
from ..log import timed
from ..noise import Noise
from ..pictures import read
from ..pictures.picture import Picture
from ..prompt.towers import Text
from ..request.request import Request, Resolved
from ..run import offload, together
from ..run.device import free
from ..run.engine.engines import ENGINES
from ..run.pages import frugal
from ..run.shared import Attach, Setup, Shared
from ..solve import core, learned
from ..solve.starting import starting
from ..store import library
from ..store.model import Model
from ..types import Conditioning, Denoise, Denoised, State
from .adapters.adapters import ATTACHMENTS, Adapters
from .adapters.attachment import Attached, Target
from .guidance import GUIDANCE, At, guided
from .latest import Latest
from .loaded import LoadedModel, NotFinite, Recipe, Sibling
from .networks import AMPLE, decoding
from .prompts import EncodedPrompts, Scene, astray, by_time, encode_prompts, placed
from .say import Say, speaking
from .steps import solver_of, taken

#: How many prompts a painter remembers in encoded form.
REMEMBERED = 16
#: To decode so many pixels makes so much that what the steps have left in the allocator's hands, and in memory of the
#: networks' files, is worth giving back.
LARGE = 256**2
#: How many times larger or smaller than the model's own area a picture is far from it.
FAR = 2.0


class Painter(LoadedModel):
    """A loaded model that denoises. Get one from `danqing.painting.load.load`, which keeps the latest two.

    Args:
        model: the description it was loaded by.
        denoiser, codec, text: its networks, on ``device``.
        nets: those that LoRAs and learned words are made for, by role: "denoiser", "text", "text_2", "text_3".
        dtype: of the denoiser and the codec.
        engine: of all networks.
        quantise: in how few bits their weights are kept, of `danqing.run.quantise.quantisers`.
        recipes: what it can do, by the names of `Request.recipe`.
    """

    remedy = "; with a tile, up to 64 million"

    def __init__(
        self,
        *,
        model: Model,
        denoiser: Denoiser,
        codec: Codec,
        text: Text,
        nets: Mapping[str, torch.nn.Module],
        device: torch.device,
        dtype: torch.dtype,
        engine: str,
        recipes: Mapping[str, Recipe],
        sibling: Sibling,
        quantise: str = "none",
    ):
        super().__init__(model=model, device=device, dtype=dtype, engine=engine, sibling=sibling)
        self.denoiser, self.codec, self.text, self.quantise = denoiser, codec, text, quantise
        self.adapters = Adapters(Target(nets, denoiser, codec))
        self.recipes = recipes
        home = max(2, round(self.area**0.5) // codec.factor)
        self._preview = tiles.Tiled(
            codec, tiles.Tiling(tile=home)
        )  # whatever the size, in the memory of the model's own
        self._shared, self._encoded = Shared(denoiser.net), Latest[tuple[object, ...], EncodedPrompts](REMEMBERED)
        # Of one picture, in the copy of the painter that `attached` gives.
        self._attached, self._guiding, self._setup = Attached(text), tuple[Attach, ...](), Setup()
        self._proof, self._said = dict[Hashable, bool](), list[str]()
        self._decoding = decoding(model, dtype, engine)
        #: Equal where pictures are seen alike, None where no other's is.
        self._seen: Hashable = tiles.Tiling()
        #: What stands between the denoiser and whoever asks it.
        self.sees: Callable[[guide.Conditioned], guide.Conditioned] = lambda denoiser: denoiser

    @property
    def computed(self) -> Mapping[str, str]:
        return {**super().computed, "quantise": self.quantise}

    def check(self, request: Resolved) -> None:
        if request.text.clip_skip > self.text.layers:
            given = f"clip_skip: {request.text.clip_skip} was given"
            raise InvalidInput(f"{given}; possible is 1 to {self.text.layers}, the layers of this text encoder")
        solver_of(request)
        for row in GUIDANCE.usable().values():
            row.check(request)
        if request.regions and request.edit.only_masked:
            raise InvalidInput("regions lie over the whole picture, and only_masked paints parts of it: leave one out")
        if request.tiling.size is not None and request.tiling.size % self.multiple:
            near = max(self.multiple, round(request.tiling.size / self.multiple) * self.multiple)
            possible = f"{self.model.name} sees multiples of {self.multiple} pixels, the nearest is {near}"
            raise InvalidInput(f"tile: {request.tiling.size} was given; {possible}")

    def resolve(self, request: Request) -> Resolved:
        for kind in ATTACHMENTS.usable().values():
            request = kind.settle(request, self.adapters.target.nets["denoiser"], self.model.name)
        if self.model.quantise and request.quantise == "none":
            request = request.but(quantise=self.model.quantise)
        return super().resolve(request)

    def fields_used(self, request: Request) -> Collection[str]:
        rows = (*GUIDANCE.usable().values(), *ATTACHMENTS.usable().values())
        return frozenset({"quantise", *super().fields_used(request)}).union(*(row.uses for row in rows))

    def max_pixels(self, request: Resolved) -> int:
        return super().max_pixels(request) if request.tiling.size is None else read.MAX_PIXELS

    @contextmanager
    def attached(self, request: Resolved) -> Iterator[Painter]:
        """The same painter for one picture: what the prompts ask for is on while it computes, whoever else does."""
        other = copy.copy(self)
        asked, target = self.adapters.asked(request, self.text), self.adapters.target
        other._guiding = tuple(attach for row in GUIDANCE.usable().values() for attach in row.on(request, target))
        on, nets = (*asked.on, *other._guiding), target.nets.values()
        other._attached = replace(asked, on=tuple(offload.there(each, nets) for each in on))
        other._said = list[str]()
        other.codec = tiles.Fitting(self.codec, self._fits, other._said.append)
        with self._shared.setup(other._attached.on) as other._setup:
            yield other

    def _fits(self, height: int, width: int) -> bool:
        """Whether there is room to decode so many cells at once, when who may be out of memory is."""
        if AMPLE * height * width * self.codec.factor**2 <= free(self.device):
            return True
        with offload.ROOM.holding():
            if self._decoding(height, width) <= free(self.device):
                return True
        frugal()  # it is seen in tiles, of whose pieces none is kept
        return False

    def alone(self) -> Painter:
        """The same painter for one picture, with nothing attached."""
        other = copy.copy(self)
        other._attached, other._guiding, other._setup = Attached(self.text), (), Setup()
        return other

    def notes(self, request: Resolved) -> Iterator[str]:
        said = [request, *(region.request for region in placed(request, self.prompt_styles))]
        prompts = [self.encode(one) for one in said]
        own = [
            *(warning for found in prompts for warning in found.warnings),
            *self._attached.warnings,
            *self._said,
            *(note for one in said for note in self._unlearned(one)),
            *astray(request),
            *self._aside(),
        ]
        yield from dict.fromkeys((*own, *super().notes(request), *_idle(request, prompts[0]), *self._far(request)))

    def _aside(self) -> Iterator[str]:
        """That torch computes the denoiser's network in the place of the engine, where what is attached has it so."""
        with self._shared.using(self._setup):
            if why := ENGINES[self.engine].aside(self.denoiser.net):
                yield f"the denoiser was computed by torch, not by {self.engine}: {why}."

    def _unlearned(self, request: Resolved) -> Iterator[str]:
        """What is to be said of words of the prompts that the model has not learned, nor was taught since."""
        taught = [name for names in self._attached.named.values() for name in names]
        yield from self.vocabulary.notes(self.text, request.prompt, request.negative, taught, taken(request)[0])

    def _far(self, request: Resolved) -> Iterator[str]:
        """That a picture from nothing is far from the model's own size, where so: things come out twice, or cut."""
        share = request.width * request.height / self.area
        helped = request.image or request.hires.factor > 1 or request.tiling.size is not None
        if not helped and not 1 / FAR <= share <= FAR:
            side = round(self.area**0.5)
            larger = "; hires paints a second time, larger, and tile in parts" if share > 1 else ""
            yield (
                f"{request.width}×{request.height} is far from the {side}×{side} pixels that {self.model.name} is at "
                f"home in{larger}."
            )

    def seeing(self, request: Resolved) -> Painter:
        """The same painter, whose networks see no more of a picture at once than the request's tile, or all of it."""
        tile = None if request.tiling.size is None else request.tiling.size // self.codec.factor
        tiling, other = tiles.Tiling(tile=tile, closing=request.tiling.panorama), copy.copy(self)
        other.codec, other.sees = tiles.Tiled(self.codec, tiling), partial(tiles.in_tiles, tiling=tiling)
        other._seen = tiling
        return other

    # ---------------------------------------------------------------------------------------------------------- text

    def encode(self, request: Resolved) -> EncodedPrompts:
        """What the prompts say, step by step; the latest are remembered."""
        steps = max(1, taken(request)[0])
        prompt, negative = (self.vocabulary.spelled(text)[0] for text in (request.prompt, request.negative))
        words = (
            self.prompt_styles.applied(prompt, request.style),
            negative,
            steps,
            request.text.emphasis,
            request.text.clip_skip,
        )

        def encoded() -> EncodedPrompts:
            with timed("prompts encoded"), self._shared.using(self._setup):
                found = encode_prompts(self._attached, *words)
            for cond in (cond for scene in found.scenes for cond in scene.conditionings):
                self.finite("the text encoder", cond.tokens)
            return found

        return self._encoded.get((*words, self._attached.files), encoded)

    def assemble(
        self, request: Resolved, points: Sequence[core.Point], *steps: Say, walked: Sequence[core.Point] = ()
    ) -> Denoise:
        """The guided estimate: the prompts composed, within the interval; where what is said changes over the steps, by
        the time asked, and in each region of the picture its own.

        Args:
            points: of the request's steps, by whose times what is said changes.
            steps: that add to what is said, before those of what is attached.
            walked: the points that a solver goes between, where those are others.
        """
        multiple, walked = max(1, self.multiple // self.codec.factor), walked or points
        parts = list[tuple[Shares, Denoise]]()
        for region in placed(request, self.prompt_styles):
            other = copy.copy(self)
            if region.alone:
                other.sees = lambda denoiser, of=region.shares: within(self.sees(denoiser), of, multiple)
                other._seen = None
            parts.append((region.shares, other._assembled(region.request, points, walked, steps)))
        return regional(self._assembled(request, points, walked, steps), parts)

    def _assembled(
        self, request: Resolved, points: Sequence[core.Point], walked: Sequence[core.Point], steps: Sequence[Say]
    ) -> Denoise:
        """The guided estimate without regions."""
        prompts = self.encode(request)
        say = (*steps, *(make(request) for make in self._attached.say))
        guided, shown, order = list[Denoise](), dict[tuple[int, ...], int](), list[int]()
        for step, scene in enumerate(prompts.steps):
            said = speaking(say, step, len(prompts.steps))
            key = (scene, *map(id, said))
            if key not in shown:
                shown[key] = len(guided)
                guided.append(self._guided(request, walked, prompts.scenes[scene], said))
            order.append(shown[key])
        return by_time(guided, order, points)

    def _guided(self, request: Resolved, points: Sequence[core.Point], scene: Scene, say: Sequence[Say]) -> Denoise:
        """x_0 = d(negative) + scale · sum_i w_i (d(term_i) - d(negative)), through the wrappers of guidance."""

        def at(scale: float, *more: Say) -> Denoise:
            terms, base = tuple((cond, scale * weight) for cond, weight in scene.terms), scene.base
            for step in (*say, *more):
                terms, base = step(terms, base)
            terms, base = [(cond.over(request.frames), w) for cond, w in terms], base.over(request.frames)
            return guide.compose(self._ask, terms, base)

        return guided(request, At(at, points))

    def _ask(self, x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        """The denoiser, as this picture has it, at once or together with those of other pictures."""

        def ask(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
            with self._shared.using(self._setup):
                return self.sees(self.denoiser)(x, t, cond)

        no_adapter = len(self._attached.on) == len(self._guiding)  # which is equal where it does the same
        shared = ENGINES[self.engine].steady and self._seen is not None and no_adapter
        alike = (self._seen, self._guiding)
        return together.asked(together.Question(ask, alike, x, t, cond, self._proof if shared else None))

    def abreast(self, request: Resolved) -> int:
        cells = request.frames * (request.width // self.codec.factor) * (request.height // self.codec.factor)
        return max(1, together.CELLS // (2 * cells)) if ENGINES[self.engine].steady else 1

    def learned(self, request: Resolved) -> bool:
        """Whether the steps take their variance of the network: DDPM's do, where it says one."""
        return request.sampling.solver == "ddpm" and isinstance(self.denoiser, LearnedVariance)

    def points(self, request: Resolved) -> tuple[core.Point, ...]:
        """The times visited, noise first, as points of the schedule."""
        times = schedules.spacing(request.sampling.spacing)(self.denoiser.schedule, request.sampling.steps)
        return core.points(self.denoiser.schedule, times)

    def walk(
        self,
        request: Resolved,
        points: Sequence[core.Point],
        x0: Tensor,
        denoise: Denoise,
        *,
        stage: str = "",
    ) -> Iterator[State]:
        """Noise a clean latent to the first point and sample from there to the last.

        Args:
            x0: (1, C, h, w) for all frames alike or (F, C, h, w); zeros for a picture from nothing.
            denoise: the estimate that is walked, such as `assemble` gives.
            stage: of a recipe that walks more than once, which draws noise of its own.
        """
        own, frames = request.variation, request.frames
        start = starting(
            request.seed, request.index, f"{stage}start", frames=frames,
            like="" if stage else own.like, other=own.seed, strength=own.strength,
        )  # fmt: skip
        noise = Noise.of(request.seed, [0 if own.strength else request.index], f"{stage}sample", frames=frames)
        x0 = x0.expand(request.frames, *x0.shape[1:])
        x = x0 * points[0].alpha + start(x0) * points[0].sigma
        solver = learned.LearnedDDPM() if self.learned(request) else solver_of(request)
        for state in core.sample(denoise, solver, points, x, noise):
            if not state.x0.isfinite().all() or not state.x.isfinite().all():
                raise NotFinite(f"step {state.step} of {state.steps}", self.precision)
            yield state

    def blank(self, request: Resolved) -> Tensor:
        """No picture yet: zeros (1, C, h, w)."""
        factor = self.codec.factor
        shape = (1, self.codec.channels, request.height // factor, request.width // factor)
        return torch.zeros(shape, device=self.device)

    def hashes(self, request: Resolved) -> dict[str, str]:
        own, refiner = super().hashes(request), request.refiner.model
        late: dict[str, str] = {}
        if refiner:
            late = self.sibling(refiner, request.computed).hashes(request.but(refiner=None))
        files = {f"adapter {Path(file).name}": library.digest(file) for file, _ in self._attached.files}
        return {**own, **{f"refiner {role}": sha256 for role, sha256 in late.items()}, **files}

    def finish(self, request: Resolved, frames: Iterable[Image.Image], notes: Sequence[str] = ()) -> Picture:
        picture, named = super().finish(request, frames, notes), self._attached.named
        return replace(picture, record={**picture.record, "hashes": named}) if named else picture

    def encode_image(self, image: Image.Image) -> Tensor:
        """An RGB picture as its most probable latent, (1, C, h, w)."""
        return self.encode_levels(self.levels(image))

    def encode_levels(self, levels: Tensor) -> Tensor:
        """(1, 3, H, W) in [-1, 1] as its most probable latent, (1, C, h, w)."""
        return self.finite("the picture's encoding", self.codec.encode(levels.to(self.device)))

    def decode(self, latent: Tensor) -> tuple[Image.Image, ...]:
        """A latent (F, C, h, w) as RGB frames, one by one: in the memory of one."""
        if self.device.type == "cpu" and latent.shape[-2:].numel() * self.codec.factor**2 >= LARGE:
            offload.give_back(*self.adapters.target.nets.values())
        frames = (self.codec.decode(frame) for frame in latent.split(1))
        return tuple(self.image(self.finite("decoding", frame)) for frame in frames)

    @torch.inference_mode()
    def preview(self, state: State) -> Image.Image:
        """What a step knows of the picture so far."""
        return self.image(self._preview.decode(state.x0[:1]).nan_to_num())


def _idle(request: Resolved, prompts: EncodedPrompts) -> Iterator[str]:
    """What a resolved request states without any effect, a sentence each."""
    scale = request.guidance.scale
    if request.negative and all(
        math.fsum(scale * weight for _, weight in scene.terms) == 1 for scene in prompts.scenes
    ):
        yield f"the negative prompt was ignored: at scale {scale:g} nothing guides away from it."
