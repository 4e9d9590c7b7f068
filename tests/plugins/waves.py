"""A family: a network that paints a latent's numbers as waves, how its file shows that, and who paints with it."""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from danqing.noise import keyed
from danqing.painting.generators.base import TEXT2IMAGE, LatentGenerator
from danqing.request.request import Resolved
from danqing.weights.facts import Facts, Shapes
from danqing.weights.family import Family, fixed, has


@dataclass(frozen=True)
class WavesConfig:
    waves: int = 4
    size: int = 16


class Waves(nn.Module):
    """The picture sum_k z_k c_k sin(2 pi (f_k · place)): z (B, waves) -> (B, 3, size, size) about [-1, 1]."""

    def __init__(self, config: WavesConfig):
        super().__init__()
        self.config = config
        self.frequencies = nn.Parameter(torch.randn(config.waves, 2))
        self.colours = nn.Parameter(torch.randn(config.waves, 3))

    def forward(self, z: Tensor) -> Tensor:
        along = torch.linspace(0, 1, self.config.size, dtype=z.dtype, device=z.device)
        place = torch.stack(torch.meshgrid(along, along, indexing="ij"))  # (2, size, size)
        waves = torch.sin(2 * torch.pi * torch.einsum("kd,dhw->khw", self.frequencies.to(z), place))
        return torch.einsum("bk,kc,khw->bchw", z, self.colours.to(z), waves) / self.config.waves


def facts(shapes: Shapes) -> Facts:
    return Facts(inferred={"waves": shapes["frequencies"][0]}, assumed={"size": 16})


class WavesPainter(LatentGenerator):
    recipes = MappingProxyType({"text2image": TEXT2IMAGE})

    @property
    def side(self) -> int:
        return self.net.config.size

    def drawn(self, request: Resolved) -> Tensor:
        draw = keyed("latent", request.seed, request.index)
        return request.generating.truncation * torch.randn(1, self.net.config.waves, generator=draw)

    def latent(self, source: str, request: Resolved) -> tuple[Tensor, tuple[str, ...]]:
        return self.latent_of_record(source), ()

    def painted(self, latent: Tensor) -> Tensor:
        return self.net(latent.to(self.device, self.dtype))


FAMILY = Family("waves", "toy", has("frequencies", "colours"), facts, lambda: (Waves, WavesConfig), fixed())
