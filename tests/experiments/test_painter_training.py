"""The painter's trainings: open variance, last layers in closed form, milestones and their branches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from experiments.least_squares import Fit, fit_draft, fit_residual
from experiments.milestones import Course, Trial, follow
from experiments.open_variance import Pairs, open_variance
from experiments.painter import SCHEDULE, warm
from torch import Tensor, nn

from danqing.denoise import Denoiser
from danqing.learn.objectives.draws import randn, uniform
from danqing.learn.training import checkpoint
from danqing.learn.training.loop import EMA, Training
from danqing.nets.drafted import MINI, Draft, DraftedUNet, ResidualUNet
from danqing.types import Conditioning

TINY = replace(
    MINI,
    block_out_channels=(8, 16, 24),
    attention_heads=(1, 2, 3),
    norm_num_groups=4,
    cross_attention_dim=12,
    pooled_channels=6,
    in_channels=4,
    out_channels=2,
    draft_size=4,
)


def some_pairs() -> dict[str, Pairs]:
    torch.manual_seed(0)
    ids = torch.arange(40).view(20, 2)
    return {"trained": Pairs(3 * torch.randn(20, 2, 4, 4) + 1, {"en": ids, "zh": ids})}


def test_the_mean_leaves_all_of_the_variance_open_and_the_truth_none() -> None:
    pairs = some_pairs()
    x0 = pairs["trained"].x0
    for estimate, part in (((lambda x, s, ids: x0.mean().expand_as(x)), 1.0), (lambda x, s, ids: x0, 0.0)):
        said = open_variance(estimate, pairs, batch=20)
        assert set(said) == {f"trained/{s}/{lang}" for s in (1.0, 0.88, 0.71, 0.5, 0.25) for lang in ("en", "zh")}
        assert all(abs(value - part) < 0.01 for value in said.values())


def test_what_is_asked_at_a_level_has_that_much_noise_and_batches_change_nothing() -> None:
    pairs = some_pairs()
    x0 = pairs["trained"].x0
    seen: list[Tensor] = []

    def estimate(x: Tensor, sigma: Tensor, ids: Tensor) -> Tensor:
        seen.append(x)
        return x

    whole = open_variance(estimate, pairs, sigmas=[0.5], batch=20)
    noise = (seen[0] - 0.5 * x0) / 0.5
    assert abs(float(noise.std()) - 1) < 0.1
    assert open_variance(estimate, pairs, sigmas=[0.5], batch=7) == pytest.approx(whole)


def test_a_fitted_layer_is_the_best_linear_map() -> None:
    torch.manual_seed(0)
    x, y, weight = torch.randn(500, 6), torch.randn(500, 3), torch.rand(500, 1)
    fit = Fit(6, 3)
    for part in range(0, 500, 100):
        fit.add(x[part : part + 100], y[part : part + 100], weight[part : part + 100])
    w, b = fit.solve(ridge=0)
    left = y - x @ w.T - b
    assert float((weight * left * 1.0).sum(0).abs().max()) < 1e-3  # the errors are orthogonal to all features
    assert float(((weight * x).T @ left).abs().max()) < 1e-3


def test_a_draft_of_random_features_says_more_than_a_linear_one() -> None:
    torch.manual_seed(0)
    pooled = torch.randn(2000, 4) * torch.tensor([0.1, 1, 3, 10]) + 2
    x0 = (pooled / torch.tensor([0.1, 1, 3, 10])).sin().repeat(1, 2).view(-1, 2, 2, 2)
    deep = Draft(4, 2, 2, 64, 1)
    fit = Fit(4, 8)
    fit.add(pooled, x0.flatten(1))
    weight, bias = fit.solve()
    fit_draft(deep, [(x0[:1000], pooled[:1000]), (x0[1000:], pooled[1000:])])
    left = (deep(pooled) - x0).square().mean()
    assert left < 0.5 * (pooled @ weight.T + bias - x0.flatten(1)).square().mean()


class Tower(nn.Module):
    """A denoiser whose words are their own embedding."""

    def __init__(self, net: ResidualUNet):
        super().__init__()
        self.denoiser = Denoiser(net, SCHEDULE, "flow")
        self.words = nn.Embedding(9, 12)

    def condition(self, ids: Tensor) -> Conditioning:
        return Conditioning(tokens=self.words(ids), pooled=self.words(ids)[:, 0, :6])


def batches(index: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(index)
    ids = torch.randint(9, (32, 3), generator=draw)
    return 0.3 * torch.randn(32, 2, 4, 4, generator=draw) + ids[:, :1, None, None] / 4 - 1, ids


def test_a_fitted_residual_unet_does_better_than_a_silent_one_and_knows_what_its_draft_leaves_open() -> None:
    torch.manual_seed(0)
    model = Tower(ResidualUNet(replace(TINY, draft_hidden=8, draft_blocks=1))).requires_grad_(False)
    net = model.denoiser.net
    assert isinstance(net, ResidualUNet)

    def loss() -> float:
        x0, ids = batches(99)
        noise = torch.Generator().manual_seed(0)
        t, eps = uniform(len(x0), noise), randn(tuple(x0.shape), noise, x0)
        said = model.condition(ids)
        error = model.denoiser.predict(model.denoiser.noisy(x0, eps, t), t, said) - (eps - x0)
        return float(error.square().mean())

    fit_residual(model, batches, 8)
    fitted = loss()
    x0, said = batches(0)[0], model.condition(batches(0)[1])
    assert float(net.residual_std) == pytest.approx(float((x0 - net.draft(said.pooled)).std()), rel=0.1)
    assert float(net.residual_std) == float(net.residual_std.bfloat16())
    for p in net.conv_out.parameters():
        p.zero_()
    assert fitted < 0.9 * loss()


def test_a_residual_unet_takes_over_all_of_a_plain_one_but_the_draft() -> None:
    torch.manual_seed(0)
    old, new = DraftedUNet(TINY), ResidualUNet(replace(TINY, draft_hidden=8, draft_blocks=1))
    draft = {name: value.clone() for name, value in new.draft.state_dict().items()}
    warm(new, old)
    mine, theirs = new.state_dict(), old.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs if not name.startswith("draft."))
    assert all(torch.equal(value, draft[name]) for name, value in new.draft.state_dict().items())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no curves: each would take longer than the run."""
    monkeypatch.setattr("danqing.learn.training.drive.curve", lambda folder: None)


