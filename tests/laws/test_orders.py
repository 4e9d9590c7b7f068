"""Orders of convergence, exact ends and schedule invariance, on problems whose answer is known."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from danqing.errors import InvalidInput, UnknownName
from danqing.noise import Noise
from danqing.schedule import EDM, SPACINGS, VE, VP, Cosine, Flow, Linear, ScaledLinear, Schedule
from danqing.solve import ancestral, classic, core, dpmpp, solvers
from danqing.solve.solvers import SOLVERS
from danqing.types import Denoised
from solver_orders import (
    CLAIMS,
    DOUBLE,
    EVERY,
    NOISY,
    FullStart,
    Mixture,
    built,
    initial,
    last,
    looks,
    measured,
    order_of,
    path,
    truth,
    weak_order,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULES = [
    Linear(), ScaledLinear(), ScaledLinear(zero_snr=True), Cosine(), VP(), VE(), EDM(), Flow(), Flow(shift=3.0),
]  # fmt: skip
FORWARD = list(SOLVERS)


PAGE = (Path(__file__).parents[2] / "docs" / "solvers.md").read_text("utf-8")


def printed(name: str, column: str) -> str:
    """A cell of the tables of docs/solvers.md: the last head above the row says which column is which."""
    head: list[str] = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        head = cells if column in cells else head
        if head and cells[0] == name:
            return cells[head.index(column)]
    raise AssertionError(f"docs/solvers.md has no row {name!r} with a column {column!r}")


@pytest.mark.parametrize("name", CLAIMS)
def test_order_of_convergence(name: str):
    claim = CLAIMS[name]
    order = measured(claim.make(), VP(), full_start=True)
    assert order == pytest.approx(claim.full, abs=0.3)
    assert order == pytest.approx(float(printed(name, "full start, VP")), abs=0.02)
    assert printed(name, "claimed") == claim.claimed


@pytest.mark.parametrize("name", CLAIMS)
def test_order_from_a_cold_start_is_no_worse_than_its_first_steps_allow(name: str):
    claim = CLAIMS[name]
    order = measured(claim.make(), VP(), full_start=False)
    assert order > claim.cold - 0.3
    assert order == pytest.approx(float(printed(name, "cold start (VP)")), abs=0.02)


@pytest.mark.parametrize("name", NOISY)
def test_the_page_prints_the_measured_order_of_the_covariance(name: str):
    assert weak_order(NOISY[name].make()) == pytest.approx(float(printed(name, "covariance (VP)")), abs=0.02)


def test_the_page_names_every_solver_and_spacing():
    assert [name for name in (*EVERY, *SPACINGS) if f"`{name}`" not in PAGE] == []


@cache
def coarse(name: str) -> float:
    return measured(CLAIMS[name].make(), VP(), full_start=True, steps=12)


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if s != VP()], ids=str)
def test_every_schedule_has_the_order_of_every_other(schedule: Schedule):
    for name, claim in CLAIMS.items():
        assert measured(claim.make(), schedule, True, steps=12) == pytest.approx(coarse(name), abs=0.02)


@pytest.mark.parametrize("name", EVERY)
def test_schedule_invariance(name: str):
    """The same problem under every schedule, step by step the same y = x / alpha, and the same estimates."""
    mixture, ends = Mixture(), []
    for schedule in SCHEDULES:
        points = path(schedule, 8)
        x = initial(schedule, 4)
        if name == "inversion":
            points, x = points[::-1], x / points[0].alpha * points[-1].alpha
        states = list(core.sample(mixture.denoise(schedule), built(name), points, x, Noise.of(3, [0])))
        walk = zip(states, points[1:], strict=True)
        ends.append(torch.stack([torch.stack([s.x / q.alpha, s.x0]) for s, q in walk]))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("name", FORWARD)
def test_a_distribution_of_one_picture_is_reached_exactly(name: str, schedule: Schedule):
    """Whatever the solver, spacing and schedule, from pure noise (alpha = 0 too) to exactly clean."""
    picture = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    for spacing, steps in [*((spacing, 7) for spacing in SPACINGS), ("linspace", 1), ("trailing", 2)]:
        points = core.points(schedule, SPACINGS[spacing](schedule, steps))
        assert (points[-1].t, points[-1].alpha, points[-1].sigma) == (0.0, 1.0, 0.0)
        noise = Noise.of(0, [0])
        x = points[0].alpha * picture + points[0].sigma * noise(picture)
        end = last(lambda x, t: Denoised(picture), built(name), points, x)
        torch.testing.assert_close(end, picture, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(FORWARD) - {"lms", "plms"}))
def test_the_last_look_is_the_answer_at_a_clean_end(name: str):
    """A step to clean is of first order, so that the sample there is the last estimate itself."""
    points = core.points(Flow(), SPACINGS["linspace"](Flow(), 6))
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    *_, state = core.sample(Mixture().denoise(Flow()), built(name), points, x, Noise.of(0, [0]))
    assert torch.equal(state.x, state.x0)


def test_full_start_is_the_exact_flow():
    points = path(VP(), 2)
    end = last(Mixture().denoise(VP()), FullStart(classic.LMS(order=3)), points, initial(VP()))
    assert torch.equal(end, truth(points[-1]))


def walks(schedule: Schedule, *solvers: core.Solver) -> list[Tensor]:
    """What each solver makes of the same start and the same draws, (N, B, C, H, W)."""
    points = core.points(schedule, SPACINGS["sgm-uniform"](schedule, 10))
    x = points[0].sigma * Noise.of(1, [0])(torch.zeros(1, 2, 4, 4, dtype=DOUBLE))
    denoise = Mixture().denoise(schedule)
    return [torch.stack([s.x for s in core.sample(denoise, one, points, x, Noise.of(1, [0]))]) for one in solvers]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_ddim_is_the_first_order_of_every_family(schedule: Schedule):
    families = classic.DPMSolver(order=1), dpmpp.Multistep(order=1), classic.LMS(order=1)
    ddim, *others = walks(schedule, ancestral.DDIM(), *families)
    for walk in others:
        torch.testing.assert_close(walk, ddim, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_ddim_at_eta_one_is_ddpm(schedule: Schedule):
    ddim, ddpm, sde = walks(schedule, ancestral.DDIM(eta=1.0), ancestral.DDPM(), dpmpp.Multistep(order=1, eta=1.0))
    torch.testing.assert_close(ddpm, ddim, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(sde, ddim, rtol=1e-9, atol=1e-9)


def round_trip(schedule: Schedule, steps: int, iterations: int, top: float = 0.8) -> float:
    """Clean to noise by inversion and back by DDIM: how far from where it began."""
    denoise = Mixture().denoise(schedule)
    times = torch.linspace(0, top, steps + 1, dtype=DOUBLE)
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    noisy = last(denoise, ancestral.Inversion(iterations=iterations), core.points(schedule, times), x)
    back = last(denoise, ancestral.DDIM(), core.points(schedule, times.flip(0)), noisy)
    return (back - x).abs().max().item()


@pytest.mark.parametrize("schedule", [VP(), Flow()], ids=str)
def test_ddim_inversion_is_undone_by_ddim(schedule: Schedule):
    assert round_trip(schedule, 10, iterations=80) < 1e-10  # the fixed point inverts each step exactly
    assert round_trip(schedule, 200, 0) < 0.6 * round_trip(schedule, 100, 0)  # one look is of first order


def test_ddim_inversion_reaches_pure_noise_and_returns():
    assert round_trip(Flow(), 10, iterations=80, top=1.0) < 1e-10


@pytest.mark.parametrize("schedule", [VP(), Flow()], ids=str)
def test_inversion_towards_clean_is_refused(schedule: Schedule):
    with pytest.raises(InvalidInput, match="ddim"):
        last(
            lambda x, t: Denoised(x),
            ancestral.Inversion(),
            core.points(schedule, torch.tensor([1.0, 0.5])),
            torch.ones(1, 1, 2, 2),
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_has_the_order_and_the_cost_that_its_row_states(name: str):
    row = SOLVERS[name]
    assert order_of(row) > row.order - 0.3
    assert looks(row) - (row.looks * 5 + 1) in (0, 1)  # a step to clean looks once; PLMS's first step once more


@pytest.mark.parametrize("schedule", [ScaledLinear(zero_snr=True), EDM(), Flow()], ids=str)
def test_float32_and_float16_walk_where_float64_does(schedule: Schedule):
    """No step subtracts what is nearly equal: a sample loses no more than its own rounding, a few times over."""
    points = core.points(schedule, SPACINGS["trailing"](schedule, 12))
    start = points[0].sigma * Noise.of(5, [0])(torch.zeros(1, 2, 8, 8, dtype=DOUBLE))

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        return Denoised(Mixture().clean(x.to(DOUBLE), *schedule(t)).to(x.dtype))

    for name in FORWARD:
        exact = last(denoise, built(name), points, start)
        for dtype, bound in ((torch.float32, 1e-5), (torch.float16, 0.05)):
            assert (last(denoise, built(name), points, start.to(dtype)) - exact).abs().max() < bound, (
                name,
                dtype,
            )


@pytest.mark.parametrize("name", EVERY)
def test_coefficients_never_change_the_precision_of_the_sample(name: str):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, DOUBLE):
        points = core.points(Flow(), SPACINGS["linspace"](Flow(), 4))
        points = points[::-1] if name == "inversion" else points
        x = torch.ones(1, 1, 2, 2, dtype=dtype)
        states = list(core.sample(lambda x, t: Denoised(0.5 * x), built(name), points, x, Noise.of(0, [0])))
        assert all(s.x.dtype == dtype for s in states)
        assert [s.step for s in states] == [1, 2, 3, 4] and [s.t for s in states] == [p.t for p in points[1:]]


def test_unknown_solver_offers_the_nearest_and_wrong_options_are_refused():
    with pytest.raises(UnknownName, match="dpmpp-2m"):
        solvers.solver("dpm++2m")
    for name, option, value in [
        ("ddim", "etta", 1.0), ("ddim", "eta", 1.5), ("ddim", "eta", float("nan")), ("dpmpp-2m", "order", 4),
        ("lms", "order", 0), ("unipc", "order", 2.5), ("inversion", "iterations", -1),
    ]:  # fmt: skip
        with pytest.raises(InvalidInput, match=option):
            built(name, **{option: value})
