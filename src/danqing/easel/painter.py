"""The painter: a model loaded and put together, from a Request to its Picture.

One picture depends on (recipe, seed, index) and the rest of its request alone: each is painted by itself, and every number of
noise is keyed by (seed, index, stage, step), so neither neighbours nor order nor previews can change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .. import guide, solve
from .. import schedule as schedules
from ..codec import Codec, Pixels, VAECodec
from ..denoise import SCORE_OF_SIGMA, Denoiser, LearnedVariance
from ..errors import InvalidFile, InvalidInput, UnknownName
from ..nets.autoencoder_kl import AutoencoderKL
from ..nets.pixel_unet import PixelUNet, ScoreUNet
from ..nets.unet import UNet
from ..prompt.grammar import parse, plan
from ..prompt.towers import Text
from ..run.device import device as find_device
from ..run.precision import precision as find_precision
from ..run.textcache import cached_text
from ..types import Conditioning, Denoise, State
from ..weights import store
from ..weights.load import load
from . import zoo
from .base import Easel, NotFinite
from .recipes import RECIPES, taken
from .request import Request, settled
from .tasks import NOTHING, TASKS, Beside
from .texts import heard
from .wear import Shelf, Worn, wearing

#: How many prompts a painter remembers in encoded form.
REMEMBERED = 16
#: The fields of a request that denoising uses: all but those of models that paint without it.
DENOISING = Request.model_fields.keys() - {"truncation", "mix", "mix_from", "other", "between", "to"}


class Scene(NamedTuple):
    """What is said in some steps: terms with their weights, and what guidance counts from."""

    terms: tuple[tuple[Conditioning, float], ...]
    base: Conditioning


class Spoken(NamedTuple):
    """The prompts of a picture: the different scenes, which of them each step shows, and what is to be said of them."""

    scenes: tuple[Scene, ...]
    steps: tuple[int, ...]
    warnings: tuple[str, ...]


class Painter(Easel):
    """A loaded model. Get one from `Painter.load`, which keeps the latest two.

    Args:
        model: the description it was loaded by.
        denoiser, codec, text: its networks, on ``device``.
        nets: those that LoRAs and learned words are made for, by role: "denoiser", "text", "text_2", "text_3".
        dtype: of the denoiser and the codec.
    """

    recipes = RECIPES

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
        self._worn = Worn(text)
        self._remembering = cached_text(denoiser.net)
        self._remembering.__enter__()  # for as long as the painter lives
        self._heard: dict[tuple[object, ...], Spoken] = {}

    @classmethod
    def load(cls, model: zoo.Given = zoo.DEFAULT, device: str | None = None, precision: str | None = None) -> Painter:
        """A model by name, folder or description, on a device, in a precision; the best of the machine where not given.

        Raises:
            UnknownName: no such model, device or precision. InvalidInput: it does not denoise; `danqing.easel.load` loads any model.
            InvalidFile: the folder's files are missing, damaged or foreign.
        """
        described = zoo.find(model)
        if described.core != "denoiser":
            raise InvalidInput(f"{described.name} paints without denoising; possible here is a model that denoises, such as {zoo.DEFAULT}")
        where = find_device(device)
        return _load(*described.stamped, where, find_precision(where, precision))

    def again(self, precision: str | None) -> Painter:
        return Painter.load(self.model.source, str(self.device), precision)

    def uses(self, request: Request) -> Collection[str]:
        return DENOISING

    def check(self, request: Request) -> None:
        if settled(request.clip_skip) > self.text.layers:
            given = f"clip_skip: {request.clip_skip} was given"
            raise InvalidInput(f"{given}; possible is 1 to {self.text.layers}, the layers of this text encoder")
        solver_of(request)

    @contextmanager
    def ready(self, request: Request) -> Iterator[None]:
        """What the prompts ask for is on within, and off after."""
        with wearing(request, self.shelf, self.text) as self._worn:
            try:
                yield
            finally:
                self._worn = Worn(self.text)

    def notes(self, request: Request) -> Iterator[str]:
        spoken = self.encode(request)
        return iter((*spoken.warnings, *self._worn.warnings, *super().notes(request), *_idle(request, spoken)))

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
            self._heard[key] = self._encode(*words)
        return self._heard[key]

    def _encode(self, prompt: str, negative: str, steps: int, emphasis: str, skip: int) -> Spoken:
        plans = plan(parse(prompt), steps), plan(parse(negative, compose=False), steps)
        said, unsaid = self._worn.text.condition(plans, skip=skip - 1, weighting=emphasis, applied=self._worn.tags)
        for run in (*said.runs, *unsaid.runs):
            for said_of, _ in run.terms:
                self.finite("the text encoder", said_of.tokens)
        scenes: dict[tuple[int, ...], tuple[int, Scene]] = {}  # by the identity of what is said: a text is encoded once
        order = []
        for step in range(1, steps + 1):
            scene = Scene(said.at(step), unsaid.at(step)[0][0])
            key = (*(id(heard) for heard, _ in scene.terms), id(scene.base))
            order.append(scenes.setdefault(key, (len(scenes), scene))[0])
        every = tuple(scene for _, scene in scenes.values())
        return Spoken(every, tuple(order), (*said.warnings, *unsaid.warnings))

    def assemble(self, request: Request, points: Sequence[solve.Point], beside: Beside = NOTHING) -> Denoise:
        """The guided estimate: the prompts composed, within the interval; where they change over the steps, by the time asked."""
        spoken = self.encode(request)
        guided = [self._guided(request, scene, beside) for scene in spoken.scenes]
        if len(guided) == 1:
            return guided[0]
        starts = [p.t for p in points]

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            now = float(t[0])
            step = max(0, sum(start >= now for start in starts[:-1]) - 1)
            return guided[spoken.steps[step]](x, t)

        return denoise

    def refined(self, request: Request, points: Sequence[solve.Point], beside: Beside = NOTHING) -> Denoise:
        """`assemble`, handed over to the refiner's estimate for the last steps, where the request names one.

        Both see the same noise levels, so the hand-over is a choice by time (Podell et al. 2023, section 2.5).

        Raises:
            InvalidInput: the refiner paints in other latents or on another schedule.
        """
        early = self.assemble(request, points, beside)
        if request.refiner is None:
            return early
        other = Painter.load(request.refiner, str(self.device), request.precision)
        fits = other.codec.channels == self.codec.channels and other.denoiser.schedule == self.denoiser.schedule
        if not fits or other.learned(request) != self.learned(request):
            possible = f"a model with the latents and the schedule of {self.model.name}"
            raise InvalidInput(f"refiner: {request.refiner} was given; possible is {possible}")
        late = other.assemble(request, points, other.beside(request))
        steps = len(points) - 1
        first = points[min(round(request.refiner_at * steps), steps)].t  # where the refiner begins

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return early(x, t) if float(t[0]) > first else late(x, t)

        return denoise

    def _guided(self, request: Request, scene: Scene, beside: Beside) -> Denoise:
        """x_0 = d(negative) + scale · sum_i w_i (d(term_i) - d(negative)); outside the interval the terms alone."""
        scale, (low, high) = settled(request.scale), settled(request.interval)

        def at(scale: float, rescale: float = 0.0) -> Denoise:
            terms, base = beside.guided(tuple((said, scale * weight) for said, weight in scene.terms), scene.base)
            compose = self._with_variance if self.learned(request) else partial(guide.compose, self.denoiser)
            return compose(terms, base, rescale=rescale)

        inside = at(scale, settled(request.rescale))
        return inside if (low, high) == (0, 1) else guide.interval(inside, at(1.0), low, high)

    def learned(self, request: Request) -> bool:
        """Whether the steps take their variance of the network: DDPM's do, where it says one."""
        return request.solver == "ddpm" and isinstance(self.denoiser, LearnedVariance)

    def _with_variance(self, terms: Sequence[tuple[Conditioning, float]], base: Conditioning, *, rescale: float) -> Denoise:
        """`guide.compose`, and beside it the variance of the last term: (B, 2 C, H, W), as `solve.LearnedDDPM` reads it.

        Guidance leads the mean alone, as in published samplers: extrapolated, a variance would leave its bounds.
        """
        denoiser = self.denoiser
        assert isinstance(denoiser, LearnedVariance)
        said: list[Tensor] = []

        def look(x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
            x0, v = denoiser.both(x, t, cond).chunk(2, dim=1)
            said[:] = [v]
            return x0

        guided = guide.compose(look, terms, base, rescale=rescale)
        return lambda x, t: torch.cat([guided(x, t), said[0][-len(x) :]], 1)

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
    ) -> Iterator[State]:
        """Noise a clean latent to the first point and sample from there to the last.

        Args:
            x0: (1, C, h, w); zeros for a picture from nothing.
            wrap: what is to stand between the guided estimate and the solver.
            beside: what the denoiser reads beside the latent.
        """
        noise = solve.Noise.of(settled(request.seed), [request.index])
        start = solve.Noise.of(settled(request.seed), [request.index], "start")
        x = x0 * points[0].alpha + start(x0) * points[0].sigma
        denoise, solver = self.refined(request, points, beside), solver_of(request)
        if self.learned(request):
            denoise, solver = _first_half(denoise, wrap), solve.LearnedDDPM()
        else:
            denoise = wrap(denoise)
        for state in solve.sample(denoise, solver, points, x, noise):
            if not state.x0.isfinite().all() or not state.x.isfinite().all():
                raise NotFinite(f"step {state.step} of {state.steps}", self.precision)
            yield state

    def beside(self, request: Request, picture: Image.Image | None = None, free: Tensor | None = None) -> Beside:
        """What the denoiser's task has it read beside the latent; the picture at the size painted, free (1, 1, h, w) of 0 and 1."""
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
        return self.image(self.codec.decode(state.x0[:1]).nan_to_num())


