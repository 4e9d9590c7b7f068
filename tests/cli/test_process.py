"""Laws of what is asked of the process and not of a picture: how many threads, and how much is said."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace

import click
import pytest
import torch
from PIL import Image

from danqing.cli import options
from danqing.cli.app import danqing
from danqing.measure.machine import races
from danqing.measure.machine.races import Measured, Trial
from danqing.painting.load import _painter
from danqing.pictures.carried import carried_by
from danqing.request.request import Request, fields
from danqing.run import measured as place_of
from danqing.run import processor
from danqing.run.measured import Choice, chosen, read
from danqing.run.native import switch
from danqing.run.native.chosen import running

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
FASTEST = Choice(precision="fp32", engine="torch", kernels="off", threads=1)


@pytest.fixture(autouse=True)
def threads_stay(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def paint(run, tiny):
    """Paint one picture with the tiny model: options of the group, then of the command."""
    return lambda *group, more=(): run(
        *group, "paint", "fox", "--seed", "1", "-o", "x.png", *more, "--model", str(tiny)
    )


def test_the_threads_are_the_processs_and_the_record_names_them(paint):
    assert paint(more=["--threads", "2"])[0] == 0
    record = carried_by("x.png").record
    assert record["record"]["threads"] == torch.get_num_threads() == 2
    assert "threads" not in json.dumps(record["request"]) and "threads" not in fields()
    assert [os.environ[name] for name in VARIABLES] == ["2", "2"]


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "9999"])
def test_a_number_of_threads_that_is_none_is_refused(paint, given):
    code, _, err = paint(more=["--threads", given])
    assert code == 2 and "--threads" in err and not os.listdir()


def test_every_command_that_takes_a_device_takes_threads():
    def names(command):
        return {name for param in command.get_params(click.Context(command)) for name in param.opts}

    options = {name: names(command) for name, command in danqing.commands.items()}
    assert (
        {name for name, has in options.items() if "--device" in has} - {"inspect"}  # which counts, and computes nothing
        == {name for name, has in options.items() if "--threads" in has}
        >= {"paint", "edit", "outpaint", "sheet", "replay", "enlarge", "compare", "evaluate", "interpolate"}
    )


def test_torch_begins_with_so_many_threads_before_what_the_environment_says(picture, tmp_path):
    code = f"""if True:
        import sys
        from danqing.cli.app import main
        assert "torch" not in sys.modules
        main(["finish", "clahe", {str(picture)!r}, "--threads", "1", "-o", {str(tmp_path / "y.png")!r}])
        import torch
        print(torch.get_num_threads())
    """
    environment = {**os.environ, **dict.fromkeys(VARIABLES, "2")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == "1"


def test_v_names_the_files_that_are_opened_and_the_seconds_of_each_stage_and_changes_no_pixel(paint, tiny):
    assert paint()[2] == ""
    _painter.cache_clear()
    code, out, err = paint("-v")
    assert code == 0 and out.strip() == "x-2.png"
    for said in (
        "model.json",
        "denoiser.safetensors",
        "its codec loaded",
        "prompts encoded",
        "painted: total",
        "x.png",
    ):
        assert said in err
    assert Image.open("x.png").tobytes() == Image.open("x-2.png").tobytes()
    assert paint()[2] == ""


def test_q_leaves_out_all_but_results_and_errors_and_the_warnings_stay_in_the_file(paint):
    cut = ["--negative", "dog", "--scale", "1"]
    _, out, err = paint(more=cut)
    assert "warning: " in err
    code, quiet, err = paint("-q", more=[*cut, "--force"])
    assert (code, quiet, err) == (0, out, "") and carried_by("x.png").record["warnings"]
    code, _, err = paint("-q", more=["--solver", "oiler"])
    assert code == 2 and "'euler'" in err


def test_the_library_says_nothing_of_itself_and_all_to_whoever_listens(painter, capfd, caplog):
    painter.paint(Request(prompt="a silent fox", seed=1))
    assert capfd.readouterr() == ("", "") and not caplog.messages
    with caplog.at_level(logging.INFO, "danqing"):
        painter.paint(Request(prompt="a fox that is heard", seed=1))
    assert any(said.startswith("painted: total") for said in caplog.messages)
    assert [type(handler).__name__ for handler in logging.getLogger("danqing").handlers] == ["NullHandler"]


def test_the_kernels_are_the_processs_and_doctor_names_them(run, picture, monkeypatch):
    monkeypatch.setenv("DANQING_KERNELS", "on")
    monkeypatch.setattr(switch, "_given", "on")
    assert run("finish", "clahe", str(picture), "--kernels", "off", "-o", "y.png")[0] == 0
    assert os.environ["DANQING_KERNELS"] == "off"
    states = json.loads(run("doctor", "--quick", "--json")[1])["kernels that do not run"]
    assert states and all("left out" in state for state in states)
    code, _, err = run("finish", "clahe", str(picture), "--kernels", "winnograd", "-o", "z.png")
    assert code == 2 and "winograd" in err and "attention_bf16" in err


@pytest.fixture
def measured(monkeypatch):
    """A machine on which one thread and no kernels are best."""
    monkeypatch.setattr(options, "chosen", lambda: FASTEST)
    monkeypatch.setenv("DANQING_KERNELS", "on")
    monkeypatch.setattr(switch, "_given", "on")


def test_threads_are_the_commands_then_the_variables_then_as_measured(paint, monkeypatch, measured):
    def threads(*more):
        assert paint(more=[*more, "--force"])[0] == 0
        return carried_by("x.png").record["record"]["threads"]

    torch.set_num_threads(2)
    assert threads() == 2  # OMP_NUM_THREADS is there, and was read when torch began
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == 1 == FASTEST.threads and os.environ["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("DANQING_THREADS", "2")
    assert threads() == 2
    assert threads("--threads", "1") == 1
    monkeypatch.setenv("DANQING_THREADS", "many")
    code, _, err = paint()
    assert code == 2 and "DANQING_THREADS" in err


def test_a_replay_computes_as_the_record_says_unless_somebody_says_otherwise(run, paint, monkeypatch, measured):
    monkeypatch.setattr(processor, "allowed", lambda: 2)
    assert paint(more=["--threads", "2", "--kernels", "winograd"])[0] == 0
    painted = carried_by("x.png").record["record"]
    switch.turn("on")
    for stated, then in ((None, 2), ("DANQING_THREADS", 1)):
        for name in (*VARIABLES, "DANQING_KERNELS"):
            monkeypatch.delenv(name, raising=False)
        if stated:
            monkeypatch.setenv(stated, "1")
        assert run("replay", "x.png")[0] == 0
        assert torch.get_num_threads() == then
        assert running() == painted.get("kernels", running())


def test_what_was_measured_is_told_kept_and_forgotten(run, monkeypatch):
    trials = (Trial(FASTEST, {"a": 1.0}, {"a": 0.1}), Trial(replace(FASTEST, engine="other"), why="it hung"))
    found = Measured(chosen=FASTEST, rule=FASTEST, trials=trials, busy=1.5, seconds=3.0)
    monkeypatch.setattr(races, "measured", lambda: found)
    code, out, err = run("doctor", "--measure")
    assert code == 0 and "100.0 ms" in out and "it hung" in out and f"from now on: {FASTEST}" in out
    assert "1.5 processors busy" in err and read()["chosen"] == vars(FASTEST)
    said = json.loads(run("doctor", "--measure", "--json")[1])
    assert said["chosen"] == vars(FASTEST) and said["trials"][1]["why"] == "it hung" and os.path.exists(said["kept"])
    chosen.cache_clear()
    monkeypatch.delenv("OMP_NUM_THREADS")
    torch.set_num_threads(2)
    facts = json.loads(run("doctor", "--quick", "--json")[1])
    assert facts["measured"] == str(FASTEST) and facts["threads"] == FASTEST.threads
    chosen.cache_clear()
    assert run("doctor", "--quick", "--forget")[0] == 0
    chosen.cache_clear()
    assert read() == {} and "not yet" in json.loads(run("doctor", "--quick", "--json")[1])["measured"]


def test_what_cannot_be_kept_is_told_all_the_same(run, monkeypatch):
    found = Measured(chosen=FASTEST, rule=FASTEST, trials=(Trial(FASTEST, {"a": 1.0}, {"a": 0.1}),), busy=0, seconds=3)
    monkeypatch.setattr(races, "measured", lambda: found)
    monkeypatch.setattr(place_of, "path", lambda: place_of.Path(os.devnull) / "x" / "y")
    code, out, err = run("doctor", "--measure")
    assert code == 0 and f"the fastest: {FASTEST}" in out and "nothing is remembered" in err
