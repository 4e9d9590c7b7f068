"""Laws of experiments: a file says what is trained, its settings are typed and checked, and ``danqing learn`` runs
it."""

import json
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from danqing.cli import app
from danqing.cli.learn import training
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.learn.training import drive
from danqing.learn.training.experiment import Experiment, load, overridden, settings
from danqing.learn.training.journal import bar, clock
from danqing.noise import keyed

TINY = Path(__file__).parent / "tiny.py"


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Curves take most of the time of so short a run."""
    calls = []
    monkeypatch.setattr(drive, "curve", calls.append)
    return calls


def learn(capsys, *args: object) -> tuple[int, str, str]:
    code = 0
    try:
        app.main(["learn", *map(str, args)])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capsys.readouterr()


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 3
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float = 0.1
    name: str | None = None
    kind: Literal["plain", "fancy"] = "plain"
    mirror: bool = True
    data: Path = Path("data")
    inner: Inner = field(default_factory=Inner)
    call: object = print


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("rate=1e-3", dict(rate=1e-3)),
        ("rate = 2", dict(rate=2.0)),
        ("name=a=b", dict(name="a=b")),
        ("name=none", dict(name=None)),
        ("kind=fancy", dict(kind="fancy")),
        ("mirror=no", dict(mirror=False)),
        ("data=/x/y", dict(data=Path("/x/y"))),
        ("inner.width=5", dict(inner=Inner(width=5))),
        ("inner.sizes=[4]", dict(inner=Inner(sizes=(4,)))),
    ],
)
def test_a_setting_takes_a_value_of_its_type(change, expected):
    assert overridden(Outer(name="x"), [change]) == Outer(**{"name": "x", **expected})


def test_the_last_value_counts_and_values_inside_go_together():
    changed = overridden(Outer(), ["inner.width=5", "rate=1", "inner.sizes=[7, 8]", "rate=2"])
    assert changed == Outer(rate=2.0, inner=Inner(width=5, sizes=(7, 8)))


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ("rat=1", UnknownName, "Did you mean 'rate'"),
        ("inner.widht=1", UnknownName, r"'inner\.width'"),
        ("rate.x=1", UnknownName, "rate"),
        ("rate=fast", InvalidInput, "rate: 'fast' was given; .*number"),
        ("kind=odd", InvalidInput, "'plain' or 'fancy'"),
        ("rate", InvalidInput, "NAME=VALUE"),
        ("=1", InvalidInput, "NAME=VALUE"),
        ("inner.width=1.5", InvalidInput, "integer"),
    ],
)
def test_a_setting_that_is_not_there_or_not_possible_is_refused(change, kind, told):
    with pytest.raises(kind, match=told):
        overridden(Outer(), [change])


def test_settings_are_plain_values_and_those_free_to_change_bind_no_run():
    experiment = load(TINY)()
    assert settings(experiment)["net.width"] == 8 and settings(experiment)["steps"] == 8
    assert set(settings(experiment, fixed=True)) == {"batch", "rate", "seed", "net.width", "net.dropout", "where"}


def test_an_experiment_in_a_package_finds_its_neighbours_and_one_alone_too(tmp_path):
    package = tmp_path / "house_of_tests" / "room"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    body = (
        "from dataclasses import dataclass\nfrom danqing.learn.training.experiment import Experiment\n"
        "from {} import SIZE\n\n@dataclass(frozen=True, kw_only=True)\nclass E(Experiment):\n    size: int = SIZE\n"
        "    def training(self): ...\n"
    )
    (package / "here.py").write_text("SIZE = 3\n")
    (package / "one.py").write_text(body.format("house_of_tests.room.here"))
    (tmp_path / "beside_of_tests.py").write_text("SIZE = 4\n")
    (tmp_path / "json.py").write_text(body.format("beside_of_tests"))  # of the name of another module
    before = list(sys.path)
    assert load(package / "one.py")().size == 3 and load(tmp_path / "json.py")().size == 4 and json.loads("5") == 5  # type: ignore[attr-defined]
    sys.path[:] = before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "it has none"),
        ("class A(Experiment):\n    x = 1\n", "write @dataclass"),
        ("@dataclass(frozen=True, kw_only=True)\nclass A(Experiment):\n    x: int\n", "setting x of A has no default"),
        ("class A(Experiment): ...\nclass B(Experiment): ...\n", "it has A, B"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text, told):
    (tmp_path / "x.py").write_text(
        f"from dataclasses import dataclass\nfrom danqing.learn.training.experiment import Experiment\n{text}"
    )
    with pytest.raises(InvalidFile, match=told):
        load(tmp_path / "x.py")
    with pytest.raises(InvalidFile, match="there is no file"):
        load(tmp_path / "y.py")


def events(folder: Path) -> list[Event]:
    """What TensorBoard would read: records of (length, checksum, bytes, checksum)."""
    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + size]))
            place += size + 16
    return found


def test_a_run_leaves_checkpoint_log_evaluations_samples_and_the_same_for_tensorboard(tmp_path, capsys, drawn):
    code, out, _ = learn(
        capsys, TINY, "--out", tmp_path, "--set", "steps=4", "--set", "sample-every=2", "--set", "evaluate_every=4"
    )
    assert code == 0 and "step 4" in out and len(drawn) == 3
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 4] and set(rows[-1]) == {"step", "weight"}
    kept = torch.load(tmp_path / "last.pt", weights_only=True)
    assert kept["step"] == 4 and kept["settings"]["net.width"] == 8
    assert rows[-1]["weight"] == round(float(kept["model"]["0.weight"].norm()), 5)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["samples-000002.png", "samples-000004.png"]
    board = [(e.step, v) for e in events(tmp_path / "tensorboard") for v in e.summary.value]
    losses = {step: value.simple_value for step, value in board if value.tag == "loss"}
    assert losses == pytest.approx({row["step"]: row["loss"] for row in rows[:4]}, abs=1e-5)
    assert [(step, value.image.width) for step, value in board if value.tag == "samples"] == [(2, 4), (4, 4)]


def test_a_run_goes_on_where_it_was_and_with_other_settings_it_does_not(tmp_path, capsys):
    assert learn(capsys, TINY, "--out", tmp_path, "--set", "steps=3")[0] == 0
    code, out, _ = learn(capsys, TINY, "--out", tmp_path, "--set", "steps=5")
    assert code == 0 and "resumed at step 3" in out and torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 5
    code, _, err = learn(capsys, TINY, "--out", tmp_path, "--set", "net.dropout=0.1", "--set", "batch=2")
    assert code == 2 and "batch was 4 and is 2; net.dropout was 0.5 and is 0.1" in err and "another folder" in err
    starts = [e.step for e in events(tmp_path / "tensorboard") if e.HasField("session_log")]
    assert starts == [1, 4]  # what a killed run wrote past its checkpoint is not shown


def test_bad_input_is_told_in_a_line_and_settings_are_listed(tmp_path, capsys, monkeypatch):
    code, _, err = learn(capsys, TINY, "--out", tmp_path, "--set", "bath=3")
    assert code == 2 and "Did you mean 'batch'" in err
    assert "greater than or equal to 1" in learn(capsys, TINY, "--set", "steps=0")[2]
    assert "there is no file" in learn(capsys, tmp_path / "gone.py")[2]
    code, out, _ = learn(capsys, TINY, "--settings", "--set", "net.width=16")
    assert code == 0 and {"net.width=16", "where=none", "rate=0.02"} <= set(out.splitlines())
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    code, _, err = learn(capsys, TINY, "--out", tmp_path)
    assert code == 2 and "pip install 'danqing[train]'" in err and not list(tmp_path.iterdir())


def test_an_interrupted_run_says_that_it_goes_on(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(drive, "drive", interrupted)
    code, _, err = learn(capsys, TINY, "--out", tmp_path)
    assert code == 130 and "goes on from here" in err


def test_notes_are_told_and_a_terminal_shows_a_bar_with_the_time_left(tmp_path, capsys, monkeypatch):
    tiny = load(TINY)
    run = tiny().training()
    run.notes = ["3 files skipped"]
    drive.drive(run, tmp_path, 2)
    assert capsys.readouterr().out.startswith("3 files skipped\n")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with bar(10, 20) as show:
        assert show is not None
        show(15, {"loss": 0.25}, 3725.0)
    shown = capsys.readouterr().err
    assert "15/20" in shown and "1:02:05 left" in shown and "loss 0.25" in shown
    assert [clock(seconds) for seconds in (0.4, 61, 3600)] == ["0:00:00", "0:01:01", "1:00:00"]


def test_the_base_class_draws_and_measures_nothing():
    class Bare(Experiment):
        def training(self):
            raise NotImplementedError

    assert Bare().samples(keyed("no training")) is None and Bare().evaluate(keyed("no training")) == {}  # type: ignore[arg-type]
