"""Whole trajectories, step by step and draw by draw, against k-diffusion 0.1.1, recorded by record_kdiffusion.py."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from danqing.noise import Draw
from danqing.schedule import EDM, Flow, ScaledLinear, Schedule
from danqing.solve import ancestral, classic, core, dpmpp, solvers
from danqing.solve.core import Solver
from danqing.types import Denoised

FIXTURE = Path(__file__).parent / "fixtures" / "kdiffusion.npz"
RECORD = {name: torch.from_numpy(value) for name, value in np.load(FIXTURE).items()}

#: Two of theirs are not of the order they are named for, which tests/laws measures, and ours takes an option to do the
#: same: the 3M SDE takes a divided difference for a second derivative that is twice it (curvature), and the SDE of 2S,
#: given independent draws, is of first order (brownian).
SOLVERS: dict[str, Solver] = {
    "euler": ancestral.DDIM(),
    "heun": classic.Heun(),
    "dpm2": classic.DPMSolver(),
    "lms": classic.LMS(),
    "dpmpp-2m": dpmpp.Multistep(),
    "dpmpp-2s": dpmpp.Singlestep(),
    "euler-a": ancestral.DDIM(eta=1.0),
    "euler-a eta 0.5": ancestral.DDIM(eta=0.5),
    "dpmpp-2s-a": dpmpp.Singlestep(eta=1.0),
    "dpmpp-sde": dpmpp.SinglestepSDE(brownian=False),
    "dpmpp-2m-sde": dpmpp.Multistep(eta=1.0),
    "dpmpp-2m-sde eta 0.5": dpmpp.Multistep(eta=0.5),
    "dpmpp-2m-sde heun": dpmpp.Multistep(eta=1.0, midpoint=False),
    "dpmpp-3m-sde": solvers.solver("dpmpp-3m-sde"),
    "dpm-solver-2": classic.DPMSolver(order=2),
    "dpm-solver-3": classic.DPMSolver(order=3),
}


class Recorded:
    """The recorded draws, in the order in which they were asked for."""

    def __init__(self):
        self.left = iter(RECORD["draws"])

    def at(self, step: int) -> Draw:
        return lambda like, draw=0: next(self.left)


@pytest.mark.parametrize("schedule", [EDM(), ScaledLinear(), Flow()], ids=str)
@pytest.mark.parametrize("name", SOLVERS)
def test_trajectory(name: str, schedule: Schedule):
    """k-diffusion knows VE alone; ours gives its trajectory under any schedule, with noise scaled by alpha."""
    points = core.points(schedule, schedule.time(-2 * RECORD["sigmas"].log()))
    scale = [p.alpha for p in points]

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        alpha, sigma = (c.item() for c in schedule(t))
        return Denoised(torch.tanh(1.3 * (x / alpha) / (1 + (sigma / alpha) ** 2) ** 0.5))

    steps = core.sample(denoise, SOLVERS[name], points, RECORD["start"] * scale[0], Recorded())
    walk = torch.stack([s.x / a for s, a in zip(steps, scale[1:], strict=True)])
    expected = RECORD[name]
    torch.testing.assert_close(walk[: len(expected)], expected, rtol=1e-9, atol=1e-9)


def test_every_recorded_sampler_is_compared():
    assert set(RECORD) - {"sigmas", "start", "draws"} == set(SOLVERS)
