"""What a denoiser says of x_0 beside the guided estimate: enough to write published ways of guidance as wrappers."""

from dataclasses import dataclass

import pytest
import torch
from tests.laws.alone import singly
from torch import Tensor

from danqing.guide import compose, interval
from danqing.noise import Noise
from danqing.schedule import VP, Flow, Linear
from danqing.solve import ancestral, core, solvers
from danqing.solve.core import evaluate
from danqing.types import Conditioning, Denoise, Denoised
from solver_orders import DOUBLE

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULES = [VP(), Flow(), Linear()]
X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
T = torch.tensor([0.3, 0.8], dtype=DOUBLE)


def words(value: float) -> Conditioning:
    return Conditioning(tokens=torch.full((1, 3, 2), value, dtype=DOUBLE))


def net(x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
    """A curve of its own for every conditioning."""
    return Denoised(torch.tanh(cond.tokens.mean((1, 2)).view(-1, 1, 1, 1) * x) + 0.1 * t.view(-1, 1, 1, 1))


def d(value: float) -> Tensor:
    return net(X, T, words(value)).x0


# What is known --------------------------------------------------------------------------------------------------------


def test_base_and_terms_stand_beside_the_guided_estimate():
    found = compose(net, [(words(2.0), 3.0), (words(-1.0), 1.0), (words(0.7), -2.0)], words(0.5))(X, T)
    torch.testing.assert_close(found.base, d(0.5))
    torch.testing.assert_close(found.cond, (3 * d(2.0) + d(-1.0)) / 4)


def test_what_was_not_computed_is_not_known():
    off, away = compose(net, [(words(2.0), 1.0)], words(0.5)), compose(net, [(words(2.0), -1.0)], words(0.5))
    assert off(X, T).base is None and torch.equal(off(X, T).cond, d(2.0))
    assert away(X, T).cond is None and torch.equal(away(X, T).base, d(0.5))
    assert interval(away, off, 0.0, 0.5)(X, T)[1:] == singly(off, away)(X, T)[1:] == (None, None, None)


# Guidance as wrappers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CFGPlusPlus:
    """DDIM that renoises with the noise of the base: x_q = alpha_q D + sigma_q e_base (Chung et al. 2024)."""

    memory: int = 0

    def step(self, denoise, x, p, q, past, noise):
        estimate = evaluate(denoise, x, p)
        return estimate.x0 * q.alpha + estimate.noise(estimate.denoised.base) * q.sigma, estimate


def walk(solver: core.Solver, denoise: Denoise, points) -> Tensor:
    x = points[0].alpha * X + points[0].sigma * X.flip(0)
    return torch.stack([state.x for state in core.sample(denoise, solver, points, x, Noise.of(0, [0, 1]))])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_cfg_plus_plus_is_cfg_of_a_scale_that_grows_as_the_noise_goes(schedule):
    """x_q = alpha_q (D_0 + lambda g) + sigma_q e_0 is DDIM of D_0 + w g where w = lambda / (1 - kappa_q / kappa_p)."""
    points = core.points(schedule, torch.linspace(0.9, 0.1, 9, dtype=DOUBLE))
    following = dict(zip((p.t for p in points), points[1:], strict=False))

    def scaled(x: Tensor, t: Tensor) -> Denoised:
        p = next(p for p in points if p.t == float(t[0]))
        scale = 0.6 / (1 - following[p.t].kappa / p.kappa)
        return compose(net, [(words(2.0), scale)], words(0.5))(x, t)

    found = walk(CFGPlusPlus(), compose(net, [(words(2.0), 0.6)], words(0.5)), points)
    torch.testing.assert_close(found, walk(ancestral.DDIM(), scaled, points))


def test_cfg_plus_plus_without_a_difference_is_ddim():
    points = core.points(VP(), torch.linspace(0.9, 0.0, 7, dtype=DOUBLE))
    guided = compose(net, [(words(2.0), 0.6)], words(2.0))
    torch.testing.assert_close(walk(CFGPlusPlus(), guided, points), walk(ancestral.DDIM(), guided, points))


def apg(guided: Denoise, parallel: float) -> Denoise:
    """Guidance whose part along the estimate, which saturates, is scaled (Sadat et al. 2024, adaptive projected)."""

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        away, to = found.x0 - found.cond, found.cond
        along = to * ((away * to).sum((1, 2, 3), keepdim=True) / to.square().sum((1, 2, 3), keepdim=True))
        return found._replace(x0=found.x0 + (parallel - 1) * along)

    return denoise


def test_adaptive_projected_guidance_moves_across_the_estimate_alone():
    guided = compose(net, [(words(2.0), 7.5)], words(0.5))
    torch.testing.assert_close(apg(guided, 1.0)(X, T), guided(X, T))
    found = apg(guided, 0.0)(X, T)
    across = found.x0 - found.cond
    torch.testing.assert_close((across * found.cond).sum((1, 2, 3)), torch.zeros(2, dtype=DOUBLE), rtol=0, atol=1e-10)
    assert across.abs().max() > 0.1


def perturbed(guided: Denoise, worse: Denoise, scale: float) -> Denoise:
    """Away from what a perturbed network says of the same terms: D + s (D_cond - D_worse) (Ahn et al. 2024)."""

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        return found._replace(x0=found.x0 + scale * (found.cond - worse(x, t).x0))

    return denoise


def test_perturbed_attention_guidance_adds_to_guidance_by_text():
    def worse(x: Tensor, t: Tensor) -> Denoised:
        return Denoised(0.5 * x)

    for scale in (1.0, 4.0):
        guided = compose(net, [(words(2.0), scale)], words(0.5))
        found = perturbed(guided, worse, 3.0)(X, T).x0
        torch.testing.assert_close(found, guided(X, T).x0 + 3 * (d(2.0) - 0.5 * X))


@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp-2m", "unipc", "lms", "dpmpp-2s-a"])
def test_wrappers_go_with_every_solver_and_with_each_other(name: str):
    points = core.points(VP(), torch.linspace(0.9, 0.0, 7, dtype=DOUBLE))
    guided = compose(net, [(words(2.0), 4.0)], words(0.5))
    wrapped = perturbed(apg(guided, 1.0), lambda x, t: Denoised(guided(x, t).cond), 3.0)  # both of them neutral
    torch.testing.assert_close(walk(solvers.solver(name), wrapped, points), walk(solvers.solver(name), guided, points))
