"""Generative adversarial networks: what the two networks minimise, what keeps them tame, and the objective made of
these.

D(x) is always a logit: the probability of being real is sigmoid D(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nets.stylegan2 import mixed
from ..data.augment import Plain
from .divergences import game_value, non_saturating
from .draws import randn

# ---- losses --------------------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """What the two networks minimise, given logits of any shape.

    Args:
        discriminator: (D(real), D(fake)) -> a scalar.
        generator: D(fake) -> a scalar.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """``-E log sigmoid D(real) - E log(1 - sigmoid D(fake))``; at its best D = log p/q, and it is log 4 - 2 JSD(p,
    q)."""
    return -game_value(real, fake)


#: ``min_G max_D E log D(x) + E log(1 - D(G(z)))`` (Goodfellow et al. 2014, eq. 1).
MIN_MAX = Loss(cross_entropy, lambda fake: -F.softplus(fake).mean())
#: The same fixed point, but G maximises log D(G(z)), whose gradient is strong where D is sure (section 3 there).
NON_SATURATING = Loss(cross_entropy, non_saturating)
#: ``E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))`` and ``-E D(G(z))`` (Lim & Ye 2017; Miyato et al. 2018, eqs. 16-17).
HINGE = Loss(lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda fake: -fake.mean())
#: ``E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2`` and ``E (D(G(z)) - 1)^2 / 2``; D is no logit here (Mao et al. 2017, eq. 9).
LEAST_SQUARES = Loss(
    lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
    lambda fake: (fake - 1).square().mean() / 2,
)

# ---- regularisers --------------------------------------------------------------------------------------------------


def wide(x: Tensor) -> Tensor:
    """In float32 at least, since it is squared, or a mean."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def gradient(of: Tensor, by: Tensor) -> Tensor:
    """``d of / d by``, of a scalar, itself differentiable."""
    return wide(torch.autograd.grad(of, by, create_graph=True)[0])


def r1(logits: Tensor, x: Tensor) -> Tensor:
    """``E |grad_x D(x)|^2 / 2`` over real pictures (Mescheder et al. 2018, eq. 9); times gamma it is R1.

    Args:
        logits: D(x), (B, ...), of which each row depends on its own picture alone, or nearly.
        x: (B, ...), which requires a gradient.
    """
    return gradient(logits.sum(), x).square().flatten(1).sum(1).mean() / 2


def path_lengths(picture: Tensor, latents: Tensor, noise: torch.Generator) -> Tensor:
    """``|J^T y|`` with J = d picture / d latents and white noise y of unit length on average: how far the picture moves
    as the latent does (Karras et al. 2020, section 3.2).

    Args:
        picture: (B, C, H, W).
        latents: (B, L, W), what the picture was made from; the mean is taken of |.|^2 over L. Or (B, Z), one alone.

    Returns:
        (B,).
    """
    y = randn(tuple(picture.shape), noise, picture) / math.sqrt(picture.shape[2] * picture.shape[3])
    moved = gradient((picture * y).sum(), latents)
    return moved.square().sum(-1).reshape(len(moved), -1).mean(1).sqrt()


def orthogonality(model: nn.Module) -> Tensor:
    """``sum_W |W W^T ⊙ (1 - I)|^2``: filters should differ, whatever their lengths (Brock et al. 2019, eq. 3).

    W is the weight of each layer as the matrix (out, the rest); embeddings, whose rows are no filters, are left out.
    """
    weights = [getattr(module, "weight", None) for module in model.modules() if not isinstance(module, nn.Embedding)]
    matrices = [weight.flatten(1) for weight in weights if isinstance(weight, nn.Parameter) and weight.ndim > 1]
    with torch.autocast(
        matrices[0].device.type, enabled=False
    ):  # of nearly orthogonal rows, products are small sums of large terms
        return torch.stack([overlap(matrix) for matrix in matrices]).sum()


def overlap(rows: Tensor) -> Tensor:
    """``|W W^T ⊙ (1 - I)|^2`` of W (n, m): ``|W W^T|^2`` is ``|W^T W|^2``, so the smaller product will do, less the
    diagonal's part."""
    product = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return product.square().sum() - rows.square().sum(1).square().sum()


# ---- the objective -------------------------------------------------------------------------------------------------


class Drawn(NamedTuple):
    """A batch of pictures that a generator made.

    Args:
        picture: (B, C, H, W).
        latents: what they were made from, part of the graph: (B, L, W) or (B, Z).
    """

    picture: Tensor
    latents: Tensor


class Drawing(Protocol):
    """(generator, labels of B or None, B, noise) -> pictures."""

    def __call__(self, generator: nn.Module, labels: Tensor | None, count: int, noise: torch.Generator) -> Drawn: ...


def plainly(generator: nn.Module, labels: Tensor | None, count: int, noise: torch.Generator) -> Drawn:
    """One latent a picture, z ~ N(0, I) of ``generator.config.z_dim`` numbers."""
    like = next(generator.parameters())
    z = randn((count, cast(Any, generator).config.z_dim), noise, like).requires_grad_()
    return Drawn(generator(z, labels), z)


