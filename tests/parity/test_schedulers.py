"""Whole trajectories, step by step, against the schedulers of diffusers, as installed.

One nonlinear denoiser, D = tanh(1.3 y / sqrt(1 + kappa^2)) on y = x / alpha, stands for the network. Their schedulers
hold their tables in float32, which sets the tolerance. Where one of them departs from its paper the test says how.
"""

from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from danqing.denoise import Boundary, Denoiser
from danqing.noise import Draw, Noise
from danqing.schedule import (
    EDM,
    SPACINGS,
    VE,
    Cosine,
    Flow,
    Linear,
    ScaledLinear,
    Schedule,
    exponential,
    karras,
    leading,
)
from danqing.solve import ancestral, classic, core, dpmpp, unipc
from danqing.solve.core import Point, Solver
from danqing.types import Conditioning, Denoised

DOUBLE = torch.float64
TABLE = ScaledLinear()
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
START = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)


def clean(y: Tensor, kappa: float) -> Tensor:
    return torch.tanh(1.3 * y / (1 + kappa**2) ** 0.5)


def epsilon(y: Tensor, kappa: float) -> Tensor:
    return (y - clean(y, kappa)) / kappa


class Shared:
    """The stream of draws that a scheduler takes from a generator, in its precision."""

    def __init__(self, dtype: torch.dtype):
        self.generator, self.dtype = torch.Generator().manual_seed(7), dtype

    def at(self, step: int) -> Draw:
        return lambda like, draw=0: torch.randn(like.shape, generator=self.generator, dtype=self.dtype).to(like)


def ours(
    solver: Solver, kappas: Sequence[float], dtype: torch.dtype = DOUBLE, wrap: Callable = lambda denoise: denoise
) -> Tensor:
    """y after every step, (N, ...), over these kappas, with START as the noise of the first."""
    times = TABLE.time(-2 * torch.tensor(kappas, dtype=DOUBLE).log())
    points = core.points(TABLE, times)

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        alpha, sigma = (c.item() for c in TABLE(t))
        return Denoised(clean(x / alpha, sigma / alpha))

    states = core.sample(wrap(denoise), solver, points, START * points[0].sigma, Shared(dtype))
    return torch.stack([s.x / q.alpha for s, q in zip(states, points[1:], strict=True)])


def alpha(kappa: float) -> float:
    return (1 + kappa**2) ** -0.5


def walk(scheduler: Any, kappas: Sequence[float], scaled: bool, every: int = 1, **options: Any) -> Tensor:
    """y after every whole step of theirs, (N, ...).

    kappas: of each call, and last that of the end. scaled: whether their sample is x, or y itself. every: calls to a
    step, where the last step, to clean, has one.
    """
    unit = [alpha(k) if scaled else 1.0 for k in kappas]
    x, after = START * kappas[0] * unit[0], []
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        x = scheduler.step(epsilon(x / unit[i], kappas[i]).to(x.dtype), t, x, return_dict=False, **options)[0]
        after.append(x / unit[i + 1])
    return torch.stack([*after[every - 1 : -1 : every], after[-1]])


def close(mine: Tensor, theirs: Tensor) -> None:
    assert mine.shape == theirs.shape
    torch.testing.assert_close(mine, theirs.to(DOUBLE), rtol=1e-4, atol=1e-4)


def level_kappas(scheduler: Any) -> list[float]:
    """kappa of each whole timestep, and 0."""
    signal, sigma = TABLE((scheduler.timesteps.to(DOUBLE) + 1) / 1000)
    return [*(sigma / signal).tolist(), 0.0]


def sigmas(scheduler: Any) -> list[float]:
    return [float(s) for s in scheduler.sigmas]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [7, 20])
