"""CycleGAN's objective: two translators that undo each other, and two discriminators that remember old translations.

Source: Zhu et al. 2017, section 3; the pool: Shrivastava et al. 2017, section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .adversarial import LEAST_SQUARES, Loss


class Pool(nn.Module):
    """The last translations, among which a discriminator looks: each new picture is shown, or, by a coin, put into the
    pool while an old one is shown in its stead. So nothing is lost and nothing shown twice. Until the pool is full,
    what comes in is shown and kept.

    The pictures are buffers, so that a resumed training goes on as it was.

    Args:
        size: how many pictures, 50 in the paper; 0 shows what comes in.
        shape: of one picture, (C, H, W).
    """

    def __init__(self, size: int, shape: tuple[int, int, int]):
        super().__init__()
        self.register_buffer("pictures", torch.zeros(size, *shape))
        self.register_buffer("held", torch.zeros((), dtype=torch.long))
        self.pictures: Tensor
        self.held: Tensor

    @torch.no_grad()
    def forward(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """(B, C, H, W) -> as many, new or old, outside any graph."""
        size, shown = len(self.pictures), x.detach().clone()
        for i, picture in enumerate(x.detach()):
            held = int(self.held)
            if held < size:
                self.pictures[held] = picture
                self.held += 1
            elif size and float(torch.rand((), generator=noise)) < 0.5:
                place = int(torch.randint(size, (), generator=noise))
                shown[i] = self.pictures[place]
                self.pictures[place] = picture
        return shown


class Translators(nn.Module):
    """Both directions between the kinds of pictures a and b, with their discriminators and pools.

    Args:
        forth, back: a -> b and b -> a.
        judge_a, judge_b: pictures -> logits of being real.
        pool_a, pool_b: of translations into a and into b.
    """

    def __init__(
        self, forth: nn.Module, back: nn.Module, judge_a: nn.Module, judge_b: nn.Module, pool_a: Pool, pool_b: Pool
    ):
        super().__init__()
        self.generator = nn.ModuleDict({"forth": forth, "back": back})
        self.discriminator = nn.ModuleDict({"a": judge_a, "b": judge_b})
        self.pool = nn.ModuleDict({"a": pool_a, "b": pool_b})


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """``L_G = gan(D_b, G a) + gan(D_a, F b) + cycle (|F G a - a|_1 + |G F b - b|_1) + cycle · identity (|G b - b|_1 +
    |F a - a|_1)``, and for each discriminator ``loss_D(D(real), D(pool(fake)))`` (eqs. 2, 3 and section 5.2).

    The batch is (pictures of a (B, C, H, W), pictures of b), in [-1, 1]; which is beside which says nothing.

    Args:
        loss: of the adversaries; of the paper's least squares, the generator's is counted twice, (D - 1)².
        cycle: weight of coming back.
        identity: relative weight of leaving alone what is right already; 0 leaves it out. It keeps the colours.
    """

    loss: Loss = LEAST_SQUARES
    cycle: float = 10.0
    identity: float = 0.5

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor], noise: torch.Generator) -> dict[str, Tensor]:
        assert isinstance(model, Translators)
        a, b = batch
        forth, back = model.generator["forth"], model.generator["back"]
        judge_a, judge_b = model.discriminator["a"], model.discriminator["b"]
        fake_b, fake_a = forth(a), back(b)
        cycle = l1(back(fake_b), a) + l1(forth(fake_a), b)
        fooling = self.loss.generator(judge_b(fake_b).float()) + self.loss.generator(judge_a(fake_a).float())
        generator = 2 * fooling + self.cycle * cycle
        said = {"fooling": fooling, "cycle": cycle}
        if self.identity:
            said["identity"] = l1(forth(b), b) + l1(back(a), a)
            generator = generator + self.cycle * self.identity * said["identity"]
        old_a, old_b = model.pool["a"](fake_a, noise), model.pool["b"](fake_b, noise)
        discriminator = self.loss.discriminator(judge_a(a).float(), judge_a(old_a).float())
        discriminator = discriminator + self.loss.discriminator(judge_b(b).float(), judge_b(old_b).float())
        return {"generator": generator, "discriminator": discriminator, **said}


def l1(x: Tensor, y: Tensor) -> Tensor:
    """The mean absolute difference."""
    return (x.float() - y).abs().mean()