@dataclass(frozen=True, kw_only=True)
class Styled:
    """StyleGAN's drawing: styles of one latent, or of two with a random crossover (Karras et al. 2019, section 3.1).

    Args:
        mixing: how often two, in [0, 1]. One crossover holds for the batch.
    """

    mixing: float = 0.9

    def __call__(self, generator: nn.Module, labels: Tensor | None, count: int, noise: torch.Generator) -> Drawn:
        net = cast(Any, generator)
        like = next(generator.parameters())
        z = randn((2, count, net.config.z_dim), noise, like)
        both, crossover = torch.rand(2, generator=noise).tolist()
        ws = net.styles(z[0], labels)
        if both < self.mixing:
            ws = mixed(ws, net.styles(z[1], labels), 1 + int(crossover * (net.config.layers - 1)))
        return Drawn(net.synthesis(ws, lambda like, layer: randn(tuple(like.shape), noise, like)), ws)


class Adversaries(nn.Module):
    """A generator and its discriminator, with what their training remembers.

    Args:
        generator: as the objective's ``draw`` uses it.
        discriminator: (pictures (B, 3, H, W), labels) -> logits.
        augment: what the discriminator's pictures, real and fake, are changed by; None changes nothing.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, augment: Plain | None = None):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.augment = augment or Plain()
        self.register_buffer("path", torch.zeros(()))
        self.path: Tensor


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """The losses "generator" and "discriminator" of `Adversaries`, which share one graph: each optimiser takes the
    gradient by its own parameters alone, as `Training` does.

    ``L_D = loss_D(D(T x), D(T G(z))) + gamma R1;  L_G = loss_G(D(T G(z))) + path E (|J^T y| - a)^2 + orthogonal O``, a
    being the moving mean of the lengths, T the augmentation. As a stage of a training (``at``) the regularisers are
    lazy: every k-th step, with k times the weight (Karras et al. 2020, section 3.1).

    The batch is (real pictures (B, 3, H, W) in [-1, 1], labels (B, ...) or None); fakes get the same labels.

    Args:
        loss: of the two.
        draw: how the generator is asked.
        r1: gamma, on what the discriminator sees of real pictures; 0 leaves it out.
        path: weight of the path length regulariser; 0 leaves it out. It takes a new, smaller batch.
        orthogonal: weight of the generator's orthogonal regulariser; 0 leaves it out.
        r1_every, path_every: k of the lazy regularisers, in steps.
        path_share: the part of the batch whose paths are measured, in (0, 1].
        path_decay: how much of a new length goes into a.
    """

    loss: Loss = NON_SATURATING
    draw: Drawing = plainly
    r1: float = 0.0
    path: float = 0.0
    orthogonal: float = 0.0
    r1_every: int = 16
    path_every: int = 4
    path_share: float = 0.5
    path_decay: float = 0.01

    def at(self, step: int) -> Adversarial:
        """The objective of one step."""
        return replace(
            self,
            r1=0.0 if step % self.r1_every else self.r1 * self.r1_every,
            path=0.0 if step % self.path_every else self.path * self.path_every,
        )

    def __call__(
        self, model: nn.Module, batch: tuple[Tensor, Tensor | None], noise: torch.Generator
    ) -> dict[str, Tensor]:
        assert isinstance(model, Adversaries)
        real, labels = batch
        fake = self.draw(model.generator, labels, len(real), noise)
        seen = model.augment(real, noise).detach().requires_grad_(self.r1 > 0)
        on_real = wide(model.discriminator(seen, labels))
        on_fake = wide(model.discriminator(model.augment(fake.picture, noise), labels))
        model.augment.watch(on_real)
        discriminator, generator = self.loss.discriminator(on_real, on_fake), self.loss.generator(on_fake)
        said = {"real": on_real.mean(), "fake": on_fake.mean(), **model.augment.figures()}
        if self.r1:
            said["r1"] = r1(on_real, seen)
            discriminator = discriminator + self.r1 * said["r1"]
        if self.path:
            said["path"], uneven = self._paths(model, labels, max(1, round(len(real) * self.path_share)), noise)
            generator = generator + self.path * uneven
        if self.orthogonal:
            said["orthogonal"] = orthogonality(model.generator)
            generator = generator + self.orthogonal * said["orthogonal"]
        return {"generator": generator, "discriminator": discriminator, **said}

    def _paths(
        self, model: Adversaries, labels: Tensor | None, count: int, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The mean length, and the mean squared distance of the lengths from their moving mean."""
        fake = self.draw(model.generator, None if labels is None else labels[:count], count, noise)
        lengths = path_lengths(fake.picture, fake.latents, noise)
        a = model.path.lerp(lengths.detach().mean(), self.path_decay)
        if model.training:
            model.path.copy_(a)
        return lengths.detach().mean(), (lengths - a).square().mean()
