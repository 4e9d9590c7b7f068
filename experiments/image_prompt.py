"""An IP-Adapter for danqing-mini: pictures as prompts, seen through the image tower that ships beside the judge.

    danqing learn experiments/image_prompt.py --set data=data

The painter stands still; learned is how its attentions to the text read a picture (Ye et al. 2023). The tower puts
pictures where the text tower puts words, so keys and values begin as those of the text. Half of the captions are left
out, so that the picture must be read, and a tenth of the pictures, for guidance.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from danqing.adapt.base import layers
from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.learn.data.order import Order
from danqing.learn.objectives.denoising import Denoising
from danqing.learn.training.experiment import Count, Experiment
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.levels import to_arrays
from danqing.measure import tower as towers
from danqing.measure.tower import Tower
from danqing.nets import clip
from danqing.nets.autoencoder_kl import AutoencoderKL
from danqing.nets.ip_adapter import Branch, IPAdapter, IPAdapterConfig, places
from danqing.noise import Noise, keyed
from danqing.schedule import sgm_uniform
from danqing.solve.core import points, sample
from danqing.solve.solvers import solver
from danqing.types import Conditioning
from danqing.weights.load import save
from experiments.art import ledger
from experiments.captions import canonical
from experiments.clip import encode_texts
from experiments.common import DATA, averaged, fast, grid
from experiments.latents import shipped
from experiments.painter import SCHEDULE, TIMES

NAME = "image prompt"
#: The part of captions and of pictures that are left out.
UNSAID, UNSEEN = 0.5, 0.1
#: How many pictures kept apart are measured, and shown.
MEASURED, SHOWN = 256, 8


class Prompted(nn.Module):
    """A denoiser that stands still, and the adapter through which it sees pictures.

    Args:
        denoiser: whose attentions get branches.
        adapter: reads the tower's summary.
    """

    def __init__(self, denoiser: Denoiser, adapter: IPAdapter):
        super().__init__()
        self.adapter = adapter
        self._denoiser = (denoiser,)  # no part of what is learned, averaged and saved

    @property
    def denoiser(self) -> Denoiser:
        return self._denoiser[0]

    def shown(self, pictures: Tensor) -> Tensor:
        """Have every attention read pictures (B, S); what is said of them in a conditioning's ``extra``."""
        tokens = self.adapter(pictures)
        for i, layer in enumerate(places(self.denoiser.net).values()):
            layer.branches[NAME] = Branch(NAME, *self.adapter.keys_values(tokens, i), layer.heads)
        return torch.arange(len(pictures), device=pictures.device)


