"""The step with a learned variance against diffusers' DDPM scheduler, the whole trajectory."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from danqing.denoise import LearnedVariance
from danqing.noise import Draw
from danqing.schedule import Linear, trailing
from danqing.solve import core
from danqing.solve.learned import LearnedDDPM
from danqing.types import Conditioning

NONE = Conditioning(tokens=torch.zeros(1, 1, 1))


class Net(nn.Module):
    """Some function of x and time, with some variance."""

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor | None = None, **_) -> Tensor:
        wave = (x + time.view(-1, 1, 1, 1) / 7).sin()
        return torch.cat([0.6 * x + 0.2 * wave, wave.roll(1, -1)], 1)


@pytest.mark.parametrize(("prediction", "theirs"), [("eps", "epsilon"), ("v", "v_prediction"), ("x0", "sample")])
def test_the_whole_trajectory_is_that_of_diffusers(prediction: str, theirs: str):
    count, net = 25, Net()
    schedule = Linear(start=0.002, end=0.3, count=count)
    other = DDPMScheduler(
        num_train_timesteps=count,
        beta_start=0.002,
        beta_end=0.3,
        variance_type="learned_range",
        prediction_type=theirs,
        clip_sample=False,
    )
    other.set_timesteps(count)
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generator, x, expected, drawn = torch.Generator().manual_seed(1), start, [], []
    for time in other.timesteps:
        state = generator.get_state()
        x = other.step(net(x, time.expand(2)), int(time), x, generator=generator).prev_sample
        drawn.append(torch.randn(x.shape, generator=torch.Generator().set_state(state), dtype=x.dtype))
        expected.append(x)

    class Drawn:
        def at(self, step: int) -> Draw:
            return lambda like, draw=0: drawn[step]

    model, points = LearnedVariance(net, schedule, prediction), core.points(schedule, trailing(schedule, count))
    found = [s.x for s in core.sample(lambda x, t: model(x, t, NONE), LearnedDDPM(), points, start, Drawn())]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-4, atol=1e-4)
