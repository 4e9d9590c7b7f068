"""Adaptive discriminator augmentation: what the discriminator sees is changed, as often as it overfits.

The changes are drawn so that the generator need not learn them: each happens with a probability below 1, so that the
unchanged picture stays the most frequent one and the distribution of changed pictures still determines that of the
unchanged. Source: Karras et al. 2020, "Training generative adversarial networks with limited data", sections 2 and 3,
appendix B.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UnknownName

#: The changes, in the order in which they are made.
GEOMETRIC = ("flip", "quarter", "shift", "scale", "rotate", "stretch", "slide")
COLOUR = ("brightness", "contrast", "luma", "hue", "saturation")
KINDS = (*GEOMETRIC, *COLOUR)
#: The directions that a colour has: grey, and, as the null space of it, hue and saturation.
GREY = torch.full((3,), 1 / math.sqrt(3))


class Plain(nn.Module):
    """No change at all: the neutral element."""

    def forward(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """The same."""
        return x

    def watch(self, logits: Tensor) -> None:
        """Nothing is learned from them."""

    def figures(self) -> dict[str, Tensor]:
        """Nothing to report."""
        return {}


class Augment(Plain):
    """Random changes of geometry and colour, each with probability p, which follows how sure the discriminator is of
    real pictures.

    ``r_t = E sign D(x)`` is 0 for a discriminator that knows nothing, 1 for one that knows all real pictures by heart.
    Every ``every`` batches ``p <- clamp(p + sign(r_t - target) · pictures seen / speed, 0, 1)``. With p = 0 a picture
    stays as it is, bit for bit. p and the signs seen are buffers, so that a resumed training goes on as it was.

    Args:
        kinds: which changes: "flip" left to right; "quarter" turns; "shift" by up to 1/8 of a side, in whole pixels;
            "scale" by 2^N(0, 0.2²); "rotate" by any angle, before and after "stretch" by 2^±N(0, 0.2²) of the sides;
            "slide" by N(0, 1/8²) of a side; "brightness" + N(0, 0.2²); "contrast" · 2^N(0, 0.5²); "luma" reflected;
            "hue" turned by any angle; "saturation" · 2^N(0, 1).
        p: the probability to begin with, in [0, 1].
        target: of r_t.
        speed: how many pictures move p by 1.
        every: batches between two moves.

    Raises:
        UnknownName: there is no such kind.
    """

    def __init__(
        self,
        *,
        kinds: tuple[str, ...] = KINDS,
        p: float = 0.0,
        target: float = 0.6,
        speed: float = 500_000,
        every: int = 4,
    ):  # fmt: skip
        super().__init__()
        for kind in kinds:
            if kind not in KINDS:
                raise UnknownName("change of pictures", kind, KINDS)
        self.kinds, self.target, self.speed, self.every = frozenset(kinds), target, speed, every
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros(3))  # their sum, how many, in how many batches
        self.p: Tensor
        self.signs: Tensor

    @torch.no_grad()
    def watch(self, logits: Tensor) -> None:
        """Note the signs of D(real), (B, ...), and move p when it is time; in training only."""
        if not self.training:
            return
        self.signs += torch.tensor([float(logits.sign().sum()), logits.numel(), 1.0]).to(self.signs)
        total, count, batches = self.signs.tolist()
        if batches >= self.every:
            step = math.copysign(count / self.speed, total / count - self.target)
            self.p.add_(step).clamp_(0, 1)
            self.signs.zero_()

    def figures(self) -> dict[str, Tensor]:
        """p, for the log."""
        return {"p": self.p.clone()}

    def forward(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> the same shape, each picture changed or not; differentiable by x, once."""
        p = float(self.p)
        places, placed = self.geometry(len(x), p, noise, x.shape[-1] / x.shape[-2], x.shape[-1])
        colours, coloured = self.colour(len(x), p, noise)
        if placed.any():
            there = F.affine_grid(places[:, :2].to(x), list(x.shape), align_corners=False)
            moved = F.grid_sample(x, there, padding_mode="reflection", align_corners=False)
            x = torch.where(placed.to(x.device)[:, None, None, None], moved, x)
        if coloured.any():
            matrix = colours.to(x)
            painted = torch.einsum("bij,bjhw->bihw", matrix[:, :3, :3], x) + matrix[:, :3, 3, None, None]
            x = torch.where(coloured.to(x.device)[:, None, None, None], painted, x)
        return x

    def _chosen(self, kind: str, count: int, p: float, noise: torch.Generator) -> Tensor:
        """Which pictures are changed so, (count,)."""
        return (torch.rand(count, generator=noise) < p) & (kind in self.kinds)

    def geometry(
        self, count: int, p: float, noise: torch.Generator, ratio: float = 1.0, width: int = 64
    ) -> tuple[Tensor, Tensor]:
        """From where in the old picture each place of the new one comes: matrices (count, 3, 3) of homogeneous
        coordinates in [-1, 1]², and for which pictures they are not the identity, (count,).

        Args:
            ratio: width / height, of which turns and stretches know.
            width: in pixels, of which whole ones are shifted.
        """
        total, any_ = torch.eye(3).expand(count, 3, 3), torch.zeros(count, dtype=torch.bool)
        wide = torch.tensor([ratio, 1.0, 1.0]).diag()  # to coordinates that are as long along both sides
        rotated = 1 - math.sqrt(1 - p)  # each of the two rotations, so that p of the pictures have one at least

        def change(kind: str, matrix: Tensor, likely: float = p) -> None:
            nonlocal total, any_
            chosen = self._chosen(kind, count, likely, noise)
            total = torch.where(chosen[:, None, None], total @ matrix, total)
            any_ = any_ | chosen

        def uniform() -> Tensor:
            return 2 * torch.rand(count, generator=noise) - 1

        def normal(std: float) -> Tensor:
            return std * torch.randn(count, generator=noise)

        def turned(angle: Tensor) -> Tensor:
            return wide.inverse() @ turn(angle) @ wide

        change("flip", scaling(torch.where(uniform() < 0, -1.0, 1.0), torch.ones(count)))
        change("quarter", turned(torch.randint(4, (count,), generator=noise) * (math.pi / 2)))
        height = width / ratio
        change("shift", shift(*((uniform() / 8 * side).round() * (2 / side) for side in (width, height))))
        change("scale", scaling(*(torch.exp2(normal(0.2)),) * 2))
        change("rotate", turned(uniform() * math.pi), rotated)
        stretched = torch.exp2(normal(0.2))
        change("stretch", scaling(stretched, 1 / stretched))
        change("rotate", turned(uniform() * math.pi), rotated)
        change("slide", shift(normal(2 / 8), normal(2 / 8)))
        return total, any_

    def colour(self, count: int, p: float, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Matrices (count, 4, 4) of homogeneous colours, and for which pictures they are not the identity, (count,)."""
        total, any_ = torch.eye(4).expand(count, 4, 4), torch.zeros(count, dtype=torch.bool)
        grey = torch.zeros(4, 4)
        grey[:3, :3] = torch.outer(GREY, GREY)
        rest = torch.eye(4) - grey

        def change(kind: str, matrix: Tensor) -> None:
            nonlocal total, any_
            chosen = self._chosen(kind, count, p, noise)
            total = torch.where(chosen[:, None, None], matrix @ total, total)
            any_ = any_ | chosen

        def normal(std: float) -> Tensor:
            return std * torch.randn(count, 1, 1, generator=noise)

        brighter = torch.eye(4).repeat(count, 1, 1)
        brighter[:, :3, 3] = normal(0.2)[:, :, 0]
        change("brightness", brighter)
        spread = torch.eye(4).repeat(count, 1, 1)
        spread[:, :3, :3] *= torch.exp2(normal(0.5))
        change("contrast", spread)
        turned_over = torch.randint(2, (count, 1, 1), generator=noise)
        change("luma", torch.eye(4) - 2 * grey * turned_over)
        change("hue", about_grey((2 * torch.rand(count, generator=noise) - 1) * math.pi))
        fixed = torch.tensor([0.0, 0.0, 0.0, 1.0]).diag()
        change("saturation", grey + fixed + (rest - fixed) * torch.exp2(normal(1.0)))
        return total, any_


def matrices(rows: list[list[Tensor]]) -> Tensor:
    """Entries (count,) as matrices (count, R, C)."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Of homogeneous coordinates, (count, 3, 3)."""
    return torch.stack([x, y, torch.ones_like(x)], -1).diag_embed()


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Of homogeneous coordinates, (count, 3, 3)."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return matrices([[one, zero, x], [zero, one, y], [zero, zero, one]])


def turn(angle: Tensor) -> Tensor:
    """Of homogeneous coordinates, by an angle in radians, (count, 3, 3)."""
    c, s, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    return matrices([[c, -s, zero], [s, c, zero], [zero, zero, one]])


def about_grey(angle: Tensor) -> Tensor:
    """Colours turned about grey: ``cos I + (1 - cos) v v^T + sin [v]_x`` (Rodrigues), (count, 4, 4)."""
    x, y, z = GREY.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    made = torch.eye(4).repeat(len(angle), 1, 1)
    made[:, :3, :3] = c * torch.eye(3) + (1 - c) * torch.outer(GREY, GREY) + s * cross
    return made