def a_trial(rates: list[tuple[int, float]]) -> Trial:
    """A line that is learned, which writes down each step's rate."""

    def training(rate: Callable[[int], float]) -> Training:
        torch.manual_seed(0)
        model = nn.Linear(1, 1)

        def noted(step: int) -> float:
            rates.append((step, rate(step)))
            return rate(step)

        def objective(model, batch, noise):
            return {"loss": (model(batch) - 2 * batch).square().mean()}

        return Training(
            model=model,
            objective=objective,
            batches=lambda step: torch.full((4, 1), 1.0 + step % 3),
            optimisers={"loss": torch.optim.SGD(model.parameters(), lr=1e-3)},
            rate=noted,
            ema=EMA(model, 0.9),
        )

    return Trial(training=training, measure=lambda run: {"trained/1.0/en": float(run.step)})


@pytest.mark.usefixtures("undrawn")
def test_at_each_milestone_a_branch_cools_down_and_the_long_run_does_not(tmp_path: Path) -> None:
    rates: list[tuple[int, float]] = []
    run = follow(a_trial(rates), Course(folder=tmp_path, batch=4, samples=80, every=40, before=1000))
    assert run.step == 20
    branch = checkpoint.read(tmp_path / "cooled-000001040" / "last.pt")
    assert branch["step"] == 12  # the ten of an interval, and a fifth
    steps = [step for step, _ in rates]
    assert steps == [*range(10), 10, 11, *range(10, 20), 20, 21]
    assert [rate for step, rate in rates[10:12]] == [1.0, 0.5]
    long = rates[:10] + rates[12:22]
    assert all(after >= before for (_, before), (_, after) in pairwise(long))


@pytest.mark.usefixtures("undrawn")
def test_a_course_that_was_killed_anywhere_ends_with_the_same_weights(tmp_path: Path) -> None:
    course = Course(folder=tmp_path / "whole", batch=4, samples=80, every=40)
    whole = follow(a_trial([]), course)

    class Killed(Exception):
        pass

    for after in (3, 11):  # in the long run, and in its branch
        folder = tmp_path / f"broken{after}"
        rates: list[tuple[int, float]] = []
        trial = a_trial(rates)

        def killed(rate: Callable[[int], float], trial: Trial = trial, after: int = after, rates=rates) -> Training:
            def counted(step: int) -> float:
                if len(rates) == after:
                    raise Killed
                return rate(step)

            return trial.training(counted)

        with pytest.raises(Killed):
            follow(replace(trial, training=killed), replace(course, folder=folder))
        resumed = follow(a_trial([]), replace(course, folder=folder))
        assert torch.equal(resumed.model.weight, whole.model.weight)  # pyright: ignore[reportArgumentType]


def test_a_training_gives_way_before_torch_is_there(tmp_path: Path) -> None:
    """Begun as a module it is niced, and its threads wait passively."""
    (tmp_path / "asked.py").write_text(
        "import os, sys\nassert 'torch' not in sys.modules\n"
        "print(os.environ['OMP_WAIT_POLICY'], os.nice(0) if hasattr(os, 'nice') else 19)\n"
    )
    root = Path(__file__).parents[2]
    code = f"import experiments, sys; experiments.__path__.append({str(tmp_path)!r}); import experiments.asked"
    given = "import sys; sys.argv[0] = '-m'; " + code
    unset = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", given]
    out = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True, env=unset).stdout
    assert out.split() == ["passive", "19"]
