"""Ways of guidance beside the classical ones: each neutral where it says so, and equal to what was published."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from diffusers import ClassifierFreeZeroStarGuidance, DDIMScheduler
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from tests.laws.test_estimates import DOUBLE, T, X, d, net, words
from torch import Tensor

from danqing.errors import InvalidInput
from danqing.guide import compose
from danqing.guides.dynamic import dynamic
from danqing.guides.perturbed import perturbed
from danqing.guides.plusplus import plusplus
from danqing.guides.projected import projected
from danqing.guides.terms import led
from danqing.guides.zero_star import zero_star
from danqing.noise import Noise
from danqing.schedule import VP, Flow, Linear, Schedule
from danqing.solve import ancestral, core, solvers
from danqing.solve.core import Point, evaluate
from danqing.types import Denoise, Denoised

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULES = [VP(), Flow(), Linear()]


def at(scale: float) -> Denoise:
    return compose(net, [(words(2.0), scale)], words(0.5))


FLOW = Flow()


def path(schedule: Schedule = FLOW, steps: int = 8) -> tuple[Point, ...]:
    return core.points(schedule, torch.linspace(0.9, 0.1, steps + 1, dtype=DOUBLE))


def walk(solver: core.Solver, denoise: Denoise, points) -> Tensor:
    x = points[0].alpha * X + points[0].sigma * X.flip(0)
    return torch.stack([state.x for state in core.sample(denoise, solver, points, x, Noise.of(0, [0, 1]))])


WRAPPERS: dict[str, Callable[[Denoise], Denoise]] = {
    "cfg++": lambda guided: plusplus(guided, 4.0, 0.6, path()),
    "cfg-zero*": lambda guided: zero_star(guided, path()),
    "apg": lambda guided: projected(guided, 0.0, -0.5, 5.0),
    "pag": lambda guided: perturbed(guided, lambda x, t: Denoised(0.5 * x), 3.0),
    "dynamic": lambda guided: dynamic(guided, 0.9),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapper_moves_the_estimate_alone_by_what_it_is_asked_and_nothing_before(wrap):
    guided, wrapped = at(4.0), wrap(at(4.0))
    found, plain = wrapped(X, T * 0 + 0.5), guided(X, T * 0 + 0.5)
    assert not torch.allclose(found.x0, plain.x0)
    torch.testing.assert_close(found[1:3], plain[1:3])
    wrapped(X * 2, T * 0 + 0.3)
    assert torch.equal(wrapped(X, T * 0 + 0.5).x0, found.x0)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_it_keeps_the_precision_and_a_picture_where_nothing_varies(wrap, dtype):
    def guided(x, t):
        return Denoised(x * 0, x * 0, x * 0)

    found = wrap(guided)(X.to(dtype), T * 0 + 0.5)
    assert found.x0.dtype == dtype and (wrap is WRAPPERS["pag"] or not found.x0.any())


def test_neutral_values_are_the_guided_estimate_itself():
    guided = at(4.0)
    asked: list[Tensor] = []
    assert projected(guided) is guided and dynamic(guided, 1.0) is guided
    assert zero_star(guided, path(), optimised=False) is guided
    assert perturbed(guided, lambda x, t: asked.append(x) or Denoised(x), 0.0) is guided and not asked


# CFG++ ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CFGPlusPlus:
    """DDIM that renoises with the noise of the base: x_q = alpha_q D + sigma_q e_base (Chung et al. 2024)."""

    eta: float = 0.0
    memory: int = 0

    def step(self, denoise, x, p, q, past, noise):
        estimate = evaluate(denoise, x, p)
        down, up = ancestral.split(p, q, self.eta)
        y = estimate.x0 * q.alpha + estimate.noise(estimate.denoised.base) * down.sigma
        return y + noise(x, 0) * up, estimate


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("strength", [0.0, 0.6])
def test_cfg_plus_plus_is_ddim_that_renoises_with_the_noise_of_the_base(schedule, eta, strength):
    points = path(schedule)
    found = walk(ancestral.DDIM(eta=eta), plusplus(at(2.0), 2.0, strength, points, eta), points)
    torch.testing.assert_close(found, walk(CFGPlusPlus(eta=eta), at(strength), points))


def test_cfg_plus_plus_is_cfg_of_a_scale_that_depends_on_the_step():
    """w = lambda / (1 - kappa_q / kappa_p): lambda alone in a step to clean, and where everything is noise."""
    points = core.points(Flow(), torch.linspace(1.0, 0.0, 6, dtype=DOUBLE))
    wrapped = plusplus(at(2.0), 2.0, 0.6, points)
    for i, (p, q) in enumerate(pairwise(points)):
        scale = 0.6 / (1 - q.kappa / p.kappa)
        t = T * 0 + p.t
        torch.testing.assert_close(wrapped(X, t).x0, at(scale)(X, t).x0)
        assert (scale == 0.6) == (i in (0, 4))


@pytest.mark.parametrize(("strength", "scale"), [(1.5, 2.0), (-0.1, 2.0), (0.5, 0.0)])
def test_a_strength_out_of_range_is_refused(strength, scale):
    with pytest.raises(InvalidInput, match="cfgpp"):
        plusplus(at(scale), scale, strength, path())


# Adaptive projected guidance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [4.0, 0.5, 12.0])
@pytest.mark.parametrize(("parallel", "momentum", "limit"), [(0.0, 0.0, 0.0), (0.3, -0.5, 0.0), (1.0, 0.4, 2.0)])
def test_apg_over_a_walk_is_diffusers(scale, parallel, momentum, limit):
    points, buffer = path(), MomentumBuffer(momentum)

    def theirs(x: Tensor, t: Tensor) -> Denoised:
        found = at(scale)(x, t)
        x0 = normalized_guidance(
            found.cond, found.base, scale - 1, buffer, parallel, limit, use_original_formulation=True
        )
        return found._replace(x0=x0)

    ours = walk(ancestral.DDIM(), projected(at(scale), parallel, momentum, limit), points)
    torch.testing.assert_close(ours, walk(ancestral.DDIM(), theirs, points))


def test_apg_without_projection_momentum_and_an_end_is_cfg():
    torch.testing.assert_close(projected(at(7.5), 1.0, 0.0, 1e9)(X, T).x0, at(7.5)(X, T).x0)


def test_apg_of_0_moves_across_the_estimate_alone():
    found = projected(at(7.5), 0.0)(X, T)
    across = found.x0 - found.cond
    torch.testing.assert_close((across * found.cond).sum((1, 2, 3)), torch.zeros(2, dtype=DOUBLE), rtol=0, atol=1e-10)
    assert across.abs().max() > 0.1


def test_the_step_of_apg_is_never_longer_than_its_limit():
    for limit in (0.5, 2.0):
        found = projected(at(7.5), 1.0, 0.0, limit)(X, T)
        far = (found.x0 - found.cond).flatten(1).norm(dim=1) / 6.5
        torch.testing.assert_close(far, (d(2.0) - d(0.5)).flatten(1).norm(dim=1).clamp_max(limit))


def test_apg_counts_the_weights_of_several_terms_itself():
    terms = [(words(2.0), 3.0), (words(-1.0), 1.5)]
    found = projected(compose(net, terms, words(0.5)), 0.0, 0.0, 1e9)(X, T)
    cond = (3 * d(2.0) + 1.5 * d(-1.0)) / 4.5
    want = projected(lambda x, t: Denoised(d(0.5) + 4.5 * (cond - d(0.5)), cond, d(0.5)), 0.0)(X, T)
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("given", [(1.5, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 0.0, -1.0)])
def test_apg_out_of_its_ranges_is_refused(given):
    with pytest.raises(InvalidInput, match="apg"):
        projected(at(4.0), *given)


# CFG-Zero* ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [4.0, 0.5])
def test_cfg_zero_star_of_a_flow_is_diffusers_of_its_velocities(scale):
    points = path()
    guider = ClassifierFreeZeroStarGuidance(guidance_scale=scale, zero_init_steps=2)
    for i, p in enumerate(points[:-1]):
        t = T * 0 + p.t
        found = at(scale)(X, t)
        guider.set_state(i, 8, t[0])
        velocities = ((X - one) / p.sigma for one in (found.cond, found.base))  # e - x_0
        want = X - p.sigma * guider.forward(*velocities).pred
        # diffusers computes s in float32
        torch.testing.assert_close(zero_star(at(scale), points, waits=2)(X, t).x0, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_base_of_the_best_length_is_plain_guidance(schedule):
    """s = 1 where v_c - v_b stands across v_b, whatever the schedule."""
    points, t = path(schedule), T * 0 + 0.5
    alpha, sigma = (float(one[0]) for one in schedule(t))
    base = d(0.5)
    away = (X - (alpha + sigma) * base) / sigma
    turn = (
        X.flip(3) - (X.flip(3) * away).sum((1, 2, 3), keepdim=True) / away.square().sum((1, 2, 3), keepdim=True) * away
    )
    cond = (X - sigma * (away + turn)) / (alpha + sigma)

    def guided(x, t):
        return Denoised(base + 4 * (cond - base), cond, base)

    torch.testing.assert_close(zero_star(guided, points)(X, t), guided(X, t))


def test_steps_that_are_waited_for_leave_a_flow_where_it_was():
    points = path()
    x = walk(ancestral.DDIM(), zero_star(at(4.0), points, waits=3), points)
    start = points[0].alpha * X + points[0].sigma * X.flip(0)
    torch.testing.assert_close(x[:3], start.expand(3, *start.shape))
    assert not torch.allclose(x[3], start)


# Dynamic thresholding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_dynamic_thresholding_is_that_of_diffusers_schedulers(share):
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=share, sample_max_value=1e9)
    for scale in (0.5, 9.0):
        want = scheduler._threshold_sample(at(scale)(X, T).x0)
        torch.testing.assert_close(dynamic(at(scale), share, 1.0)(X, T).x0, want)


def test_of_latents_each_channel_keeps_its_mean_and_the_reach_of_what_it_is_led_to():
    guided = at(30.0)
    found, wild = dynamic(guided, 0.8)(X, T), guided(X, T)
    torch.testing.assert_close(wild.x0.mean((2, 3)) * 0, wild.x0.mean((2, 3)) * 0)
    usual = led(wild) - led(wild).mean((2, 3), keepdim=True)
    off = found.x0 - wild.x0.mean((2, 3), keepdim=True)
    assert (off.abs().amax((2, 3)) <= usual.abs().amax((2, 3)) * (1 + 1e-12)).all()
    kept = (off * (wild.x0 - wild.x0.mean((2, 3), keepdim=True)) >= 0).all()  # nothing changes sides
    assert kept and (off.abs().amax((2, 3)) < (wild.x0 - wild.x0.mean((2, 3), keepdim=True)).abs().amax((2, 3))).any()


def test_an_estimate_within_its_range_is_not_touched():
    def guided(x, t):
        return Denoised(x.tanh(), x.tanh())

    torch.testing.assert_close(dynamic(guided, 0.9, 1.0)(X, T), guided(X, T))
    torch.testing.assert_close(dynamic(guided, 0.9)(X, T), guided(X, T))


@pytest.mark.parametrize("given", [(0.0, 0.0), (1.1, 0.0), (0.9, -1.0)])
def test_a_share_or_bound_out_of_range_is_refused(given):
    with pytest.raises(InvalidInput, match="dynamic"):
        dynamic(at(4.0), *given)


# Perturbed-attention guidance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_perturbed_attention_guidance_adds_to_guidance_by_text(scale):
    found = perturbed(at(scale), lambda x, t: Denoised(0.5 * x), 3.0)(X, T).x0
    torch.testing.assert_close(found, at(scale)(X, T).x0 + 3 * (d(2.0) - 0.5 * X))


def test_of_a_network_that_is_not_perturbed_nothing_leads_away():
    torch.testing.assert_close(perturbed(at(4.0), at(1.0), 3.0)(X, T).x0, at(4.0)(X, T).x0)


# Together -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp-2m", "unipc", "lms", "dpmpp-2s-a"])
def test_wrappers_go_with_every_solver_and_with_each_other(name: str):
    points = core.points(VP(), torch.linspace(0.9, 0.0, 7, dtype=DOUBLE))
    guided = at(4.0)
    neutral = projected(perturbed(guided, at(1.0), 3.0), 1.0, 0.0, 1e9)
    torch.testing.assert_close(walk(solvers.solver(name), neutral, points), walk(solvers.solver(name), guided, points))
    wrapped = dynamic(zero_star(projected(perturbed(guided, at(0.5), 3.0), 0.0, -0.5, 9.0), points), 0.9)
    assert not torch.allclose(
        walk(solvers.solver(name), wrapped, points)[-1], walk(solvers.solver(name), guided, points)[-1]
    )
