"""Train the VAE: 64 px art as a vector of 128 numbers, and new art from the prior.

    danqing learn experiments/vae.py
    danqing learn experiments/vae.py --set 'arrays=["portraits"]' --set 'styles=["micah"]' --out runs/vae-portraits

A sheet of samples has three parts: pictures and what their latents' means decode to; pictures from the prior; and an
arc between two latents a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from danqing.learn.objectives.elbo import EvidenceBound
from danqing.learn.training.experiment import Count, Experiment, Free
from danqing.learn.training.loop import Training
from danqing.learn.training.optim import muon_groups
from danqing.levels import levels_of, to_arrays
from danqing.nets import vae
from danqing.nets.vae import VAE, VAEConfig, prior, slerp
from danqing.noise import keyed
from danqing.run.device import find_device, send
from experiments import cards
from experiments.art import Art, ledger, style
from experiments.common import DATA, averaged, by_muon, fast, grid

#: First and last layers, which meet the data or the latents: no hidden matrices.
EDGES = ("encoder.conv_in", "encoder.out", "decoder.inward", "decoder.conv_out")
SHOWN, DRAWN, APART = 12, 24, 256
WORDS = cards.Words(
    summary="64 px {art} from a vector of 128 numbers, by a variational autoencoder",
    about="""A variational autoencoder (Kingma & Welling 2013) of 64 px {art}: a picture is a vector of 128 numbers,
drawn from a Gaussian. Vectors that lie between those of two pictures decode to what lies between the pictures.""",
    limits="Its pictures are soft, as those of all such models: it paints the mean of what a vector may stand "
    "for. It hears no prompt.",
)


@dataclass(frozen=True, kw_only=True)
class Vectors(Experiment):
    """Art as vectors, and back.

    Args:
        steps: where it ends; the rates fall to zero over the last quarter.
        arrays: what it learns from, of "singles" and "portraits".
        styles: and of these, as the ledger names them; all where empty.
        batch: pictures a step.
        beta: weight of the latents' rate, see `EvidenceBound`.
        rate: Muon's, of the hidden matrices.
        edge_rate: AdamW's, of all else.
        scale_rate: AdamW's, of the scale of the density. It has to keep up with the errors, which fall by an order of
            magnitude: the rate of all else would hold it back.
        average: decay of the averaged weights.
    """

    steps: Count = 9000
    data: Free[Path] = DATA
    arrays: tuple[str, ...] = ("singles",)
    styles: tuple[str, ...] = ()
    batch: Count = 32
    beta: float = 1.0
    rate: float = 0.01
    edge_rate: float = 1e-3
    scale_rate: float = 0.02
    average: float = 0.998
    net: VAEConfig = field(default_factory=lambda: vae.ART)

    @cached_property
    def art(self) -> Art:
        """What it learns from."""
        art = Art.load(self.data, self.net.image_size, arrays=self.arrays, by=style)
        return art.only(self.styles or art.names)

    def training(self) -> Training:
        torch.manual_seed(0)
        where = find_device()
        model = VAE(self.net).to(where)
        batches = self.art.batches(self.batch, "vae", mirror=True)
        halves = torch.nn.ModuleDict({"encoder": model.encoder, "decoder": model.decoder})
        groups = muon_groups(halves, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        groups.append(dict(params=[model.log_scale], lr=self.scale_rate, muon=False, weight_decay=0.0))

        def batch(index: int) -> Tensor:
            return levels_of(send(batches(index)[0], where))

        return by_muon(
            model,
            EvidenceBound(beta=self.beta),
            batch,
            groups,
            steps=self.steps,
            decay=self.steps // 4,
            average=self.average,
        )

    @torch.no_grad()
    def samples(self, run: Training) -> Image.Image:
        model, where = averaged(run, VAE), find_device()
        shown = levels_of(send(spread(self.art, SHOWN), where))
        with fast(where):
            back, posterior = model(shown, torch.zeros(()))  # the mean of the posterior, decoded
            drawn = model.decode(prior([keyed("sample", i) for i in range(DRAWN)], self.net.latent_dim).to(where))
            ends = posterior.mean.float().unflatten(0, (SHOWN // 4, 4))  # between every other picture
            arcs = slerp(
                ends[:, :2].flatten(0, 1), ends[:, 2:].flatten(0, 1), torch.linspace(0, 1, 8, device=where)
            )  # (8, 6, D)
            between = model.decode(arcs.transpose(0, 1).flatten(0, 1))
        pairs = torch.stack([shown, back.float()], 1).flatten(0, 1)
        return grid(to_arrays(torch.cat([pairs, drawn.float(), between.float()])), 8)

    @torch.no_grad()
    def evaluate(self, run: Training) -> Mapping[str, float]:
        """The bound on pictures that were never seen, in bits a colour number; nothing where no picture of its kind was
        kept apart."""
        if "singles" not in self.arrays:
            return {}
        model, where = averaged(run, VAE), find_device()
        apart = levels_of(send(spread(Art.load(self.data, self.net.image_size, split="heldout_pair"), APART), where))
        parts = [EvidenceBound()(model, some, keyed("evaluate", i)) for i, some in enumerate(apart.split(64))]
        return {
            f"held out {name}": sum(float(part[name]) for part in parts) / len(parts)
            for name in ("bits", "distortion", "rate")
        }

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        rows = [row for row in ledger(self.data, self.arrays, "train") if style(row) in (self.styles or (style(row),))]
        size = self.net.image_size
        cards.write(
            folder,
            run,
            core_hours,
            name="vae" if "singles" in self.arrays else "vae-portraits",
            parts={"generator": averaged(run, VAE)},
            words=WORDS.of(art="art" if "singles" in self.arrays else "portraits"),
            rows=rows,
            batch=self.batch,
            defaults={"width": size, "height": size, "truncation": 1.0},
            metrics=self.evaluate(run),
        )


def spread(art: Art, count: int) -> Tensor:
    """So many pictures, (count, 3, S, S) of bytes, evenly from the first to the last."""
    return art.pictures[torch.arange(count) * len(art.pictures) // count]
