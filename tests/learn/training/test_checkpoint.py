"""Laws of checkpoints: what draws random numbers resumes exactly, and what cannot be written or taken over loses
nothing."""

from pathlib import Path

import pytest
import torch
from torch import nn

from danqing.errors import InvalidFile
from danqing.learn.data.order import Order
from danqing.learn.training import checkpoint
from danqing.learn.training.loop import EMA, Training, Trapezoid
from danqing.noise import globally, keyed


def training(width: int = 8, *, names: tuple[str, ...] = ("loss",), **changes) -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 4))
    data, order = torch.randn(20, 4, generator=keyed("data")), Order(20, 8, "order")

    def objective(model, batch, noise):
        loss = (model(batch) - batch + 0.1 * torch.randn(batch.shape)).square().mean()  # from the global generator, too
        return dict.fromkeys(names, loss)

    parts = (model,) if len(names) == 1 else (model[:3], model[3])
    optimisers = {name: torch.optim.AdamW(part.parameters(), lr=0.01) for name, part in zip(names, parts, strict=True)}
    return Training(
        model=model,
        objective=objective,
        batches=lambda step: data[order(step)],
        optimisers=optimisers,
        rate=Trapezoid(1),
        ema=EMA(model, 0.9),
        **changes,
    )


def same(a: Training, b: Training) -> bool:
    return all(
        torch.equal(p, q) for p, q in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )


def test_layers_that_draw_from_the_global_generator_resume_exactly(tmp_path):
    whole, broken, resumed = training(), training(), training()
    list(whole.run(8))
    list(broken.run(3))
    broken.save(tmp_path / "last.pt")
    torch.manual_seed(77)
    assert resumed.resume(tmp_path / "last.pt")
    for _ in resumed.run(8):
        torch.randn(5)  # an evaluation between the steps may draw, too
    assert same(whole, resumed)


def test_another_seed_drops_other_units():
    runs = [training(seed=seed) for seed in (0, 0, 1)]
    for run in runs:
        list(run.run(2))
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_a_step_leaves_the_global_generator_where_it_was():
    torch.manual_seed(5)
    expected = torch.randn(3)
    run = training()
    torch.manual_seed(5)
    list(run.run(2))
    assert torch.equal(torch.randn(3), expected)
    with globally(torch.device("cpu"), "key"):
        first = torch.randn(3)
    with globally(torch.device("cpu"), "key"):
        assert torch.equal(torch.randn(3), first)


@pytest.mark.posix
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "last.pt"
    run, resumed = training(), training()
    list(run.run(2))
    run.save(path)
    list(run.run(4))
    (tmp_path / "last.part").symlink_to("/dev/full")
    with pytest.raises(InvalidFile, match=r"last\.pt: No space left on device; the checkpoint before it is whole"):
        run.save(path)
    assert resumed.resume(path) and resumed.step == 2 and [file.name for file in tmp_path.iterdir()] == ["last.pt"]
    run.save(path)
    assert training().resume(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidFile, match="there was none before it"):
        training().save(tmp_path / "file" / "last.pt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(width=9), r"0\.weight is \(8, 4\), here \(9, 4\)"),
        (dict(names=("loss", "other")), r"its optimisers are \['loss'\], here \['loss', 'other'\]"),
        (dict(seed=3), "seed was 0 and is 3"),
        (dict(accumulate=2), "batches a step was 1 and is 2"),
        (dict(settings={"rate": 0.2, "size": 8}), "rate was 0.1 and is 0.2"),
        (dict(settings={"size": 8}), "rate was 0.1 and is 'unset'"),
    ],
)
def test_a_run_with_other_settings_is_refused_and_loses_nothing(tmp_path, change, told):
    path = tmp_path / "last.pt"
    saved = training(settings={"rate": 0.1, "size": 8})
    list(saved.run(2))
    saved.save(path)
    before = path.read_bytes()
    other = training(**{"settings": {}, **change})
    untouched = {name: value.clone() for name, value in other.model.state_dict().items()}
    with pytest.raises(InvalidFile, match=told):
        other.resume(path)
    assert path.read_bytes() == before and other.step == 0
    assert all(torch.equal(value, untouched[name]) for name, value in other.model.state_dict().items())


def test_a_checkpoint_that_says_nothing_of_order_and_settings_is_taken(tmp_path):
    saved, resumed = training(), training(seed=4, settings={"rate": 1})
    list(saved.run(2))
    old = {name: value for name, value in saved.state().items() if name not in ("order", "settings")}
    checkpoint.write(tmp_path / "last.pt", old)
    assert resumed.resume(tmp_path / "last.pt") and resumed.step == 2 and same(saved, resumed)


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"step": Path("x")}, tmp_path / "last.pt")
    with pytest.raises(InvalidFile, match=r"last\.pt is no checkpoint"):
        training().resume(tmp_path / "last.pt")
