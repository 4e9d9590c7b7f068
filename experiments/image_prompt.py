"""An IP-Adapter for danqing-mini: pictures as prompts, seen through the image tower that ships beside the judge.

    danqing learn experiments/image_prompt.py --set data=data
    danqing learn experiments/image_prompt.py --set data=data --export zoo/mini/danqing_models/ipadapter

The painter stands still. Learned is how its attentions to the text read a picture (Ye et al. 2023), and what a picture
adds to the text's summary, from which the painter drafts. The tower puts pictures where the text tower puts words, so
what is added begins as the best line between the two. Attention begins with the text's keys and no values.
Half of the captions are left out, so that the picture must be read, and a tenth of the pictures, for guidance.

The picture's own latent is the draft that is painted about. While it learns, it is that of the picture a little turned,
moved and stretched, so that what is painted resembles the picture and repeats no line of it; and half of the pictures
count for less than all, for the rest the text's draft.

Two losses: that of the painter, and how far the summary that a picture makes of no words is from its caption's, which
costs next to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from danqing import installed
from danqing.codec import VAECodec
from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.learn.data.order import Order
from danqing.learn.objectives.denoising import Denoising
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.levels import bytes_of, from_arrays
from danqing.measure import tower as towers
from danqing.measure.tower import Tower
from danqing.nets import clip
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.nets.drafted import Drawn, Share, share_names
from danqing.nets.image_projections import Summary
from danqing.nets.ip_adapter import Branch, IPAdapter, IPAdapterConfig, places
from danqing.noise import Noise, keyed
from danqing.schedule import sgm_uniform
from danqing.solve.core import points, sample
from danqing.solve.solvers import solver
from danqing.store.shipped import DEFAULT
from danqing.teach.adapters.shown import begun, keys_of
from danqing.types import Conditioning
from danqing.vision import tower
from danqing.weights import store
from danqing.weights.store import sha256
from experiments import cards
from experiments.art import ledger
from experiments.captions import canonical
from experiments.clip import cut, encode_texts
from experiments.common import DATA, RUNS, averaged, fast, grid
from experiments.latents import shipped
from experiments.painter import SCHEDULE, TIMES

NAME = "image prompt"
#: What the adapter is called among the models.
FILE = "danqing-mini-image-prompt.safetensors"
#: The part of captions and of pictures that are left out.
UNSAID, UNSEEN = 0.5, 0.1
#: Of how many pictures a step aligns the summaries; how far each is moved before, for pictures that are kept apart lie
#: further from their captions than those the tower has learned; and how much that loss counts.
ALIGNED, MOVED, WEIGHT = 512, 0.15, 0.5
#: How much pictures are turned, moved and stretched before they are drafts; the least that one of those counts that
#: count for less than all.
NUDGED, LEAST = 0.015, 0.6
#: How many pictures kept apart are measured, and shown.
MEASURED, SHOWN = 64, 8

WORDS = cards.Words(
    summary="pictures as prompts",
    about="""Has danqing-mini read pictures beside words, `danqing paint --image-prompt fox.png`: an IP-Adapter that is
told of a picture by the image tower beside the judge, also adds to the text's summary, from which the model drafts,
and makes of the picture's latent the draft itself.""",
    limits="""It knows drawings of single subjects on plain grounds, as its tower does. Because the picture is the
draft, what is painted has its outline and its colours, and words change little of it unless it weighs little. It is
made for one painter, one image tower and one text tower: when one of these is trained anew, so is this.""",
)
PAIRS = f"""Kept apart are pairs of a subject and a style that are in no training, {MEASURED} of them, whose subject the
judge has a word for, of 1,914. What is painted from the picture alone, without any word, from its caption alone, and
from nothing, is painted in 12 steps at guidance 3; "real" is what the judge says of the pictures themselves, and
"autoencoder" what it says of them encoded and decoded. Values are percentages, of the judge's first word or of its
first five; a distance is the root of the mean square between what is painted and the picture, in levels from 0 to 1."""


