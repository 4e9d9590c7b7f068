"""Laws of what is asked of the process and not of a picture: how many threads, and how much is said."""

import json
import logging
import os
import subprocess
import sys

import click
import pytest
import torch
from PIL import Image

from danqing.cli.app import danqing
from danqing.painting.load import _painter
from danqing.pictures.carried import carried_by
from danqing.request.request import Request, fields
from danqing.run.native import switch

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


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
        {name for name, has in options.items() if "--device" in has}
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
    states = json.loads(run("doctor", "--quick", "--json")[1])["each kernel"]
    assert states and all("left out" in state for state in states)
    code, _, err = run("finish", "clahe", str(picture), "--kernels", "winnograd", "-o", "z.png")
    assert code == 2 and "winograd" in err and "attention_bf16" in err