def test_spacings_visit_their_timesteps(spacing: str, steps: int):
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing, steps_offset=1)
    scheduler.set_timesteps(steps)
    times = SPACINGS[spacing](TABLE, steps)
    torch.testing.assert_close(TABLE.timestep(times[:-1]), scheduler.timesteps.to(DOUBLE), rtol=0, atol=1e-3)
    t, s = TABLE(times)
    torch.testing.assert_close(s / t, scheduler.sigmas.to(DOUBLE), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("spacing", "option"), [(karras, "use_karras_sigmas"), (exponential, "use_exponential_sigmas")]
)
def test_karras_and_exponential_spacings_visit_their_sigmas(spacing: Callable, option: str):
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, **{option: True})
    scheduler.set_timesteps(10)
    t, s = TABLE(spacing(TABLE, 10))
    torch.testing.assert_close(s / t, scheduler.sigmas.to(DOUBLE), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize(
    ("kind", "name"), [(Linear, "linear"), (ScaledLinear, "scaled_linear"), (Cosine, "squaredcos_cap_v2")]
)
def test_tables_of_betas(kind: Callable, name: str, zero_snr: bool):
    ends = {} if kind is Cosine else {"start": 0.00085, "end": 0.012}
    named = {f"beta_{end}": value for end, value in ends.items()}
    theirs = diffusers.DDIMScheduler(**named, beta_schedule=name, rescale_betas_zero_snr=zero_snr).alphas_cumprod
    levels = torch.arange(1, 1001, dtype=DOUBLE) / 1000
    signal, _ = kind(**ends, zero_snr=zero_snr)(levels)
    torch.testing.assert_close(signal.square(), theirs.to(DOUBLE), rtol=1e-4, atol=1e-7)


def test_ve_levels():
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_min=0.02, sigma_max=30.0)
    scheduler.set_sigmas(1000)
    _, sigma = VE(sigma_min=0.02, sigma_max=30.0)(torch.arange(1, 1001, dtype=DOUBLE) / 1000)
    torch.testing.assert_close(sigma, scheduler.discrete_sigmas.to(DOUBLE), rtol=1e-4, atol=0)


class Net(nn.Module):
    """Stands for a network of any parametrisation; its answer depends on the input as scaled and on the time as
    given."""

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor, **_: Any) -> Tensor:
        return torch.tanh(1.3 * x + 0.1 * torch.cos(time).view(-1, 1, 1, 1))


def painted(schedule: Schedule, prediction: str, times: Tensor) -> Tensor:
    """x after every step of Euler with ``Net`` as that parametrisation, (N, ...), from START as the noise."""
    denoiser, none = Denoiser(Net(), schedule, prediction), Conditioning(tokens=torch.zeros(1, 1, 1, dtype=DOUBLE))
    points = core.points(schedule, times)
    states = core.sample(
        lambda x, t: denoiser(x, t, none), ancestral.DDIM(), points, START * points[0].sigma, Noise.of(0, [0])
    )
    return torch.stack([s.x for s in states])


@pytest.mark.parametrize(
    ("prediction", "name", "zero_snr"),
    [("eps", "epsilon", False), ("x0", "sample", False), ("v", "v_prediction", False), ("v", "v_prediction", True)],
)
def test_parametrisations(prediction: str, name: str, zero_snr: bool):
    scheduler = diffusers.DDIMScheduler(
        **BETAS, prediction_type=name, timestep_spacing="trailing", rescale_betas_zero_snr=zero_snr, clip_sample=False
    )
    scheduler.set_timesteps(10)
    table = ScaledLinear(zero_snr=zero_snr)
    x, after = START * table(torch.ones(1, dtype=DOUBLE))[1], []
    for t in scheduler.timesteps:
        x = scheduler.step(Net()(x, t.to(DOUBLE), x), t, x, return_dict=False)[0]
        after.append(x)
    close(painted(table, prediction, SPACINGS["trailing"](table, 10)), torch.stack(after))


@pytest.mark.parametrize("spacing", [karras, exponential])
def test_edm(spacing: Callable):
    """Their own preconditioning around the same network, and their sigmas."""
    kind = "karras" if spacing is karras else "exponential"
    scheduler = diffusers.EDMEulerScheduler(sigma_schedule=kind)
    scheduler.set_timesteps(10)
    times = spacing(EDM(), 10)
    torch.testing.assert_close(EDM()(times)[1], scheduler.sigmas.to(DOUBLE), rtol=1e-4, atol=1e-7)
    x, after = START * scheduler.sigmas[0].to(DOUBLE), []
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(Net()(scaled, t.to(DOUBLE), x), t, x, return_dict=False)[0]
        after.append(x)
    close(painted(EDM(), "edm", times), torch.stack(after))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta: float):
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=True, steps_offset=1)
    scheduler.set_timesteps(10)
    kappas = level_kappas(scheduler)
    theirs = walk(scheduler, kappas, True, eta=eta, generator=torch.Generator().manual_seed(7))
    close(ours(ancestral.DDIM(eta=eta), kappas), theirs)
    times = leading(TABLE, 10)
    torch.testing.assert_close(TABLE.timestep(times[:-1]), scheduler.timesteps.to(DOUBLE), rtol=0, atol=1e-9)


