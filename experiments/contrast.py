"""Networks that learn who is shown by contrast, and the one that judges.

Of a batch of people the two drawings of each are to be nearest to each other (InfoNCE: van den Oord et al. 2018; both
ways as Radford et al. 2021). The one that judges sees for itself, from pixels: it is no part of what conditions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danqing.learn.objectives.contrastive import contrastive
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.levels import levels_of
from danqing.nets.features import FeatureConfig, Features
from danqing.noise import keyed
from danqing.weights import store
from experiments.common import fast, quick

CPU = torch.device("cpu")
#: Of the judge.
LOOKS = FeatureConfig(image_size=128, patch=4, widths=(32, 64, 128, 192), norm_num_groups=8, texture=3, features=128)
#: How much the logits of the contrast grow at most.
SHARPEST = 60.0


def jittered(pictures: Tensor, draw: torch.Generator) -> Tensor:
    """Levels (N, 3, H, W) a little turned, moved, stretched, tinted, noisy, and some of them soft."""
    n = len(pictures)
    turn, scale = 0.06 * torch.randn(n, generator=draw), 1 + 0.06 * torch.randn(n, 2, generator=draw)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() * scale[:, 0], -turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin(), turn.cos() * scale[:, 1]
    theta[:, :, 2] = 0.05 * torch.randn(n, 2, generator=draw)
    where = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures, where, align_corners=False, padding_mode="border")
    soft = (torch.rand(n, generator=draw) < 0.3)[:, None, None, None]
    moved = torch.where(soft, F.interpolate(F.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear"), moved)
    tint = 1 + 0.06 * torch.randn(n, 3, 1, 1, generator=draw)
    shift = 0.05 * torch.randn(n, 3, 1, 1, generator=draw)
    return (moved * tint + shift + 0.05 * torch.randn(moved.shape, generator=draw)).clamp(-1, 1)


def learned(net: nn.Module, loss: Callable[[int], Tensor], steps: int, rate: float, said: str) -> None:
    """So many steps of AdamW, the rate falling over the second half; then the network is the average of its last."""
    those = [each for each in net.parameters() if each.requires_grad]
    average = EMA(net, 0.97)
    run = Training(
        model=net,
        objective=lambda model, batch, noise: {"loss": loss(batch)},
        batches=lambda step: step,
        optimisers={"loss": torch.optim.AdamW(those, rate, weight_decay=0.1, betas=(0.9, 0.98))},
        rate=Trapezoid(30, steps, steps // 2),
        ema=average,
        clip=math.inf,
    )
    for done in run.run(steps):
        if done.step % 25 == 0 or done.step == steps:
            print(f"{said} {done.step}/{steps}: {done.losses['loss']:.4f}", flush=True)
    net.load_state_dict(average.model.state_dict())
    net.eval()


class Sees(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to unit vectors (B, D) of who they show."""

    def __init__(self, config: FeatureConfig = LOOKS):
        super().__init__()
        self.features = Features(config)
        self.sharp = nn.Parameter(torch.tensor(3.0))

    def forward(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.features(pictures), dim=1)

    @torch.inference_mode()
    def people(self, pictures: Tensor) -> Tensor:
        """Bytes (N, 3, H, W) -> (N, D)."""
        return torch.cat([self(levels_of(part)) for part in pictures.split(64)])


def judge(home: Path, steps: int, batch: int) -> None:
    """Who judges: a network of its own, by another seed, from pixels."""
    torch.manual_seed(77)
    pictures = np.load(home / "train.npy", mmap_mode="r")
    net = Sees()
    quick(net, CPU)

    def loss(step: int) -> Tensor:
        draw = keyed("identity", "judge", step)
        who = torch.randperm(len(pictures), generator=draw)[:batch].numpy()
        shown = torch.from_numpy(pictures[who]).movedim(-1, 2)
        with fast(CPU):
            one, other = (net(jittered(levels_of(shown[:, i]), draw)) for i in (0, 1))
        return contrastive(one.float(), other.float(), net.sharp.exp().clamp(max=SHARPEST))

    learned(net, loss, steps, 2e-3, "judge")
    store.write(home / "judge.safetensors", net.state_dict())


def judged(home: Path) -> Sees:
    """The judge that was trained."""
    net = Sees()
    net.load_state_dict(store.read(home / "judge.safetensors"))
    return net.eval().requires_grad_(False)
