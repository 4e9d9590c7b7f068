"""Laws of training: exact resume, the data order, the average, the optimiser."""

import copy
import itertools

import pytest
import torch
from torch import nn

from danqing.errors import InvalidFile
from danqing.learn.data import Mixture, Order, keyed
from danqing.learn.loop import EMA, Training, Trapezoid
from danqing.learn.optim import Muon, muon_groups, orthogonalise


def training(seed: int = 0) -> Training:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
    data = torch.randn(20, 3, 6, 6, generator=keyed("data"))
    order = Order(20, 8, "order")

    def objective(model, batch, noise):
        eps = torch.randn(batch.shape, generator=noise)
        return {"loss": (model(batch + eps) - batch).square().mean()}

    optimiser = Muon(muon_groups(model, lr=0.02, adam_lr=1e-3, edges=["0."]))
    return Training(model=model, objective=objective, batches=lambda step: data[order(step)],
                    optimisers={"loss": optimiser}, rate=Trapezoid(3, 12, 4), ema=EMA(model, 0.9))


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
