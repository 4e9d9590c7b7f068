"""The variational autoencoder: a whole picture from one short vector, drawn from a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidInput
from . import discretised
from .autoencoder_kl import Posterior
from .blocks import Downsample, ResnetBlock, Upsample

EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """The shape of a `VAE`.

    Args:
        image_size: S, the side of the pictures.
        latent_dim: D, how many numbers stand for a picture.
        widths: one a level, finest first; each level but the last halves the grid.
        layers_per_block: residual blocks a level, in the encoder and in the decoder.
        norm_num_groups: divides every width.
        patch: side of the pixel blocks that are folded into channels, >= 1.
        likelihood: the density around the decoded picture, made into probabilities of bytes: "gaussian", "laplace",
            "logistic".
    """

    image_size: int = 64
    latent_dim: int = 128
    widths: tuple[int, ...] = (32, 64, 128, 128)
    layers_per_block: int = 1
    norm_num_groups: int = 8
    patch: int = 2
    likelihood: str = "laplace"

    @property
    def grid(self) -> int:
        """The side of the coarsest grid."""
        return self.image_size // (self.patch * 2 ** (len(self.widths) - 1))


#: 64 px art. A Laplace density, because most of a drawing is plain and met exactly, and a few edges are missed by far.
#: 2.7M parameters.
ART = VAEConfig()


def residual(widths: tuple[int, ...], config: VAEConfig) -> nn.ModuleList:
    """The residual blocks of each level, in the order of ``widths``; the first of a level changes the width."""
    return nn.ModuleList(
        nn.Sequential(
            *(
                ResnetBlock(channels, width, groups=config.norm_num_groups, eps=EPS)
                for channels in (before, *[width] * (config.layers_per_block - 1))
            )
        )
        for before, width in zip((widths[0], *widths), widths, strict=False)
    )


class Encoder(nn.Module):
    """Picture to the posterior's parameters: (B, 3, S, S) -> (B, 2 D)."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.patch = config.patch
        widths, groups = config.widths, config.norm_num_groups
        self.conv_in = nn.Conv2d(3 * config.patch**2, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(Downsample(width) for width in widths[:-1])
        self.levels = residual(widths, config)
        self.norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.out = nn.Linear(widths[-1] * config.grid**2, 2 * config.latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(F.pixel_unshuffle(x, self.patch))  # (B, widths[0], S/p, S/p)
        for level, change in zip(self.levels, (*self.downs, nn.Identity()), strict=True):
            x = change(level(x))
        return self.out(F.silu(self.norm_out(x)).flatten(1))  # from (B, widths[-1], g, g)


class Decoder(nn.Module):
    """Vector to the middle of the density of pictures: (B, D) -> (B, 3, S, S)."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.patch, self.grid = config.patch, config.grid
        widths, groups = config.widths[::-1], config.norm_num_groups
        self.inward = nn.Linear(config.latent_dim, widths[0] * config.grid**2)
        self.ups = nn.ModuleList(Upsample(width) for width in widths[:-1])
        self.levels = residual(widths, config)
        self.norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 3 * config.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.inward(z).unflatten(1, (-1, self.grid, self.grid))  # (B, widths[-1], g, g)
        for level, change in zip(self.levels, (*self.ups, nn.Identity()), strict=True):
            x = change(level(x))
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x))), self.patch)


class VAE(nn.Module):
    """A convolutional variational autoencoder with a vector as its latent and one learned scale of the pictures'
    density.

    ``p(z) = N(0, I),  q(z|x) = N(mean(x), exp(logvar(x))),  P(x|z) = prod_i P(x_i; decode(z)_i, s)`` over bytes
    (`discretised.log_prob`), so that the bound on log P(x) is one of bits that a lossless coder would need. The scale s
    is a parameter: at its optimum the weight of the reconstruction is right without a search for beta. Source: Kingma &
    Welling 2013; Rybkin et al. 2021 ("sigma-VAE"), section 3.

    Args:
        config: the shape; `ART` is at hand.

    Raises:
        InvalidInput: the picture does not fold into the grids.
        UnknownName: the likelihood is none.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        factor = config.patch * 2 ** (len(config.widths) - 1)
        if config.image_size < factor or config.image_size % factor:
            raise InvalidInput(f"image_size {config.image_size} does not halve so often: use a multiple of {factor}")
        discretised.log_cdf(config.likelihood)
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.log_scale = nn.Parameter(torch.full((), -2.0))  # log s, pictures lying in [-1, 1]

    def encode(self, picture: Tensor) -> Posterior:
        """(B, 3, S, S) in [-1, 1] -> posterior over (B, D).

        Raises:
            InvalidInput: the picture has another shape.
        """
        side = self.config.image_size
        if picture.shape[1:] != (3, side, side):
            raise InvalidInput(
                f"this VAE reads pictures of shape (3, {side}, {side}), not {tuple(picture.shape[1:])}: resize them"
            )
        mean, logvar = self.encoder(picture).to(picture.dtype).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """(B, D) -> the picture in the middle of the density, (B, 3, S, S), about [-1, 1]."""
        return self.decoder(z)

    def log_prob(self, picture: Tensor, z: Tensor) -> Tensor:
        """log P(picture | z) of pictures of bytes in [-1, 1], (B, 3, S, S) and (B, D), in nats a picture, (B,)."""
        each = discretised.log_prob(
            picture, self.decode(z).to(picture.dtype), self.log_scale, self.config.likelihood
        )  # (B, 3, S, S)
        return each.flatten(1).sum(1)

    def forward(self, picture: Tensor, noise: Tensor | torch.Generator | None = None) -> tuple[Tensor, Posterior]:
        """The picture through a sampled latent, and the posterior it came from; zeros for noise give the mean's
        picture."""
        posterior = self.encode(picture)
        return self.decode(posterior.sample(noise)), posterior


def prior(noises: Sequence[torch.Generator], latent_dim: int) -> Tensor:
    """z ~ N(0, I), (B, D): each picture's from its own generator, whatever else is in the batch."""
    return torch.stack([torch.randn(latent_dim, generator=noise, device=noise.device) for noise in noises])


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 - t) a + t b: from a (B, D) to b (B, D) at t (T,) in [0, 1], (T, B, D). Halfway between two draws of the prior
    it is shorter than such draws are, by sqrt 2 nearly, and its picture duller."""
    t = t.to(a)[:, None, None]
    return (1 - t) * a + t * b


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the arc: the direction turns evenly and the length goes evenly from |a| to |b|; shapes as for `lerp`.

    With the angle w between a and b: direction = (sin((1 - t) w) a/|a| + sin(t w) b/|b|) / sin w; where w is 0 the two
        coincide, and
    where it is pi any arc would do and none is better. Source: Shoemake 1985; White 2016, section 2.1.
    """
    lengths = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)  # (B, 1)
    ends = a / lengths[0], b / lengths[1]
    # Twice the half angle, for the cosine is flat at 0 and would lose half of the digits there.
    angle = 2 * torch.atan2(
        (ends[0] - ends[1]).norm(dim=-1, keepdim=True), (ends[0] + ends[1]).norm(dim=-1, keepdim=True)
    )
    t = t.to(a)[:, None, None]
    # sinc(w) = sin w / w, so that a vanishing angle divides nothing by zero.
    weights = [part * torch.sinc(part * angle / math.pi) / torch.sinc(angle / math.pi) for part in (1 - t, t)]
    return (weights[0] * ends[0] + weights[1] * ends[1]) * lerp(lengths[0], lengths[1], t[:, 0, 0])
