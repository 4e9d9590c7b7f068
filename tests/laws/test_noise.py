"""The seed contract: what a picture's noise depends on, and that a batch of n equals n singles byte for byte."""

import pytest
import torch
from tests.laws.alone import singly
from torch import Tensor, nn

from danqing.denoise import Boundary, Denoiser
from danqing.guide import compose, rescaled
from danqing.noise import Noise
from danqing.schedule import EDM, SPACINGS, VE, VP, Cosine, Flow, ScaledLinear, Schedule
from danqing.solve import core
from danqing.types import Conditioning, Denoise, Denoised
from solver_orders import EVERY, built

SHAPE = (3, 8, 8)


def test_a_draw_depends_on_its_own_picture_alone():
    like = torch.zeros(4, *SHAPE)
    batch = Noise.of(7, [0, 1, 2, 3])(like, 5, 1)
    for i in range(4):
        assert torch.equal(Noise.of(7, [i])(like[:1], 5, 1)[0], batch[i])
    mixed = Noise(((7, 2), (9, 0), (7, 0)))(like[:3], 5, 1)
    assert torch.equal(mixed[0], batch[2]) and torch.equal(mixed[2], batch[0])


def test_seed_index_stage_step_and_draw_each_change_the_noise():
    like = torch.zeros(1, *SHAPE)
    draws = [
        Noise.of(0, [0])(like), Noise.of(1, [0])(like), Noise.of(0, [1])(like), Noise.of(0, [0], "refine")(like),
        Noise.of(0, [0])(like, 1), Noise.of(0, [0])(like, 0, 1), Noise.of(0, [0]).at(1)(like, 1),
    ]  # fmt: skip
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.3
    assert torch.equal(Noise.of(0, [0]).at(1)(like, 0), draws[4])


def test_precision_does_not_change_the_draw():
    wide = Noise.of(0, [0])(torch.zeros(1, *SHAPE, dtype=torch.float64))
    assert torch.equal(Noise.of(0, [0])(torch.zeros(1, *SHAPE)), wide.float())


def test_noise_is_standard_normal():
    z = Noise.of(0, range(4))(torch.zeros(4, 1, 200, 200))
    assert z.mean().abs() < 0.01 and (z.std() - 1).abs() < 0.01
    assert (torch.corrcoef(z.flatten(1)) - torch.eye(4)).abs().max() < 0.03


def test_noise_for_another_number_of_pictures_is_refused():
    with pytest.raises(ValueError, match="2 pictures"):
        Noise.of(0, [0, 1])(torch.zeros(3, *SHAPE))


def test_the_default_device_does_not_change_the_draw():
    like = torch.zeros(1, *SHAPE)
    with torch.device("meta"):
        assert torch.equal(Noise.of(0, [0])(like), Noise.of(0, [0])(like.cpu()))


class Net(nn.Module):
    """Convolutions, a matrix product and a normalisation: kernels whose rounding depends on the batch."""

    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 3, 3, padding=1)
        self.norm, self.text = nn.GroupNorm(4, 24), nn.Linear(5, 24)

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **_) -> Tensor:
        h = self.norm(self.enter(x)) + (self.text(tokens).mean(1) + time[:, None] / 1000)[:, :, None, None]
        return self.leave(torch.nn.functional.silu(h))


torch.manual_seed(0)
DENOISER = Denoiser(Net(), Flow(), "flow")
WORDS = Conditioning(tokens=torch.randn(8, 4, 5))
EMPTY = Conditioning(tokens=torch.zeros(1, 4, 5))


def guided(picture: int) -> Denoise:
    words = WORDS.map(lambda v: v[picture : picture + 1])
    return rescaled(compose(DENOISER, [(words, 4.0)], EMPTY), 0.5)


def paint(name: str, pictures: list[int]) -> Tensor:
    points = core.points(Flow(), SPACINGS["linspace"](Flow(), 5))
    x = Noise.of(3, pictures, "start")(torch.zeros(len(pictures), *SHAPE))
    points = points[::-1] if name == "inversion" else points
    denoise = singly(*map(guided, pictures))
    for state in core.sample(denoise, built(name), points, x, Noise.of(3, pictures)):
        x = state.x
    return x


@pytest.mark.parametrize("name", EVERY)
def test_a_solver_reads_no_number_of_the_sample_and_mixes_no_devices(name: str):
    """On the meta device, which has no numbers: a tensor left on the CPU or a value looked up would be an error."""
    points = core.points(VP(), SPACINGS["linspace"](VP(), 5))
    points = points[::-1] if name == "inversion" else points
    x = torch.zeros(2, *SHAPE, device="meta")
    states = list(
        core.sample(lambda x, t: Denoised(x * t.view(-1, 1, 1, 1)), built(name), points, x, Noise.of(0, [0, 1]))
    )
    assert all(tensor.device.type == "meta" for s in states for tensor in (s.x, s.x0))


@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [(Flow(), "flow"), (ScaledLinear(), "eps"), (EDM(), "edm"), (VE(), "score"), (VP(), "v"), (Cosine(), "x0")],
    ids=str,
)
def test_an_estimate_reads_no_number_of_the_sample_and_mixes_no_devices(schedule: Schedule, prediction: str):
    words = Conditioning(tokens=torch.zeros(1, 4, 5, device="meta"))
    denoiser = Denoiser(Net().to("meta"), schedule, prediction)
    denoise = Boundary(denoise=singly(rescaled(compose(denoiser, [(words, 4.0)], words), 0.5)), schedule=schedule)
    x, t = torch.zeros(2, *SHAPE, device="meta"), torch.ones(2, device="meta")
    assert denoise(x, t).x0.device == denoiser.noisy(x, x, t).device == denoiser.target(x, x, t).device == x.device
    assert schedule.time(t).device == x.device


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_n_equals_n_singles_byte_for_byte(name: str):
    singles = torch.cat([paint(name, [i]) for i in range(8)])
    for pictures in ([0, 1], [0, 1, 2], list(range(8)), [5, 2, 7, 0, 3, 6, 1, 4], [6, 6]):
        assert torch.equal(paint(name, pictures), singles[pictures])
