"""What the trainings of adapters have in common; each kind says the rest in a file of its own."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from ...adapt.base import Detach
from ...learn.data.buckets import Size, sizes
from ...learn.objectives.denoising import Denoising
from ...learn.objectives.draws import logit_normal, uniform
from ...learn.training.experiment import Count, Experiment, Free, settings
from ...learn.training.loop import EMA, Training, Trapezoid
from ...levels import to_arrays
from ...pictures.grid import labelled
from ...run.precision import scaler
from ...store.shipped import DEFAULT
from ...types import Conditioning
from ..base import Above, Decay
from .batches import Batch, Batches, Item
from .captioned import Captioned
from .frozen import Frozen
from .table import ADAPTERS

TIMES = {"uniform": uniform, "logit-normal": logit_normal}
#: How many prompts a sheet shows, and by which seed.
SHOWN, SEED = 4, 7
#: Sides whose buckets' sizes differ by so many pixels at least.
STEP = 64


@dataclass(frozen=True, kw_only=True)
class OwnAdapter(Experiment):
    """Something that attaches to a model learns what lies in a folder, while the model stands still.

    The loss is the model's own. Latents are computed once, and so are texts where no text tower learns. The rate stays
    as it is and averaged weights are exported, so a run that has come to its end goes on when ``steps`` grows.

    Args:
        folder: the pictures, each with a .txt of its name beside it that says what it shows.
        model: by name, folder or file.
        caption: of pictures that have none; the folder's name where not given.
        prompts: of the sheets of samples; captions of the folder where not given.
        size: side of the square whose area the pictures have at most, in pixels; the model's own where it is 0.
        ratios: how much wider or taller than a square a picture may be; one for models that have learned squares alone.
        batch: pictures a step.
        rate: AdamW's.
        decay: of the weights, AdamW's.
        average: decay of the averaged weights, a step.
        mirror: show half of the pictures mirrored left to right.
        unsaid: the share of captions that are left out, so that guidance has something to count from.
        prior: what the model shall go on painting as it did, "a dog": pictures of it that it paints before are learned
            beside (Ruiz et al. 2022, DreamBooth, section 3.3).
        prior_pictures: how many.
        prior_weight: of their loss.
        times: at which noise levels it learns.
        recompute: compute activations again in the backward pass, for the memory of large models.
        precision: of the model that stands still; the machine's fast one where not given.
        seed: of the first weights and of all that is drawn.
    """

    KIND: ClassVar[str]

    steps: Free[Count] = 400
    log_every: Free[Count] = 10
    sample_every: Free[Count] = 200
    folder: Free[Path] = Path("pictures")
    model: str = DEFAULT
    caption: str = ""
    prompts: Free[tuple[str, ...]] = ()
    size: Annotated[int, Field(ge=0)] = 0
    ratios: Annotated[float, Field(ge=1, le=4)] = 2.0
    batch: Count = 8
    rate: Above = 1e-3
    decay: Annotated[float, Field(ge=0)] = 0.01
    average: Decay = 0.98
    mirror: bool = False
    unsaid: Annotated[float, Field(ge=0, lt=1)] = 0.1
    prior: str = ""
    prior_pictures: Count = 16
    prior_weight: Annotated[float, Field(ge=0)] = 1.0
    times: Literal["uniform", "logit-normal"] = "uniform"
    recompute: bool = False
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    seed: int = 0

    # ------------------------------------------------------------------------------------------------ of each kind

    @abstractmethod
    def made(self) -> nn.Module:
        """What learns, at its beginning, torch being seeded."""

    @abstractmethod
    def put_on(self, learned: nn.Module) -> Detach:
        """Have the model that stands still feel it."""

    @abstractmethod
    def write(self, learned: nn.Module, folder: Path, said: Mapping[str, str]) -> Path:
        """Its file in a folder, which has the adapter's name; ``said`` is what the file says of itself."""

    @property
    def texts_learn(self) -> bool:
        """Whether what texts say changes while it learns."""
        return False

    def optimiser(self, learned: nn.Module) -> torch.optim.Optimizer:
        """What learns it."""
        return torch.optim.AdamW(list(self.parameters(learned)), self.rate, weight_decay=self.decay, fused=True)

    def parameters(self, learned: nn.Module) -> Iterable[dict[str, Any]]:
        """The groups of AdamW."""
        return [{"params": list(learned.parameters())}]

    def more(self, items: Sequence[Item]) -> Mapping[str, Tensor]:
        """What lies over pictures beside their captions, the `Conditioning.maps` of each."""
        return {}

    def beside(self, told: Conditioning, items: Sequence[Item], draw: torch.Generator | None) -> Conditioning:
        """What is said of pictures, with what this kind says beside; of none, for guidance, once.

        Args:
            draw: of what is left out while it learns; None where nothing is.
        """
        return told

    def spelled(self, text: str) -> str:
        """A caption as the model is told it."""
        return text

    # ------------------------------------------------------------------------------------------ the model, the folder

    @cached_property
    def frozen(self) -> Frozen:
        """The model."""
        return Frozen.of(self.model, precision=self.precision, recompute=self.recompute)

    @cached_property
    def own(self) -> Captioned:
        """What it learns from."""
        side, multiple = self.size or self.frozen.side, self.frozen.model.multiple
        step = multiple * max(1, STEP // multiple) if side >= 4 * STEP else multiple
        widest = 1.0 if self.frozen.square else self.ratios
        among = sizes(side, step if widest > 1 else side, widest)
        least = ADAPTERS[self.KIND].least
        return Captioned.load(self.folder, among, caption=self.caption, kind=self.KIND, least=least)

    @property
    def name(self) -> str:
        """What the adapter is called."""
        return self.own.folder

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The prompts of the sheets."""
        return (self.prompts or tuple(dict.fromkeys(self.own.captions)))[:SHOWN]

    @cached_property
    def batches(self) -> Batches:
        """What the steps see."""
        return Batches(
            own=self.own,
            frozen=self.frozen,
            prior=self._before,
            batch=self.batch,
            unsaid=self.unsaid,
            mirror=self.mirror,
            seed=self.seed,
        )

    @cached_property
    def _before(self) -> Tensor | None:
        """Latents of the prior, painted before anything was learned, (N, C, h, w)."""
        if not self.prior:
            return None
        with self.wearing(None):
            seeds = range(self.seed, self.seed + self.prior_pictures)
            said, base = (together(self.said([text]), {}) for text in (self.prior, ""))
            return torch.cat([self.frozen.painted([said], base, self._size, seed) for seed in seeds])

    @cached_property
    def _said(self) -> dict[str, Conditioning]:
        """What texts say that stay as they are, each encoded once."""
        texts = list(
            dict.fromkeys(map(self.spelled, ("", *self.own.captions, *self.shown, *filter(None, [self.prior]))))
        )
        with torch.no_grad():
            return dict(zip(texts, self.frozen.said(texts), strict=True))

    def said(self, texts: Sequence[str]) -> list[Conditioning]:
        """What texts say by now."""
        spelled = [self.spelled(text) for text in texts]
        if self.texts_learn:
            return self.frozen.said(spelled)
        return [self._said[text] for text in spelled]

    # --------------------------------------------------------------------------------------------------- the training

    def binding(self) -> dict[str, Any]:
        return {"adapter": self.KIND, **settings(self, fixed=True), "pictures": self.own.identity}

    def training(self) -> Training:
        self._wear(None)
        _ = self.batches.latents  # what is refused is so before anything is made
        torch.manual_seed(self.seed)
        learned = self.made()
        self._wear(learned)
        return Training(
            model=learned,
            objective=self.loss,
            batches=self.batches,
            optimisers={"loss": self.optimiser(learned)},
            rate=Trapezoid(20),
            seed=self.seed,
            ema=EMA(learned, self.average),
            scaler=scaler(self.frozen.where),
            notes=self.own.notes,
        )

    def loss(self, model: nn.Module, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
        """The denoising loss of the folder's pictures, and ``prior_weight`` times that of the prior's."""
        denoising, denoiser = Denoising(times=TIMES[self.times]), self.frozen.denoiser
        told = self.beside(together(self.said(batch.texts), self.more(batch.items)), batch.items, noise)
        found = {"loss": denoising(denoiser, (batch.x0, told), noise)["loss"]}
        if batch.prior is not None:
            before = together(self.said([self.prior]), {}).expand(len(batch.prior))
            found["prior"] = denoising(denoiser, (batch.prior, before), noise)["loss"]
            found["loss"] = found["loss"] + self.prior_weight * found["prior"]
        return found

    # ------------------------------------------------------------------------------------------------- what it shows

    @cached_property
    def _on(self) -> list[tuple[nn.Module, Detach]]:
        """What the model feels by now, one or none."""
        return []

    def _wear(self, learned: nn.Module | None) -> None:
        while self._on:
            self._on.pop()[1]()
        if learned is not None:
            self._on.append((learned, self.put_on(learned)))

    @contextmanager
    def wearing(self, learned: nn.Module | None) -> Iterator[None]:
        """Within the context the model feels this alone, and after it what it felt before."""
        before = self._on[0][0] if self._on else None
        self._wear(learned)
        try:
            yield
        finally:
            self._wear(before)

    @property
    def _size(self) -> Size:
        """Of the folder's first picture."""
        height, width = self.own.pictures[0].shape[:2]
        return width, height

    @torch.no_grad()
    def _painted(self, texts: Sequence[str], seed: int = SEED) -> Tensor:
        maps = self.hinted
        told = [together([cond], {k: v[i : i + 1] for k, v in maps.items()}) for i, cond in enumerate(self.said(texts))]
        told = [self.beside(each, [(i % len(self.own.pictures), False)], None) for i, each in enumerate(told)]
        base = self.beside(together(self.said([""]), {}), [], None).expand(len(texts))
        return self.frozen.painted(told, replace(base, maps=maps), self._size, seed)

    def sheet(self, learned: nn.Module | None) -> list[Image.Image]:
        """What the model paints of the prompts with an adapter or without."""
        with self.wearing(learned):
            return [Image.fromarray(p) for p in to_arrays(self.frozen.decoded(self._painted(self.shown)))]

    @property
    def hinted(self) -> Mapping[str, Tensor]:
        """What lies over the pictures of a sheet."""
        return {}

    @property
    def above(self) -> list[Image.Image]:
        """The first row of a sheet."""
        pictures = self.own.pictures
        return [Image.fromarray(pictures[i % len(pictures)]) for i in range(len(self.shown))]

    @cached_property
    def _untouched(self) -> list[Image.Image]:
        return self.sheet(None)

    def samples(self, run: Training) -> Image.Image:
        """Pictures of the folder, and under each prompt what the model paints without the adapter and with it."""
        assert run.ema is not None
        rows = [self.above, self._untouched, self.sheet(run.ema.model)]
        down = (self.own.folder, "without", f"after {run.step} steps")
        return labelled([picture for row in rows for picture in row], self.shown, down)[0]

    def usage(self) -> dict[str, str]:
        """What the command that paints with it is filled in with."""
        words = [self.model, *(("--style", "none") if self.frozen.model.text.get("styles") else ())]
        said = {"name": self.name, "caption": self.spelled(self.shown[0]).replace('"', "'")}
        return {**said, "model": shlex.join(words), "picture": shlex.quote(str(self.own.files[0]))}

    def file(self, run: Training, folder: Path) -> Path:
        """Write the averaged adapter into a folder: its file."""
        assert run.ema is not None
        said = {"ss_sd_model_name": self.frozen.model.name, "ss_steps": str(run.step), "danqing.adapter": self.KIND}
        return self.write(run.ema.model, folder, said)


def together(said: Sequence[Conditioning], maps: Mapping[str, Tensor]) -> Conditioning:
    """What is said of several pictures, with what lies over them."""
    first, *rest = said
    whole = first.cat(*rest) if rest else first
    return Conditioning(tokens=whole.tokens, pooled=whole.pooled, extra=whole.extra, maps=maps)
