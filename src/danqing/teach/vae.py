"""A VAE of one's own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ..learn.objectives.elbo import EvidenceBound
from ..learn.training.experiment import Count
from ..learn.training.loop import Training
from ..learn.training.optim import muon_groups
from ..levels import levels_of
from ..nets.vae import VAE, VAEConfig, prior
from ..noise import keyed
from ..run.device import find_device, send
from .base import SHOWN, OwnPictures, Side, Width
from .usual import averaged, by_muon, fast

#: First and last layers, which meet the data or the latents: no hidden matrices.
EDGES = ("encoder.conv_in", "encoder.out", "decoder.inward", "decoder.conv_out")
DRAWN = 16


@dataclass(frozen=True, kw_only=True)
class OwnVAE(OwnPictures):
    """Pictures as vectors, and back.

    Args:
        latent: how many numbers stand for a picture.
        beta: weight of the latents' rate, see `EvidenceBound`.
        edge_rate: AdamW's, of first and last layers; ``rate`` is Muon's, of all between.
        scale_rate: AdamW's, of the scale of the density.
    """

    FAMILY: ClassVar[str] = "vae"
    ABOUT: ClassVar[str] = """A variational autoencoder (Kingma & Welling 2013): a picture is a vector drawn from a
Gaussian, and vectors between those of two pictures are what lies between the pictures. Its pictures are soft."""

    size: Side = 64
    width: Width = 24
    latent: Count = 64
    beta: Annotated[float, Field(ge=0)] = 1.0
    edge_rate: float = 1e-3
    scale_rate: float = 0.02

    def begun(self) -> Training:
        widths = tuple(self.width * min(2**level, 4) for level in range(max(1, self.halvings)))
        model = VAE(VAEConfig(image_size=self.size, latent_dim=self.latent, widths=widths)).to(find_device())
        halves = torch.nn.ModuleDict({"encoder": model.encoder, "decoder": model.decoder})
        groups = muon_groups(halves, lr=self.rate, adam_lr=self.edge_rate, edges=EDGES)
        groups.append(dict(params=[model.log_scale], lr=self.scale_rate, muon=False, weight_decay=0.0))
        return by_muon(
            model,
            EvidenceBound(beta=self.beta),
            lambda index: self.pictures(index)[0],
            groups,
            steps=self.steps,
            decay=0,
            average=self.average,
        )

    def network(self, run: Training) -> VAE:
        return averaged(run, VAE)

    def painted(self, run: Training) -> Tensor:
        """The pictures of the sheet's first row through their latents, then pictures from the prior."""
        net, where = self.network(run), find_device()
        with fast(where):
            back, _ = net(levels_of(send(self.own.spread(SHOWN), where)), torch.zeros(()))
            new = net.decode(prior([keyed("sample", i) for i in range(DRAWN)], self.latent).to(where))
        return torch.cat([back.float(), new.float()])

    def description(self) -> Mapping[str, Any]:
        return {"defaults": {"truncation": 1.0}}