def seeing(model: nn.Module, batch: tuple[Tensor, Conditioning, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
    """The denoising loss of (latents (B, 8, 16, 16), what is said of them, what the tower sees of them (B, S))."""
    assert isinstance(model, Prompted)
    x0, said, pictures = batch
    cond = Conditioning(tokens=said.tokens, pooled=said.pooled, extra={NAME: model.shown(pictures)})
    return Denoising(times=TIMES)(model.denoiser, (x0, cond), noise)


def adapter(net: nn.Module, seen: int) -> IPAdapter:
    """For a network, at its beginning: keys and values are those of the text."""
    own: dict[str, Any] = {**layers(net)}
    weights = [(own[f"{place}.to_k"].weight, own[f"{place}.to_v"].weight) for place in places(net)]
    widths = tuple(keys.shape[0] for keys, _ in weights)
    made = IPAdapter(IPAdapterConfig(tokens=4, width=weights[0][0].shape[1], seen=seen, layers=widths))
    for i, pair in enumerate(weights):
        part: Any = made.ip_adapter[str(2 * i + 1)]
        for linear, weight in zip((part.to_k_ip, part.to_v_ip), pair, strict=True):
            linear.weight.data.copy_(weight)
    return made


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

    steps: Count = 6000
    batch: Count = 32
    rate: Annotated[float, Field(gt=0)] = 1e-3
    average: float = 0.99
    data: Path = DATA

    @cached_property
    def tower(self) -> Tower:
        return towers.load()

    @cached_property
    def text(self) -> clip.CLIPText:
        return cast(clip.CLIPText, shipped("text"))

    def said(self, texts: list[str]) -> Conditioning:
        """What the painter is told by texts."""
        with torch.no_grad():
            found = self.text(encode_texts(self.tower.tokenizer, texts))
        return Conditioning(tokens=found.tokens.float(), pooled=found.pooled.float())

    def art(self, split: str, count: int | None = None) -> Art:
        """Those of a split, or some of them."""
        rows = ledger(self.data, ("singles",), split)
        rows = rows if count is None else random.Random(0).sample(rows, count)
        index = [row["index"] for row in rows]
        latents, pictures = (np.load(self.data / f"{n}singles.npy", mmap_mode="r") for n in ("latents-", ""))
        parts = [
            self.tower.pictures(torch.from_numpy(pictures[index[i : i + 256]]).movedim(-1, 1))
            for i in range(0, len(index), 256)
        ]
        return Art(rows, latents[index], pictures[index] if count else np.empty(0), torch.cat(parts))

    def training(self) -> Training:
        torch.manual_seed(0)
        net = shipped("denoiser")
        art, denoiser = self.art("train"), Denoiser(net, SCHEDULE, "flow").requires_grad_(False)
        model, order = (
            Prompted(denoiser, adapter(net, art.seen.shape[1])),
            Order(len(art.rows), self.batch, "image prompt"),
        )

        def batch(index: int) -> tuple[Tensor, Conditioning, Tensor]:
            items, draw = order(index).tolist(), keyed("image prompt", index)
            said, seen = (
                torch.rand(len(items), generator=draw) >= UNSAID,
                torch.rand(len(items), 1, generator=draw) >= UNSEEN,
            )
            texts = [canonical(art.rows[i], "en") if told else "" for i, told in zip(items, said.tolist(), strict=True)]
            return torch.from_numpy(art.latents[items]).float(), self.said(texts), art.seen[items] * seen

        return Training(
            model=model,
            objective=seeing,
            batches=batch,
            optimisers={"loss": torch.optim.AdamW(model.adapter.parameters(), self.rate, weight_decay=0.01)},
            rate=Trapezoid(50, self.steps, self.steps // 4),
            ema=EMA(model, self.average),
            autocast=lambda: fast(torch.device("cpu")),
        )

    def painted(self, model: Prompted, art: Art, weight: float, texts: list[str]) -> Tensor:
        """Bytes (N, 3, H, W) of pictures painted in 12 steps at guidance 3, what the tower sees counted so much."""
        count, noise, visited = (
            len(art.rows),
            Noise.of(7, range(len(art.rows))),
            points(SCHEDULE, sgm_uniform(SCHEDULE, 12)),
        )
        x = noise(torch.empty(count, 8, 16, 16)) * visited[0].sigma
        with torch.inference_mode():
            which = model.shown(torch.cat([torch.zeros(1, art.seen.shape[1]), art.seen]))
            for layer in places(model.denoiser.net).values():
                cast(Branch, layer.branches[NAME]).values *= weight
            told, untold = self.said(texts), self.said([""]).expand(count)
            cond = Conditioning(tokens=told.tokens, pooled=told.pooled, extra={NAME: which[1:]})
            base = Conditioning(tokens=untold.tokens, pooled=untold.pooled, extra={NAME: 0 * which[1:]})
            for state in sample(compose(model.denoiser, [(cond, 3.0)], base), solver("dpmpp-2m"), visited, x, noise):
                x = state.x
            codec = cast(AutoencoderKL, shipped("codec"))
            pictures = to_arrays(codec.decode(x / codec.config.scaling_factor + codec.config.shift_factor))
        return torch.from_numpy(np.asarray(pictures)).movedim(-1, 1)

    def evaluate(self, run: Training) -> Mapping[str, float]:
        """How often the judge recognises the subject of a picture kept apart, in percent, in what is painted from it
        alone, and from nothing: of the first word, and of the first five."""
        model, art = averaged(run, Prompted), self.art("heldout_pair", MEASURED)
        known = [i for i, row in enumerate(art.rows) if row["subject"] in self.tower.judge.words["subject"]]
        found: dict[str, float] = {}
        for name, weight in (("with", 1.0), ("without", 0.0)):
            pictures = self.painted(model, art, weight, [""] * len(art.rows))
            answers = self.tower.judge.answers(pictures).at(known)
            for among in (1, 5):
                right = answers.right("subject", [art.rows[i]["subject"] for i in known], among)
                found[f"subject {name}, of {among}"] = 100 * float(right.float().mean())
        return found

    def samples(self, run: Training) -> Image.Image:
        """Pictures kept apart, what is painted from each alone, and with words beside."""
        model, art = averaged(run, Prompted), self.art("heldout_pair", SHOWN)
        alone, beside = (self.painted(model, art, 1.0, [text] * SHOWN) for text in ("", "on a light blue background"))
        rows = [art.pictures, *(pictures.movedim(1, -1).numpy() for pictures in (alone, beside))]
        return grid(np.concatenate(rows), SHOWN)

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        """The averaged adapter, as `danqing.weights.load` reads it."""
        save(averaged(run, Prompted).adapter, folder / "ip-adapter.safetensors", dtype=torch.bfloat16)
