"""Laws of clips: frames are a batch of one picture's, which only layers of motion know to belong together."""

from dataclasses import replace
from typing import cast

import pytest
import torch
from tests.laws.alone import singly
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.guide import compose
from danqing.nets.ports import Context
from danqing.nets.trunk import Stage
from danqing.nets.unet import SD1, UNet
from danqing.noise import Noise
from danqing.schedule import Flow, sgm_uniform
from danqing.solve import core, solvers
from danqing.tiles import Tiling, in_tiles
from danqing.types import Conditioning, Denoise, Denoised

F = 3
TINY = replace(
    SD1,
    block_out_channels=(8, 16),
    transformer_layers=(1, 0),
    attention_heads=(2, 2),
    norm_num_groups=4,
    cross_attention_dim=12,
    layers_per_block=1,
)


class Motion(nn.Module):
    """A layer of motion (port 2): each frame is drawn towards the mean of its clip, by what its place says."""

    def __init__(self, strength: float = 1.0):
        super().__init__()
        self.places, self.strength = torch.randn(16, 1, generator=torch.Generator().manual_seed(4)), strength

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        frame = ctx.extra.get("frame")  # (B, F)
        if frame is None:
            return x
        clips = x.unflatten(0, (-1, frame.shape[1]))  # (clips, F, C, h, w)
        mean = clips.mean(1, keepdim=True).expand_as(clips).flatten(0, 1)
        place = frame @ self.places[: frame.shape[1]].to(frame)  # (B, 1)
        return x + self.strength * (1 + place[..., None, None]) * (mean - x)


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(UNet(TINY).requires_grad_(False), Flow(), "flow")


def insert(denoiser: Denoiser, layer: nn.Module) -> None:
    """Behind every step of every stage."""
    for stage in denoiser.net.modules():
        for step in stage.inserted if isinstance(stage, Stage) else ():
            cast(nn.ModuleDict, step)["motion"] = layer


def words(seed: int) -> Conditioning:
    return Conditioning(tokens=torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(seed)))


def walk(denoise: Denoise, noise: Noise, solver: str = "euler-a") -> Tensor:
    """What is sampled for every key of the noise, (B, C, h, w)."""
    points = core.points(Flow(), sgm_uniform(Flow(), 4))
    start = replace(noise, stage="start")(torch.zeros(len(noise.keys), 4, 8, 16))
    *_, last = core.sample(denoise, solvers.solver(solver), points, start, noise)
    return last.x


def guided(denoiser: Denoiser, frames: int) -> Denoise:
    return compose(denoiser, [(words(1).over(frames), 3.0), (words(2).over(frames), 1.0)], words(3).over(frames))


def clip() -> Noise:
    return Noise.of(7, [2], frames=F)


def test_the_first_frame_draws_what_a_still_does_and_every_frame_noise_of_its_own():
    like, still = torch.zeros(F, 4, 8, 8), Noise.of(7, [2])
    drawn = clip()(like, 3, 1)
    assert torch.equal(drawn[:1], still(like[:1], 3, 1)) and torch.equal(clip()(like[:F], 3, 1), drawn)
    assert Noise.of(7, [2], frames=1) == still
    every = Noise.of(7, [0, 1, 2], frames=F)(torch.zeros(3 * F, 4, 8, 8), 3, 1)
    assert torch.equal(every[-F:], drawn)
    apart = torch.corrcoef(torch.cat([every, Noise.of(7, [3])(like[:1], 3, 1)]).flatten(1)) - torch.eye(3 * F + 1)
    assert apart.abs().max() < 0.3


@pytest.mark.parametrize("solver", ["euler-a", "dpmpp-2m", "pc", "dpmpp-sde", "unipc"])
def test_without_motion_each_frame_is_the_still_of_its_key(denoiser: Denoiser, solver: str):
    still = guided(denoiser, 1)
    stills = torch.cat([walk(still, Noise((key,)), solver) for key in clip().keys])
    assert torch.equal(walk(singly(still), clip(), solver), stills)  # bit for bit where each is computed by itself
    torch.testing.assert_close(walk(guided(denoiser, F), clip(), solver), stills, rtol=1e-3, atol=1e-3)


def test_a_layer_of_motion_mixes_the_frames_of_a_clip_and_nothing_else(denoiser: Denoiser):
    """In one batch stand the clips of both terms and of the base; each is mixed by itself."""
    insert(denoiser, Motion())
    x = torch.randn(F, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    t = torch.full((F,), 0.6)
    term, other, base = (words(seed).over(F) for seed in (1, 2, 3))
    d = [denoiser(x, t, cond).x0 for cond in (term, other, base)]
    found = compose(denoiser, [(term, 3.0), (other, 1.0)], base)(x, t).x0
    torch.testing.assert_close(found, d[2] + 3 * (d[0] - d[2]) + (d[1] - d[2]), rtol=1e-3, atol=1e-4)
    moved = denoiser(torch.cat([x[:1] + 1, x[1:]]), t, term).x0
    assert not torch.allclose(moved[1:], d[0][1:])  # a frame reaches the others
    turned = denoiser(x.roll(1, 0), t, term).x0.roll(-1, 0)
    assert not torch.allclose(turned, d[0], rtol=1e-3, atol=1e-3)  # and their order matters


def test_motion_of_no_strength_and_a_still_change_no_bit(denoiser: Denoiser):
    def painted() -> tuple[Tensor, Tensor]:
        return walk(guided(denoiser, F), clip()), walk(guided(denoiser, 1), Noise.of(7, [2]))

    plain, still = painted()
    insert(denoiser, Motion(0.0))
    assert all(map(torch.equal, painted(), (plain, still)))
    insert(denoiser, Motion(1.0))
    moved, same = painted()
    assert torch.equal(same, still) and not torch.allclose(moved, plain)


def test_a_clip_in_tiles_keeps_its_frames_together(denoiser: Denoiser):
    insert(denoiser, Motion())
    seen: list[tuple[torch.Size, torch.Size]] = []

    def watched(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        seen.append((x.shape, cond.extra["frame"].shape))
        return denoiser(x, t, cond)

    x = torch.randn(F, 4, 8, 16, generator=torch.Generator().manual_seed(5))
    assert in_tiles(watched, Tiling(tile=8))(x, torch.full((F,), 0.6), words(1).over(F)).x0.shape == x.shape
    assert set(seen) == {((F, 4, 8, 8), (F, F))}