def _first_half(both: Denoise, wrap: Callable[[Denoise], Denoise]) -> Denoise:
    """An estimate and what stands beside it, (B, 2 C, H, W), of which the estimate alone is wrapped."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        x0, v = both(x, t).chunk(2, dim=1)
        return torch.cat([wrap(lambda x, t: x0)(x, t), v], 1)

    return denoise


def solver_of(request: Request) -> solve.Solver:
    """The solver of a resolved request; eta only where it is stated, for not every solver takes one."""
    name, eta = settled(request.solver), request.eta
    if eta is None:
        return solve.solver(name)
    try:
        return solve.solver(name, eta=eta)
    except InvalidInput:
        raise InvalidInput(f"eta: {eta:g} was given; the solver {name} takes none: leave eta out, or use ddim or dpmpp-2m") from None


def _idle(request: Request, spoken: Spoken) -> Iterator[str]:
    """What a resolved request states without any effect, a sentence each."""
    scale = settled(request.scale)
    if request.negative and all(math.fsum(scale * weight for _, weight in scene.terms) == 1 for scene in spoken.scenes):
        yield f"the negative prompt was ignored: at scale {scale:g} nothing guides away from it."
    if request.mask_blur and request.recipe != "inpaint":
        yield f"mask_blur {request.mask_blur} was ignored: {request.recipe} has no mask."


@lru_cache(maxsize=2)
def _load(source: Path, stamp: int, device: torch.device, dtype: torch.dtype) -> Painter:
    """Every part on the device; the text is encoded once a picture, in fp32 in every precision, so that all hear the same."""
    model = zoo.find(source)
    if model.task not in TASKS:
        raise UnknownName("task of a denoiser", model.task, TASKS)

    def part(role: str, dtype: torch.dtype) -> torch.nn.Module:
        component = model.components[role]
        path = model.path(component.file)
        config = component.config or None
        net = load(path, family=component.family, part=component.part or None, config=config, device=device, dtype=dtype)
        model.verify(role)  # afterwards, for what cannot be loaded at all has a better reason than another sum
        # CUDA's convolutions are written for this order; on processors the UNet's are a sixth slower in it.
        return net.to(memory_format=torch.channels_last) if device.type == "cuda" else net  # pyright: ignore[reportCallIssue]

    with store.at_hand(model.path(component.file) for component in model.components.values()):
        nets = {role: part(role, dtype if role in ("denoiser", "codec") else torch.float32) for role in model.components}
    codec = _codec(model, nets)
    text, net = heard(model, nets)
    return Painter(
        model=model,
        denoiser=_denoiser(model, net),
        codec=codec,
        text=text,
        nets={role: net for role, net in nets.items() if role != "codec"},
        device=device,
        dtype=dtype,
    )


def _codec(model: zoo.Model, nets: Mapping[str, torch.nn.Module]) -> Codec:
    """That of the model's autoencoder; a network of pixels needs none."""
    vae, net = nets.get("codec"), nets["denoiser"]
    if isinstance(vae, AutoencoderKL):
        return VAECodec(vae)
    if vae is not None or not isinstance(net, PixelUNet):
        raise InvalidFile(f"{model.source}: the codec must be an autoencoder-kl")
    if net.config.in_channels != Pixels.channels:
        raise InvalidFile(f"{model.source}: pictures have {Pixels.channels} channels, and its denoiser reads {net.config.in_channels}")
    return Pixels()