def test_ddim_inversion():
    """Their pipelines ask the network for the noise at the level that a step ends at; here both are given that of the
    level that it starts from (from clean, the level that it ends at), so that the steps themselves are compared."""
    scheduler = diffusers.DDIMInverseScheduler(**BETAS, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    kappas = [0.0, *level_kappas(scheduler)[:-1]]
    y, after = START.clone(), []
    for i, t in enumerate(scheduler.timesteps):
        asked = epsilon(y, kappas[i] or kappas[i + 1])
        y = scheduler.step(asked, t, y * alpha(kappas[i]), return_dict=False)[0] / alpha(kappas[i + 1])
        after.append(y)
    points = core.points(TABLE, leading(TABLE, 10, offset=0).flip(0))

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        a, s = (c.item() for c in TABLE(t))
        return Denoised(clean(x / a, s / a))

    states = core.sample(denoise, ancestral.Inversion(), points, START, Noise.of(0, [0]))
    close(torch.stack([s.x / q.alpha for s, q in zip(states, points[1:], strict=True)]), torch.stack(after))


def test_ddpm():
    scheduler = diffusers.DDPMScheduler(**BETAS, clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(10)
    kappas = level_kappas(scheduler)
    close(ours(ancestral.DDPM(), kappas), walk(scheduler, kappas, True, generator=torch.Generator().manual_seed(7)))


def test_plms():
    """Their first step is two calls, at its two ends."""
    scheduler = diffusers.PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    kappas = level_kappas(scheduler)  # k0, k1, k1, k2, ...
    x, after = START * kappas[0] * alpha(kappas[0]), []
    for t, k in zip(scheduler.timesteps, kappas, strict=False):
        x = scheduler.step(epsilon(x / alpha(k), k), t, x, return_dict=False)[0]
        after.append(x)
    whole = [kappas[0], *kappas[2:]]
    theirs = torch.stack([x / alpha(k) for x, k in zip(after[1:], whole[1:], strict=True)])
    close(ours(classic.PLMS(), whole), theirs)


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_euler(spacing: str):
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing)
    scheduler.set_timesteps(10)
    close(ours(ancestral.DDIM(), sigmas(scheduler)), walk(scheduler, sigmas(scheduler), False))


def test_euler_ancestral():
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(10)
    theirs = walk(scheduler, sigmas(scheduler), False, generator=torch.Generator().manual_seed(7))
    close(ours(ancestral.DDIM(eta=1.0), sigmas(scheduler)), theirs)


def test_heun():
    scheduler = diffusers.HeunDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(10)
    whole = [sigmas(scheduler)[0], *sigmas(scheduler)[1::2]]
    close(ours(classic.Heun(), whole), walk(scheduler, sigmas(scheduler), False, every=2))


def test_dpm2():
    """Their last step is a half one to clean, where ours is whole; the first N - 1 are the same."""
    scheduler = diffusers.KDPM2DiscreteScheduler(**BETAS)
    scheduler.set_timesteps(10)
    whole = [sigmas(scheduler)[0], *sigmas(scheduler)[1:-1:2]]
    between = [float(s) for s in scheduler.sigmas_interpol[1::2]]
    calls = [k for pair in zip(whole, between, strict=False) for k in pair][: len(scheduler.timesteps)]
    close(ours(classic.DPMSolver(), whole)[:-1], walk(scheduler, [*calls, 0.0], False, every=2)[:-1])


def test_lms():
    """Theirs integrates its polynomials numerically, to 1e-4."""
    scheduler = diffusers.LMSDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(10)
    close(ours(classic.LMS(), sigmas(scheduler)), walk(scheduler, sigmas(scheduler), False))


MULTISTEP = {
    "2M": (dpmpp.Multistep(), {}),
    "2M heun": (dpmpp.Multistep(midpoint=False), {"solver_type": "heun"}),
    "3M": (dpmpp.Multistep(order=3, curvature=0.5), {"solver_order": 3, "solver_type": "heun"}),
    "1M SDE": (dpmpp.Multistep(order=1, eta=1.0), {"solver_order": 1, "algorithm_type": "sde-dpmsolver++"}),
    "2M SDE": (dpmpp.Multistep(eta=1.0), {"algorithm_type": "sde-dpmsolver++"}),
    "2M SDE heun": (
        dpmpp.Multistep(eta=1.0, midpoint=False), {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MULTISTEP)
def test_dpm_solver_multistep(name: str):
    """Their 3M takes the second divided difference of D for its second derivative, which is twice it, and so is of
    second order: ``curvature=0.5`` does as they do. Their third-order SDE has moreover -1/2 for +1/2 in the weight of
    that difference, which then does not vanish with the step: 3M SDE is compared with k-diffusion's instead."""
    solver, options = MULTISTEP[name]
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, **options, timestep_spacing="trailing")
    scheduler.set_timesteps(16)
    noise = {"generator": torch.Generator().manual_seed(7)} if "SDE" in name else {}
    close(ours(solver, sigmas(scheduler), torch.float32), walk(scheduler, sigmas(scheduler), True, **noise))


SINGLESTEP = {
    "DPM-Solver++ 2S": (dpmpp.Singlestep(), 2, {"algorithm_type": "dpmsolver++"}),
    "DPM-Solver 2": (classic.DPMSolver(order=2), 2, {"algorithm_type": "dpmsolver"}),
}


@pytest.mark.parametrize("name", SINGLESTEP)
def test_dpm_solver_singlestep(name: str):
    """Theirs makes points of the grid its midpoints: over a grid even in log kappa two steps of theirs are one of ours.

    Only whole steps of order 2 are compared; order 3 is compared with k-diffusion's, since theirs has the formula of
    another order 2 for its look ahead than the paper's order 3.
    """
    solver, order, options = SINGLESTEP[name]
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        **BETAS, **options, solver_order=order, use_exponential_sigmas=True, final_sigmas_type="sigma_min",
        lower_order_final=False,
    )  # fmt: skip
    scheduler.set_timesteps(13)
    kappas = sigmas(scheduler)
    theirs = walk(scheduler, kappas, True)[order - 1 : 12 : order]
    close(ours(solver, kappas[0:13:order])[: len(theirs)], theirs)


@pytest.mark.parametrize(("order", "b"), [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_unipc(order: int, b: int):
    """Theirs goes to clean with order 2 and B2 alone: B1 is not a number there, and order 3 is lowered in the last two
    steps, where ours is in the last. So the others end at a noisy point."""
    clean_end = (order, b) == (2, 2)
    end = {} if clean_end else {"final_sigmas_type": "sigma_min", "lower_order_final": False}
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS, **end, solver_order=order, solver_type=f"bh{b}", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    close(ours(unipc.UniPC(order=order, b=b), sigmas(scheduler)), walk(scheduler, sigmas(scheduler), True))


def test_lcm():
    scheduler = diffusers.LCMScheduler(**BETAS, clip_sample=False, original_inference_steps=50)
    scheduler.set_timesteps(4)
    kappas = level_kappas(scheduler)
    theirs = walk(scheduler, kappas, True, generator=torch.Generator().manual_seed(7))

    def bounded(denoise: Callable) -> Boundary:
        return Boundary(denoise=denoise, schedule=TABLE)

    close(ours(ancestral.LCM(), kappas, wrap=bounded), theirs)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_match_euler(shift: float):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    uniform = torch.linspace(1, 1 / 1000, 10).tolist()
    scheduler.set_timesteps(sigmas=uniform)
    schedule: Schedule = Flow(shift=shift)
    points = core.points(schedule, SPACINGS["linspace"](schedule, 10))
    assert [p.sigma for p in points] == pytest.approx(sigmas(scheduler), abs=1e-6)
    timesteps = schedule.timestep(torch.tensor([p.t for p in points[:-1]], dtype=DOUBLE))
    torch.testing.assert_close(timesteps, scheduler.timesteps.to(DOUBLE), rtol=0, atol=1e-3)

    def guess(x: Tensor, p: Point) -> Tensor:
        return torch.tanh(1.3 * x / (p.sigma**2 + p.alpha**2) ** 0.5)

    x, theirs = START.float(), []
    for t, p in zip(scheduler.timesteps, points, strict=False):
        x = scheduler.step((x - guess(x, p)) / p.sigma, t, x, return_dict=False)[0]
        theirs.append(x)
    looks = iter(points)
    walked = core.sample(
        lambda x, t: Denoised(guess(x, next(looks))), ancestral.DDIM(), points, START, Noise.of(0, [0])
    )
    close(torch.stack([s.x for s in walked]), torch.stack(theirs))
