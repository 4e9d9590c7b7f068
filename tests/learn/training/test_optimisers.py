"""Laws of several optimisers in one step: each sees its own loss alone, at the weights before any of them stepped."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from danqing.errors import InvalidInput
from danqing.learn.data.order import Order
from danqing.learn.training.loop import Diverged, Lazy, Training, Trapezoid
from danqing.noise import keyed

RATE = 0.05


class Pair(nn.Module):
    """A generator and a discriminator of points in the plane."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


def adversarial(model, batch, noise):
    """One forward pass of the generator, one graph: the discriminator's loss would change the generator, and the other
    way round."""
    made = model.generator(torch.randn(batch.shape, generator=noise))
    real, fake = model.discriminator(batch), model.discriminator(made)
    return {
        "generator": F.softplus(-fake).mean(),
        "discriminator": (F.softplus(-real) + F.softplus(fake)).mean(),
        "fake": fake.mean(),
    }


DATA, ORDER = torch.randn(20, 2, generator=keyed("points")), Order(20, 4, "points")


def training(objective=adversarial, **changes) -> Training:
    model = Pair()
    optimisers = {
        name: torch.optim.Adam(getattr(model, name).parameters(), lr=RATE) for name in ("generator", "discriminator")
    }
    given = dict(
        model=model,
        objective=objective,
        batches=lambda step: DATA[ORDER(step)],
        optimisers=optimisers,
        rate=Trapezoid(1),
    )
    return Training(**{**given, **changes})


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_two_optimisers_equal_the_hand_written_alternative_bit_for_bit():
    run, model = training(clip=float("inf")), Pair()
    names = ("generator", "discriminator")
    optimisers = {name: torch.optim.Adam(getattr(model, name).parameters(), lr=RATE) for name in names}
    for step in range(6):
        losses = adversarial(model, DATA[ORDER(step)], keyed(0, "noise", step))
        found = {
            n: torch.autograd.grad(losses[n], list(getattr(model, n).parameters()), retain_graph=True) for n in names
        }
        for name in names:
            for p, g in zip(getattr(model, name).parameters(), found[name], strict=True):
                p.grad = g
            optimisers[name].step()
    list(run.run(6))
    assert equal(run.model, model)


def test_the_order_of_the_optimisers_changes_nothing():
    run, turned = training(), training()
    turned.optimisers = dict(reversed(list(turned.optimisers.items())))
    list(run.run(4))
    list(turned.run(4))
    assert equal(run.model, turned.model)


@pytest.mark.parametrize("broken", ["generator", "discriminator"])
def test_an_overflow_leaves_out_the_step_of_its_own_optimiser_alone_and_halves_the_scale(broken):
    """The factor makes one loss too large at step 1: its gradient, scaled, overflows, the other's does not."""
    steps = iter([1.0, 1e38, 1.0])

    def objective(model, batch, noise):
        losses = adversarial(model, batch, noise)
        return {**losses, broken: losses[broken] * next(steps)}

    run = training(objective, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=100))
    sound = next(name for name in run.optimisers if name != broken)
    list(run.run(1))
    before = copy.deepcopy(run.model)
    list(run.run(2))
    assert equal(getattr(run.model, broken), getattr(before, broken)) and run.scaler.get_scale() == 2.0**9
    assert not equal(getattr(run.model, sound), getattr(before, sound))
    list(run.run(3))
    assert not equal(getattr(run.model, broken), getattr(before, broken)) and run.scaler.get_scale() == 2.0**9


def test_scaling_two_losses_changes_no_weight():
    plain, scaled = training(), training(scaler=torch.amp.GradScaler("cpu", init_scale=2.0**6, growth_interval=2))
    list(plain.run(6))
    list(scaled.run(6))
    assert equal(plain.model, scaled.model) and scaled.scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("enabled", [False, True])
def test_an_optimiser_whose_loss_is_none_rests(enabled):
    def only_discriminator(model, batch, noise):
        return {**adversarial(model, batch, noise), "generator": None}

    run = training(
        Lazy(often=only_discriminator, seldom=adversarial, every=3), scaler=torch.amp.GradScaler("cpu", enabled=enabled)
    )
    moved, before = [], copy.deepcopy(run.model)
    for progress in run.run(7):
        moved.append([not equal(getattr(run.model, name), getattr(before, name)) for name in run.optimisers])
        assert ("generator" in progress.losses) == moved[-1][0]
        before = copy.deepcopy(run.model)
    assert moved == [[step % 3 == 0, True] for step in range(7)]