def _denoiser(model: zoo.Model, net: torch.nn.Module) -> Denoiser:
    """What the network's answer means: of twice the channels that it reads the second half is a variance."""
    if "kind" not in model.schedule:
        raise InvalidFile(f"{model.source} states no schedule: one with a kind, such as cosine, is what its denoiser was trained on")
    schedule, prediction = schedules.schedule(**model.schedule), model.prediction or prediction_of(net)
    if isinstance(net, ScoreUNet) != (prediction == "score") and isinstance(net, PixelUNet):
        what = f"a {type(net).__name__} does not predict {prediction}"
        raise InvalidFile(f"{model.source}: {what}: a score-unet predicts score, no other does")
    if not isinstance(net, PixelUNet):
        return Denoiser(net, schedule, prediction)
    kind = LearnedVariance if net.config.out_channels == 2 * net.config.in_channels else Denoiser
    return kind(net, schedule, SCORE_OF_SIGMA if isinstance(net, ScoreUNet) else prediction)


@torch.inference_mode()
def prediction_of(net: torch.nn.Module) -> str:
    """What a UNet's output means, where no file says: asked of pure noise of 0.5, one that predicts v turns it around,
    v = alpha eps - sigma x_0 with alpha near 0, so that its mean lies far below its input's; one that predicts eps gives it back."""
    if not isinstance(net, UNet):
        raise InvalidFile("its description does not say what the denoiser predicts: state prediction, as eps, v or flow")
    one = next(net.parameters())
    half = one.new_full((1, net.config.in_channels, 8, 8), 0.5)
    tokens = one.new_full((1, 77, net.config.cross_attention_dim), 0.5)
    out = net(half, torch.full((1,), 999.0, device=one.device), tokens)
    return "v" if float((out.float() - half[:, : out.shape[1]].float()).mean()) < -1 else "eps"
