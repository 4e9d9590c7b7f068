"""What was measured on a machine counts there, behind whatever anybody says, and a cache that is none does no harm."""

import json

import pytest
import torch

import danqing
from danqing.errors import InvalidFile
from danqing.run import measured
from danqing.run.engine.engines import ENGINES, Engine, find_engine
from danqing.run.measured import NOTHING, Choice, chosen, forget, machine, read, write
from danqing.run.native import switch
from danqing.run.precision import find_precision, precision_name, training_precision

CPU = torch.device("cpu")
VARIABLES = ("DANQING_PRECISION", "DANQING_ENGINE", "DANQING_KERNELS")


def usual():
    return find_precision("cpu"), find_engine(CPU), switch.given()


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """Begins a process, as far as its memory of the measurement goes, with a cache of its own."""
    monkeypatch.setattr(measured, "place", lambda kind: tmp_path / kind)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def begin():
        chosen.cache_clear()
        monkeypatch.setattr(switch, "_given", None)

    begin()
    yield begin
    chosen.cache_clear()


@pytest.fixture
def other(anew):
    """A choice that differs from what is usual in everything."""
    dtype, engine, _ = usual()
    return Choice(
        precision="fp32" if dtype != torch.float32 else "bf16",
        engine="torch" if engine != "torch" else "packed",
        kernels="off",
        threads=3,
    )


def test_it_counts_from_the_next_process_on_until_it_is_forgotten(anew, other):
    before = usual()
    write(other, {})
    assert usual() == before and chosen() == NOTHING  # no picture depends on what was measured beside it
    anew()
    assert chosen() == other
    engine = other.engine if not ENGINES[other.engine].reason(CPU) else "torch"
    assert (precision_name(find_precision("cpu")), find_engine(CPU), switch.given()) == (
        other.precision,
        engine,
        other.kernels,
    )
    forget()
    anew()
    assert usual() == before


def test_what_anybody_says_counts_before_it(anew, other, monkeypatch):
    dtype, engine, _ = usual()
    write(other, {})
    anew()
    assert find_precision("cpu", precision_name(dtype)) == dtype and find_engine(CPU, engine) == engine
    monkeypatch.setenv("DANQING_PRECISION", precision_name(dtype))
    monkeypatch.setenv("DANQING_ENGINE", engine)
    monkeypatch.setenv("DANQING_KERNELS", "winograd")
    assert usual() == (dtype, engine, "winograd")
    # "auto" is no choice: neither does the variable choose.
    assert precision_name(find_precision("cpu", "auto")) == other.precision


def test_trainings_do_not_hear_of_it(anew, other):
    before = training_precision("cpu")
    write(other, {})
    anew()
    assert training_precision("cpu") == before != find_precision("cpu")


@pytest.mark.parametrize("engine", ["gone", "broken", "of another device"])
def test_an_engine_that_is_no_longer_there_is_not_taken(anew, engine):
    _, before, _ = usual()
    broken = Engine(attach=lambda net: lambda: None, reason=lambda where: "it is broken")
    elsewhere = Engine(attach=lambda net: lambda: None, reason=lambda where: "" if where.type == "cuda" else "not here")
    with ENGINES.added("broken", broken), ENGINES.added("of another device", elsewhere):
        write(Choice(precision="fp32", engine=engine, kernels="on", threads=1), {})
        anew()
        assert chosen().engine == engine and find_engine(CPU) == before


CHOICE = {"precision": "fp32", "engine": "torch", "kernels": "off", "threads": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda said: b"",
        lambda said: b"\xff{",
        lambda said: b"[" * 100_000,
        lambda said: b"null",
        lambda said: json.dumps({**said, "machine": {**said["machine"], "danqing": "9.9"}}).encode(),
        lambda said: json.dumps({**said, "machine": {**said["machine"], "torch": "1.0"}}).encode(),
        lambda said: json.dumps({**said, "chosen": {}}).encode(),
        lambda said: json.dumps({**said, "chosen": {**CHOICE, "threads": 0}}).encode(),
        lambda said: json.dumps({**said, "chosen": {**CHOICE, "threads": True}}).encode(),
        lambda said: json.dumps({**said, "chosen": {**CHOICE, "precision": "fp8"}}).encode(),
        lambda said: json.dumps({**said, "chosen": {**CHOICE, "kernels": ["off"]}}).encode(),
        lambda said: json.dumps({**said, "chosen": {**CHOICE, "more": 1}}).encode(),
        lambda said: json.dumps({"machine": said["machine"]}).encode(),
    ],
)
def test_a_file_that_is_damaged_or_foreign_is_as_good_as_none(anew, change):
    path = write(Choice(**CHOICE), {})
    assert read()["chosen"] == CHOICE
    path.write_bytes(change(json.loads(path.read_text())))
    assert chosen() == NOTHING and read() == {}
    write(Choice(**CHOICE), {})  # and gives way
    assert read()["chosen"] == CHOICE


def test_a_cache_that_cannot_be_written_or_read_does_no_harm(anew):
    cache = measured.folder().parent
    cache.write_text("no folder")
    assert chosen() == NOTHING
    with pytest.raises(InvalidFile, match="cannot be written"):
        write(Choice(**CHOICE), {})
    cache.unlink()
    measured.path().mkdir(parents=True)  # what is no file
    assert read() == {}
    with pytest.raises(InvalidFile, match="cannot be written"):
        write(Choice(**CHOICE), {})
    with pytest.raises(InvalidFile, match="cannot be removed"):
        forget()


@pytest.mark.parametrize(
    "change",
    [{"cpu": "another"}, {"flags": "sse2"}, {"processors": 99}, {"cores": 1}, {"torch": "9"}, {"kernels": "0"}],
    ids=lambda change: "".join(change),
)
def test_machines_that_share_a_home_have_a_measurement_each(anew, monkeypatch, change):
    here = machine()
    write(Choice(**CHOICE), {})
    monkeypatch.setattr(measured, "machine", lambda: {**here, **change})
    assert read() == {}
    write(Choice(**{**CHOICE, "threads": 7}), {})
    assert read()["chosen"]["threads"] == 7
    monkeypatch.setattr(measured, "machine", lambda: here)
    assert read()["chosen"] == CHOICE


def test_a_picture_names_what_it_was_computed_by_and_replays_whatever_was_measured_since(anew, other, tiny, tmp_path):
    from danqing.painting.load import _painter

    path = danqing.paint("a fox", model=str(tiny), seed=3, steps=2, device="cpu").save(tmp_path / "fox.png")
    write(Choice(precision=other.precision, engine=other.engine, kernels="on", threads=other.threads), {})
    anew()
    _painter.cache_clear()
    now = danqing.paint("a fox", model=str(tiny), seed=3, steps=2, device="cpu")
    assert now.record["precision"] == other.precision == now.request.precision
    assert danqing.replay(path, device="cpu").exact