def test_a_lazy_objective_depends_on_the_step_even_after_resuming(tmp_path):
    def regularised(model, batch, noise):
        losses = adversarial(model, batch, noise)
        x = batch.clone().requires_grad_()
        (slope,) = torch.autograd.grad(
            model.discriminator(x).sum(), x, create_graph=True
        )  # R1: E |grad D|^2 / 2 on real points
        return {**losses, "discriminator": losses["discriminator"] + 4 * slope.square().sum(1).mean() / 2}

    lazy = Lazy(often=adversarial, seldom=regularised, every=4)
    whole, broken, resumed = training(lazy), training(lazy), training(lazy)
    list(whole.run(8))
    list(broken.run(3))
    broken.save(tmp_path / "last.pt")
    assert resumed.resume(tmp_path / "last.pt")
    list(resumed.run(8))
    never = training()
    list(never.run(8))
    assert equal(whole.model, resumed.model) and not equal(whole.model, never.model)


def regression(batch: int, accumulate: int = 1, rate: float = 0.1) -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x, order = torch.randn(24, 3, generator=keyed("x"), dtype=torch.float64), Order(24, batch, "x")

    def objective(model, batch, noise):
        return {"loss": (model(batch) - batch.sum(1, keepdim=True)).square().mean()}

    return Training(
        model=model,
        objective=objective,
        batches=lambda index: x[order(index)],
        accumulate=accumulate,
        optimisers={"loss": torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)},
        rate=Trapezoid(1),
    )


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_accumulating_k_batches_equals_one_batch_k_times_as_large(parts):
    whole, accumulated = regression(12), regression(12 // parts, parts)
    losses = [[p.losses for p in run.run(5)] for run in (whole, accumulated)]
    for a, b in zip(*losses, strict=True):
        assert a == pytest.approx(b, rel=1e-12)
    for p, q in zip(whole.model.parameters(), accumulated.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


def test_what_cannot_be_trained_is_refused():
    model = Pair()
    shared = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(InvalidInput, match="share a parameter"):
        training(
            model=model,
            optimisers={"generator": torch.optim.SGD(model.generator.parameters(), lr=1.0), "discriminator": shared},
        )
    with pytest.raises(InvalidInput, match="no loss for the optimiser 'generator'"):
        list(training(lambda *given: {"genrator": torch.ones(()), "discriminator": torch.ones(())}).run(1))
    with pytest.raises(InvalidInput, match="'generator' depends on no parameter"):
        list(training(lambda *given: {**adversarial(*given), "generator": adversarial(*given)["discriminator"].detach()
                                      + sum(p.sum() for p in given[0].discriminator.parameters())}).run(1))  # fmt: skip
    with pytest.raises(InvalidInput, match="accumulate"):
        training(accumulate=0)
    with pytest.raises(InvalidInput, match="requires a gradient"):
        training(model=model, optimisers={"generator": torch.optim.SGD([torch.zeros(2)], lr=1.0)})


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_no_number_stops_before_any_weight_moves(broken):
    def objective(model, batch, noise):
        losses = adversarial(model, batch, noise)
        weight = model.generator[0].weight
        bad = (
            weight.sum() * float("nan") if broken == "loss" else (weight - weight.detach()).abs().sqrt().sum()
        )  # slope at 0: infinite
        return {**losses, "generator": losses["generator"] + bad}

    sane = training()
    list(sane.run(2))
    sane.objective = objective
    before = copy.deepcopy(sane.model)
    with pytest.raises(Diverged, match=r"generator.* is (nan|inf).* in step 3, on batch 2"):
        list(sane.run(4))
    assert sane.step == 2 and equal(sane.model, before)


def test_a_loss_that_stays_no_number_stops_a_scaled_run_too():
    run = training(lambda *given: {**adversarial(*given), "generator": adversarial(*given)["generator"] * float("inf")},
                   scaler=torch.amp.GradScaler("cpu", init_scale=2.0**3))  # fmt: skip
    before = copy.deepcopy(run.model)
    with pytest.raises(Diverged, match="in step 4"):
        list(run.run(9))
    assert equal(run.model.generator, before.generator)
