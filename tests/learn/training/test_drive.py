"""Laws of what drives a training: it stops between steps, saves in time, and a broken run leaves the log of a whole
one."""

import itertools
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from danqing import atomic
from danqing.errors import InvalidFile
from danqing.learn.data.order import Order
from danqing.learn.training import drive as driving
from danqing.learn.training.drive import between_steps, drive
from danqing.learn.training.loop import EMA, Diverged, Training, Trapezoid
from danqing.learn.training.optim import Muon, muon_groups
from danqing.noise import keyed


class Killed(Muon):
    """Has the process told to stop in its step ``at``, when half of the parameters have moved."""

    at, kind, done = 0, signal.SIGTERM, 0

    def _muon(self, *args) -> None:
        super()._muon(*args)
        self.done += 1
        if self.done == self.at:
            signal.raise_signal(self.kind)


def training(at: int = 0, kind: signal.Signals = signal.SIGTERM) -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4))
    data, order = torch.randn(20, 4, generator=keyed("data")), Order(20, 8, "order")

    def objective(model, batch, noise):
        return {"loss": (model(batch + torch.randn(batch.shape, generator=noise)) - batch).square().mean()}

    optimiser = Killed(muon_groups(model, lr=0.02, adam_lr=1e-2))
    optimiser.at, optimiser.kind = at, kind
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


def log(folder: Path) -> dict[int, float]:
    """Step -> loss."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows}


@pytest.fixture(autouse=True)
def drawn(monkeypatch) -> list[int]:
    """Stands for the drawing of curves, which needs a library that only trainings need: how many lines each would
    show."""
    calls: list[int] = []
    monkeypatch.setattr(driving, "curve", lambda folder: calls.append(len(log(folder))))
    return calls


@pytest.fixture(autouse=True)
def heard():
    """The tests may themselves run under a shell that has them ignore Ctrl-C."""
    before = {kind: signal.signal(kind, signal.default_int_handler) for kind in (signal.SIGINT, signal.SIGTERM)}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_run_killed_in_the_middle_of_a_step_ends_as_an_unbroken_one(tmp_path, kind):
    whole, killed, resumed = training(), training(5, kind), training()
    drive(whole, tmp_path / "whole", 12)
    with pytest.raises(KeyboardInterrupt):
        drive(killed, tmp_path / "broken", 12)
    assert killed.step == 5 and signal.getsignal(kind) is signal.default_int_handler
    drive(resumed, tmp_path / "broken", 12)
    assert resumed.step == 12 and all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_second_request_does_not_wait_and_an_ignored_one_is_none():
    with pytest.raises(KeyboardInterrupt), between_steps() as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked == [signal.SIGTERM]
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with between_steps() as asked:
        signal.raise_signal(signal.SIGINT)
        assert not asked


def test_an_error_leaves_the_last_whole_checkpoint(tmp_path):
    run, whole = training(), training()
    drive(run, tmp_path, 4)
    run.optimisers["loss"]._adam = lambda *_: 1 / 0  # the matrices have moved by then
    with pytest.raises(ZeroDivisionError):
        drive(run, tmp_path, 12)
    resumed = training()
    assert resumed.resume(tmp_path / "last.pt") and resumed.step == 4
    list(whole.run(4))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_checkpoint_and_its_log(tmp_path):
    run, sane = training(), training()
    run.batches = lambda step: sane.batches(step) * (float("nan") if step == 9 else 1.0)
    drive(run, tmp_path, 6, log_every=1)
    with pytest.raises(Diverged, match="loss is nan, loss_grad is nan in step 10, on batch 9"):
        drive(run, tmp_path, 12, log_every=1)
    resumed = training()
    assert resumed.resume(tmp_path / "last.pt") and resumed.step == 6 and list(log(tmp_path)) == list(range(1, 10))
    drive(resumed, tmp_path, 12, log_every=1)  # with sound data it goes on
    list(sane.run(12))
    assert all(torch.equal(a, b) for a, b in zip(weights(sane), weights(resumed), strict=True))


def test_a_checkpoint_is_never_older_than_five_minutes(tmp_path, monkeypatch):
    now, saved, run = itertools.count(step=7), [0], training()
    monkeypatch.setattr(driving, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(run, "save", lambda path: saved.append(run.step))
    drive(run, tmp_path, 200)
    assert saved[-1] == 200 and max(b - a for a, b in itertools.pairwise(saved)) * 7 <= 300


def test_it_stops_when_its_minutes_are_over_and_saves(tmp_path, monkeypatch):
    now = itertools.count(step=7)
    monkeypatch.setattr(driving, "time", SimpleNamespace(monotonic=lambda: next(now)))
    drive(training(), tmp_path, 200, minutes=1)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 9  # the first that ends after 60 seconds


def test_the_log_of_a_broken_run_continues_and_each_line_is_a_mean(tmp_path):
    losses = [progress.losses["loss"] for progress in training().run(12)]
    with pytest.raises(KeyboardInterrupt):
        drive(training(6), tmp_path, 12, log_every=4)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "loss": 7.0}\n{"step": 12, "lo')  # a later line of another life, one cut short
    drive(training(), tmp_path, 12, log_every=4)
    means = {4: sum(losses[:4]) / 4, 8: sum(losses[6:8]) / 2, 12: sum(losses[8:]) / 4}  # the sixth step was saved
    assert log(tmp_path) == {step: round(mean, 5) for step, mean in means.items()}


def test_curves_and_samples_are_drawn_on_the_way_and_curves_without_samples_too(tmp_path, drawn):
    drive(training(), tmp_path / "a", 12, log_every=2, sample_every=5, sample=lambda: Image.new("RGB", (2, 2)))
    assert sorted(path.name for path in (tmp_path / "a").glob("*.png")) == ["samples-000005.png", "samples-000010.png"]
    drive(training(), tmp_path / "b", 12, log_every=2, sample_every=5)
    assert drawn == [2, 5, 6] * 2


def test_a_folder_takes_one_training_at_a_time(tmp_path):
    turn = atomic.alone(tmp_path / "log.jsonl")
    with ThreadPoolExecutor(1) as other:
        other.submit(turn.__enter__).result()
        with pytest.raises(InvalidFile, match="another process is writing.*log.jsonl"):
            drive(training(), tmp_path, 3)
        other.submit(turn.__exit__, None, None, None).result()
    drive(training(), tmp_path, 3)
    assert (tmp_path / "last.pt").exists()
