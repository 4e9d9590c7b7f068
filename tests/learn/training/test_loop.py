"""Laws of training: exact resume, the data order, the average, the optimiser."""

import copy
import itertools

import pytest
import torch
from torch import nn

from danqing.errors import InvalidFile
from danqing.learn.data.order import Mixture, Order
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups, orthogonalise
from danqing.noise import keyed


def training(seed: int = 0) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
    data = torch.randn(20, 3, 6, 6, generator=keyed("data"))
    order = Order(20, 8, "order")

    def objective(model, batch, noise):
        eps = torch.randn(batch.shape, generator=noise)
        return {"loss": (model(batch + eps) - batch).square().mean()}

    optimiser = Muon(muon_groups(model, lr=0.02, adam_lr=1e-3, edges=["0."]))
    return Training(
        model=model,
        objective=objective,
        batches=lambda step: data[order(step)],
        optimisers={"loss": optimiser},
        rate=Trapezoid(3, 12, 4),
        ema=EMA(model, 0.9),
    )


def weights(run: Training) -> list[torch.Tensor]:
    assert run.ema is not None
    return [p.detach().clone() for p in (*run.model.parameters(), *run.ema.model.parameters())]


@pytest.mark.parametrize("killed_at", [1, 5, 11])
def test_a_killed_and_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path, killed_at):
    whole = training()
    list(whole.run(12))
    broken = training()
    list(broken.run(killed_at))
    broken.save(tmp_path / "last.pt")
    resumed = training(seed=99)
    torch.randn(17)  # whatever else drew random numbers in between
    assert resumed.resume(tmp_path / "last.pt")
    list(resumed.run(12))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_training_lowers_the_loss_and_reaches_every_parameter():
    run = training()
    before = weights(run)
    losses = [p.losses["loss"] for p in run.run(12)]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert all(not torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))


def test_a_broken_checkpoint_is_refused_with_its_name(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InvalidFile, match="last.pt"):
        training().resume(tmp_path / "last.pt")
    assert not training().resume(tmp_path / "none.pt")


def test_a_checkpoint_of_another_training_is_refused_with_its_name(tmp_path):
    other = training()
    other.model = nn.Conv2d(3, 4, 1)
    other.save(tmp_path / "model.pt")
    averageless = training()
    averageless.ema = None
    averageless.save(tmp_path / "ema.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "dict.pt")
    torch.save([0.0], tmp_path / "list.pt")
    for name in ("model.pt", "ema.pt", "dict.pt", "list.pt"):
        with pytest.raises(InvalidFile, match=f"{name} is no checkpoint of this training"):
            training().resume(tmp_path / name)


def scaled(growth_interval: int) -> Training:
    run = training()
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6, growth_interval=growth_interval)
    return run


def test_scaling_the_loss_changes_no_weight_and_resumes_at_its_scale(tmp_path):
    """Powers of two: scaled and unscaled gradients are the same numbers, and so the clipping sees the same norm."""
    plain, whole, broken, resumed = training(), scaled(5), scaled(5), scaled(5)
    norms = [[p.losses["loss_grad"] for p in run.run(12)] for run in (plain, whole)]
    assert norms[0] == norms[1] and whole.scaler.get_scale() == 2.0**8
    list(broken.run(7))
    broken.save(tmp_path / "last.pt")
    assert resumed.resume(tmp_path / "last.pt")
    list(resumed.run(12))
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    for run in (whole, resumed):
        assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(run), strict=True))


def test_a_step_whose_gradient_overflows_is_left_out_and_halves_the_scale():
    run = scaled(1000)
    sane = run.batches
    run.batches = lambda step: sane(step) * (1e30 if step == 2 else 1.0)
    list(run.run(2))
    before = [p.detach().clone() for p in run.model.parameters()]
    list(run.run(3))
    assert run.scaler.get_scale() == 2.0**5
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    list(run.run(4))
    assert not any(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (7, 7), (5, 12)])
def test_an_order_shows_every_item_once_an_epoch(count, batch):
    order = Order(count, batch, 1)
    seen = torch.cat([order(step) for step in range(count * 3)])
    for epoch in range(len(seen) // count):
        assert sorted(seen[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_an_order_is_a_function_of_the_step_alone():
    forwards, backwards = Order(11, 4, 3), Order(11, 4, 3)
    a = [forwards(step) for step in range(9)]
    b = [backwards(step) for step in reversed(range(9))][::-1]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_mixture_keeps_its_shares_and_fills_the_batch():
    takes = [len(part) for part in Mixture((100, 50, 50), (0.6, 0.25, 0.15), 64, 0)(5)]
    assert sum(takes) == 64 and takes[1] == 16 and takes[2] == 10


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_newton_schulz_keeps_singular_vectors_and_flattens_singular_values(shape):
    g = torch.randn(shape, generator=keyed(shape), dtype=torch.float64)
    o = orthogonalise(g)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    inner = u.T @ o @ vt.T
    off = inner - torch.diag(inner.diagonal())
    assert off.abs().max() < 1e-6
    assert inner.diagonal().min() > 0.6 and inner.diagonal().max() < 1.3


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_newton_schulz_of_a_stack_is_that_of_each_matrix(shape):
    g = torch.randn(3, *shape, generator=keyed(shape), dtype=torch.float64)
    torch.testing.assert_close(orthogonalise(g), torch.stack([orthogonalise(each) for each in g]))


@pytest.mark.parametrize("size", [1.0, 1e-8, 1e8])
def test_newton_schulz_in_float16_takes_gradients_of_any_size(size):
    """float16 holds 6e-8 to 65504; the gradients keep their type, and the iteration its band."""
    g = torch.randn(6, 20, generator=keyed("g"))
    o = orthogonalise(size * g, dtype=torch.float16)
    assert o.dtype == g.dtype
    singular = torch.linalg.svdvals(o)
    assert singular.min() > 0.6 and singular.max() < 1.3
    assert not orthogonalise(0 * g, dtype=torch.float16).any()


def test_the_adam_half_equals_torch_adamw():
    torch.manual_seed(0)
    mine = nn.Linear(5, 3)
    theirs = copy.deepcopy(mine)
    a = Muon([dict(params=list(mine.parameters()), muon=False, lr=0.01, weight_decay=0.1)], betas=(0.9, 0.99))
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(5):
        x = torch.randn(4, 5, generator=keyed(step))
        for model, optimiser in ((mine, a), (theirs, b)):
            optimiser.zero_grad()
            model(x).square().sum().backward()
            optimiser.step()
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_the_average_of_constant_weights_is_those_weights():
    model = nn.Linear(3, 3)
    ema = EMA(model, 0.99)
    for _ in range(20):
        ema.update(model)
    torch.testing.assert_close(ema.model.weight, model.weight)


def test_the_rate_rises_stays_and_falls_to_zero():
    rate = Trapezoid(4, 20, 5)
    values = [rate(step) for step in range(21)]
    assert values[:4] == [0.25, 0.5, 0.75, 1.0] and set(values[4:15]) == {1.0} and values[20] == 0.0
    assert all(a >= b for a, b in itertools.pairwise(values[14:]))