class Prompted(nn.Module):
    """A denoiser that stands still, and the adapter through which it sees pictures.

    Args:
        denoiser: whose attentions get branches, and whose draft a share.
        adapter: reads the tower's summary, and makes drafts.
    """

    def __init__(self, denoiser: Denoiser, adapter: IPAdapter):
        super().__init__()
        self.adapter = adapter
        denoiser.net.get_submodule("shares").add_module(NAME, Drawn(NAME))
        self._denoiser = (denoiser,)  # no part of what is learned, averaged and saved

    @property
    def denoiser(self) -> Denoiser:
        return self._denoiser[0]

    def shown(self, said: Conditioning, pictures: Tensor, latents: Tensor, weight: Tensor) -> Conditioning:
        """Have every attention read pictures, what the tower sees of them (B, S), and the draft their latents (B, C, S,
        S): what is said, with them, each counted so much, (B, 1)."""
        attend(self.denoiser.net, self.adapter, NAME, self.adapter(pictures), weight[:, :, None])
        added, pooled = self.adapter.image_proj.summary(pictures), said.pooled
        if pooled is not None and added is not None:
            pooled = pooled + weight * added
        extra, draft = {NAME: torch.arange(len(pictures))}, self.adapter.image_proj.draft(latents)
        if draft is not None:
            share = Share(weight[:, :, None, None] * torch.ones_like(draft[:, :1]), draft)
            extra |= dict(zip(share_names(NAME), share, strict=True))
        return Conditioning(tokens=said.tokens, pooled=pooled, extra=extra)


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Args:
        x0: latents (B, 8, 16, 16).
        said, seen: what is said of them, and what the tower sees of them, (B, S).
        drawn: latents of the pictures as they are drafts, like x0.
        weight: how much each counts, (B, 1); 0 where none is shown.
        apart: what it sees of other pictures, (A, S), moved.
        missing: what their captions' summaries have beyond that of no words, (A, P).
    """

    x0: Tensor
    said: Conditioning
    seen: Tensor
    drawn: Tensor
    weight: Tensor
    apart: Tensor
    missing: Tensor


def seeing(model: nn.Module, batch: Batch, noise: torch.Generator) -> dict[str, Tensor]:
    """The denoising loss, and how far what pictures add to the summary is from what their captions do, of its variance;
    minimised is the sum."""
    assert isinstance(model, Prompted)
    cond = model.shown(batch.said, batch.seen, batch.drawn, batch.weight)
    painted = Denoising(times=TIMES)(model.denoiser, (batch.x0, cond), noise)["loss"]
    added = model.adapter.image_proj.summary(batch.apart)
    if added is None:
        return {"loss": painted}
    away = (added - batch.missing).square().mean() / batch.missing.var(0).mean()
    return {"loss": painted + WEIGHT * away, "painted": painted.detach(), "away": away.detach()}


def line(seen: Tensor, missing: Tensor) -> Tensor:
    """The matrix A, (P, S), by which ``A s`` is nearest what is missing, in the mean of squares, each s moved as
    `moved` does: ridge regression (Bishop 1995, "Training with noise is equivalent to Tikhonov regularization").

    Args:
        seen: (N, S); missing: (N, P).
    """
    moved = len(seen) * MOVED**2 / seen.shape[1] * torch.eye(seen.shape[1])
    return torch.linalg.solve(seen.mT @ seen + moved, seen.mT @ missing).mT


def adapter(net: nn.Module, seen: int, skip: Tensor | None = None, inner: int = 1024, drawn: int = 0) -> IPAdapter:
    """For a network, at its beginning: keys are those of the text, and values nothing, so that attention adds nothing.

    Args:
        seen: S of what the tower sees.
        skip: (P, S), what it begins to add to the text's summary; None for nothing, ever.
        inner: of the hidden layer of what it learns to add.
        drawn: C of the latents that it makes drafts of; 0 for none.
    """
    keys = keys_of(net)
    config = IPAdapterConfig(tokens=4, width=keys[0].shape[1], seen=seen, layers=tuple(len(key) for key in keys))
    if skip is not None:
        config = replace(config, kind="summary", summary=len(skip), inner=inner, drawn=drawn)
    made = begun(config, keys)
    if skip is not None and isinstance(made.image_proj, Summary):
        nn.init.zeros_(made.image_proj.down.weight)
        made.image_proj.skip.weight.data.copy_(skip)
    return made


def attend(net: nn.Module, adapter: IPAdapter, name: str, tokens: Tensor, weight: float | Tensor) -> None:
    """Have every attention of a UNet read tokens (B, N, D), counted so much, or each so much, (B, 1, 1)."""
    for i, layer in enumerate(places(net).values()):
        keys, values = adapter.keys_values(tokens, i)
        layer.branches[name] = Branch(name, keys, weight * values, layer.heads)


@dataclass(frozen=True)
class Art:
    """Pictures of single subjects, what the tower sees of them, and their captions.

    Args:
        rows: of the ledger.
        latents, pictures, seen: of each row.
    """

    rows: list[dict[str, Any]]
    latents: np.ndarray
    pictures: np.ndarray
    seen: Tensor


@dataclass(frozen=True, kw_only=True)
class ImagePrompts(Experiment):
    """Have danqing-mini read pictures."""

    steps: Count = 450
    batch: Count = 16
    rate: Annotated[float, Field(gt=0)] = 1e-3
    average: float = 0.97
    data: Path = DATA
    #: By its name or folder; the image tower must be matched to it.
    model: str = DEFAULT
    #: Where what the tower sees is kept, so that a run that resumes need not look again.
    kept: Free[Path] = RUNS / "image_prompt" / "seen.safetensors"

    @cached_property
    def tower(self) -> Tower:
        return towers.load(model=self.model)

    @cached_property
    def text(self) -> clip.CLIPText:
        return cast(clip.CLIPText, shipped("text", self.model))

    @cached_property
    def pictures(self) -> np.ndarray:
        """Of every single, (N, 128, 128, 3) of bytes."""
        return np.load(self.data / "singles.npy", mmap_mode="r")

    def summaries(self, texts: list[str]) -> Tensor:
        """Those of texts, (N, P), cut to the longest: the text tower is causal, so what follows says nothing."""
        ids = cut(encode_texts(self.tower.tokenizer, texts), self.tower.tokenizer)
        with torch.no_grad():
            return torch.cat([self.text(part).pooled.float() for part in ids.split(256)])

    @cached_property
    def seen(self) -> Tensor:
        """What the tower sees of every single, (N, S)."""
        by = sha256(tower_file())
        if self.kept.is_file() and store.header(self.kept).metadata.get("tower") == by:
            return dict(store.each(self.kept))["seen"].float()
        parts = (torch.from_numpy(self.pictures[i : i + 256]).movedim(-1, 1) for i in range(0, len(self.pictures), 256))
        found = torch.cat([self.tower.pictures(part) for part in parts])
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        store.write(self.kept, {"seen": found}, {"tower": by})
        return found

    def said(self, texts: list[str]) -> Conditioning:
        """What the painter is told by texts."""
        with torch.no_grad():
            found = self.text(encode_texts(self.tower.tokenizer, texts))
        return Conditioning(tokens=found.tokens.float(), pooled=found.pooled.float())

    def art(self, split: str, count: int | None = None) -> Art:
        """Those of a split, or some of them that the judge has a word for."""
        rows = ledger(self.data, ("singles",), split)
        if count is not None:
            words = set(self.tower.judge.words["subject"])
            rows = random.Random(0).sample([row for row in rows if row["subject"] in words], count)
        index = [row["index"] for row in rows]
        latents = np.load(self.data / "latents-singles.npy", mmap_mode="r")
        return Art(rows, latents[index], self.pictures[index] if count else np.empty(0), self.seen[index])

    @cached_property
    def codec(self) -> VAECodec:
        return VAECodec(cast(AutoencoderKL, shipped("codec", self.model)))

    @torch.no_grad()
    def drafts(self, pictures: np.ndarray, draw: torch.Generator) -> Tensor:
        """Latents of pictures (N, H, W, 3), each a little turned, moved and stretched."""
        levels = from_arrays(pictures)
        turn, scale = (NUDGED * torch.randn(len(levels), n, generator=draw) for n in (1, 2))
        theta = torch.zeros(len(levels), 2, 3)
        theta[:, :, :2] = torch.diag_embed(1 + scale) + turn[:, :, None] * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        theta[:, :, 2] = NUDGED * torch.randn(len(levels), 2, generator=draw)
        where = F.affine_grid(theta, list(levels.shape), align_corners=False)
        with fast(torch.device("cpu")):
            return self.codec.encode(F.grid_sample(levels, where, align_corners=False, padding_mode="border")).float()

    def training(self) -> Training:
        torch.manual_seed(0)
        net = shipped("denoiser", self.model)
        art, denoiser = self.art("train"), Denoiser(net, SCHEDULE, "flow").requires_grad_(False)
        texts = [canonical(row, "en") for row in art.rows]
        missing = self.summaries(texts) - self.summaries([""])
        index, channels = [row["index"] for row in art.rows], art.latents.shape[1]
        model = Prompted(denoiser, adapter(net, art.seen.shape[1], line(art.seen, missing), drawn=channels))
        orders = Order(len(texts), self.batch, "image prompt"), Order(len(texts), ALIGNED, "aligned")

        def batch(step: int) -> Batch:
            (items, others), draw = (order(step) for order in orders), keyed("image prompt", step)
            said = torch.rand(len(items), generator=draw) >= UNSAID
            seen = torch.rand(len(items), 1, generator=draw) >= UNSEEN
            weight = torch.where(torch.rand(len(items), 1, generator=draw) < 0.5, 1.0, some(len(items), draw)) * seen
            told = [texts[i] if told else "" for i, told in zip(items.tolist(), said.tolist(), strict=True)]
            x0 = torch.from_numpy(art.latents[items.numpy()]).float()
            drawn = self.drafts(self.pictures[[index[i] for i in items.tolist()]], draw)
            shown, apart = moved(art.seen[items], draw) * seen, moved(art.seen[others], draw)
            return Batch(x0, self.said(told), shown, drawn, weight, apart, missing[others])

        return Training(
            model=model,
            objective=seeing,
            batches=batch,
            optimisers={"loss": torch.optim.AdamW(model.adapter.parameters(), self.rate, weight_decay=0.1)},
            rate=Trapezoid(50, self.steps, self.steps // 2),
            ema=EMA(model, self.average),
            autocast=lambda: fast(torch.device("cpu")),
        )

    def painted(self, model: Prompted, art: Art, weight: float, texts: list[str]) -> Tensor:
        """Bytes (N, 3, H, W) of pictures painted in 12 steps at guidance 3, what the tower sees counted so much."""
        count, noise = len(art.rows), Noise.of(7, range(len(art.rows)))
        visited = points(SCHEDULE, sgm_uniform(SCHEDULE, 12))
        x = noise(torch.empty(count, 8, 16, 16)) * visited[0].sigma
        with torch.inference_mode(), fast(torch.device("cpu")):
            nothing = torch.zeros(1, art.seen.shape[1])
            latents = torch.from_numpy(art.latents).float()
            weights = torch.tensor([[0.0], *([weight] for _ in range(count))])
            said, seen = self.said(["", *texts]), torch.cat([nothing, art.seen])
            every = model.shown(said, seen, torch.cat([torch.zeros_like(latents[:1]), latents]), weights)
            cond, base = every.map(lambda part: part[1:]), every.map(lambda part: part[:1]).expand(count)
            for state in sample(compose(model.denoiser, [(cond, 3.0)], base), solver("dpmpp-2m"), visited, x, noise):
                x = state.x
        return self.decoded(x.float())

    @torch.inference_mode()
    def decoded(self, latents: Tensor) -> Tensor:
        """Bytes (N, 3, H, W)."""
        with fast(torch.device("cpu")):
            return torch.cat([bytes_of(self.codec.decode(part)) for part in latents.split(16)])

    def evaluate(self, run: Training) -> Mapping[str, float]:
        """How often the judge recognises a subject kept apart, by its first word and by its first five, and a style, in
        percent: in the pictures themselves, through the autoencoder, in what is painted from them alone, from their
        captions, and from nothing; and how far these are from the pictures."""
        model, art = averaged(run, Prompted), self.art("heldout_pair", MEASURED)
        silent, captions = [""] * len(art.rows), [canonical(row, "en") for row in art.rows]
        shown = {
            "real": torch.from_numpy(art.pictures).movedim(-1, 1),
            "autoencoder": self.decoded(torch.from_numpy(art.latents).float()),
            "picture alone": self.painted(model, art, 1.0, silent),
            "caption alone": self.painted(model, art, 0.0, captions),
            "nothing": self.painted(model, art, 0.0, silent),
        }
        found: dict[str, float] = {}
        for name, pictures in shown.items():
            answers = self.tower.judge.answers(pictures)
            for question, among in (("subject", 1), ("subject", 5), ("style", 1)):
                right = answers.right(question, [row[question] for row in art.rows], among)
                found[f"{question}, of {among}, {name}"] = 100 * float(right.float().mean())
            found[f"distance, {name}"] = distance(pictures, shown["real"])
        return found

    def samples(self, run: Training) -> Image.Image:
        """Pictures kept apart, what is painted from each alone, and with words beside."""
        model, art = averaged(run, Prompted), self.art("heldout_pair", SHOWN)
        alone, beside = (self.painted(model, art, 1.0, [text] * SHOWN) for text in ("", "on a light blue background"))
        rows = [art.pictures, *(pictures.movedim(1, -1).numpy() for pictures in (alone, beside))]
        return grid(np.concatenate(rows), SHOWN)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged adapter with its card."""
        cards.write_network(
            folder,
            run,
            core_hours,
            name=Path(FILE).stem,
            file=FILE,
            net=averaged(run, Prompted).adapter,
            words=WORDS,
            rows=self.art("train").rows,
            batch=self.batch,
            metrics=self.evaluate(run),
            data=PAIRS,
        )


def moved(seen: Tensor, draw: torch.Generator) -> Tensor:
    """Unit vectors (N, S), each moved by about `MOVED`, of length 1 again."""
    noise = torch.randn(seen.shape, generator=draw) / seen.shape[1] ** 0.5
    return F.normalize(seen + MOVED * noise, dim=1)


def some(count: int, draw: torch.Generator) -> Tensor:
    """Weights from `LEAST` to 1, (N, 1)."""
    return LEAST + (1 - LEAST) * torch.rand(count, 1, generator=draw)


def distance(pictures: Tensor, others: Tensor) -> float:
    """The root of the mean of squares of levels in [0, 1], the mean over pictures, bytes (N, 3, H, W)."""
    return float(((pictures.float() - others.float()) / 255).square().mean((1, 2, 3)).sqrt().mean())


def tower_file() -> Path:
    """That of the tower that ships."""
    return installed.require(tower.FOLDER, tower.TOWER)
