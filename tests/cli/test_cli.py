"""Laws of the command line: what is written where, and how it ends."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import danqing
from danqing import installed
from danqing.cli import app
from danqing.cli.commands import painting
from danqing.errors import DanqingError, InvalidFile
from danqing.painting.loaded import LoadedModel
from danqing.pictures import encode, files
from danqing.pictures.carried import carried_by
from danqing.request.names import RECIPES
from danqing.request.request import Request


def environment():
    """Of processes that tests start: nobody's folders, and the package as it is here."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TERM": "xterm",
        "PYTHONPATH": str(Path(danqing.__file__).parents[1]),
    }


@pytest.fixture
def run(run, tiny):
    """The same on the tiny model, unless it is said not to be."""
    return lambda *args, model=True: run(*args, *(["--model", str(tiny)] if model else []))


def test_a_prompt_becomes_a_file_named_after_it(run):
    code, out, _ = run("paint", "A red fox!", "--seed", "3")
    assert code == 0 and out.split() == ["a-red-fox-3-0.png"] == os.listdir()
    assert carried_by("a-red-fox-3-0.png").record["request"]["seed"] == 3


def test_nothing_of_a_strangers_file_steers_the_terminal(run):
    hostile = "a fox\x1b]0;owned\x07 \u202egnp.exe\r"
    assert run("paint", hostile, "--seed", "3", "-o", "x.png")[0] == 0
    code, out, err = run("inspect", "x.png", model=False)
    assert code == 0 and not set("\x1b\x07\u202e\r") & set(out + err) and "]0;owned" in out
    code, _, err = run("paint", "fox", "--solver", "\x1b[2J")
    assert code == 2 and "\x1b" not in err


def test_other_programs_options_paint_the_same_picture_and_are_told_once(run):
    assert (
        run("paint", "fox", "--steps", "2", "--scale", "5", "--solver", "euler-a", "--seed", "3", "-o", "a.png")[0] == 0
    )
    theirs = ("-s2", "--cfg-scale=5", "--sampler", "Euler a", "--seed", "3", "-n", "1", "-o", "b.png")
    code, _, err = run("paint", "fox", *theirs)
    assert code == 0 and Image.open("a.png").tobytes() == Image.open("b.png").tobytes()
    assert err.count("--sampler is --solver here") == 1 and "the solver Euler a is euler-a here" in err


def test_what_is_not_said_is_as_in_the_picture_that_is_named(run):
    assert run("paint", "fox", "--steps", "2", "--solver", "heun", "--seed", "3", "-o", "a.png")[0] == 0
    assert run("paint", "--like", "a.png", "-o", "b.png", model=False)[0] == 0
    assert Image.open("a.png").tobytes() == Image.open("b.png").tobytes()
    assert run("paint", "cat", "--like", "a.png", "--steps", "1", "-o", "c.png", model=False)[0] == 0
    request = carried_by("c.png").record["request"]
    assert (request["prompt"], request["sampling"]["steps"], request["sampling"]["solver"]) == ("cat", 1, "heun")
    Image.new("RGB", (8, 8)).save("plain.png")
    code, _, err = run("paint", "--like", "plain.png")
    assert code == 2 and "carries no record" in err


def test_every_prompt_with_every_seed_and_index_and_a_sheet(run):
    code, out, _ = run("paint", "fox", "cat", "--seed", "1", "--seed", "2", "--count", "2", "--grid", "-o", "pets/")
    assert code == 0 and len(out.split()) == 9
    sheet = next(n for n in os.listdir("pets") if "grid" in n)
    assert len(os.listdir("pets")) == 9 and Image.open(f"pets/{sheet}").size == (96, 96)


def test_without_a_seed_the_pictures_of_one_prompt_share_a_drawn_one(run):
    _, out, _ = run("paint", "fox", "--count", "3", "--json")
    found = [json.loads(line)["request"] for line in out.splitlines()]
    assert [r["index"] for r in found] == [0, 1, 2] and len({r["seed"] for r in found}) == 1


def test_a_taken_name_is_numbered_and_force_overwrites(run):
    for expected in ("x.png", "x-2.png", "x-3.png"):
        assert run("paint", "fox", "-o", "x.png")[1].strip() == expected
    assert run("paint", "fox", "-o", "x.png", "--force")[1].strip() == "x.png"
    assert run("paint", "fox", "--count", "2", "-o", "x.png", "--force")[1].split() == ["x.png", "x-4.png"]


def test_json_is_all_that_stands_on_standard_output_and_paints_the_same(run):
    _, out, _ = run("paint", "fox", "-o", "x.png", "--json", "--preview")
    found = json.loads(out)
    assert found["file"] == "x.png" and Request(**found["request"]) == Request(**carried_by("x.png").record["request"])
    assert found["seconds"]["total"] > 0 and os.listdir() == ["x.png"]


def test_a_preview_is_written_at_each_step_and_gone_at_the_end(run, monkeypatch):
    seen, put = [], files.put

    def watch(path, data, **options):
        seen.append(path.name)
        return put(path, data, **options)

    monkeypatch.setattr(files, "put", watch)
    run("paint", "fox", "-o", "x.png", "--preview", "--steps", "3")
    assert seen == ["x.preview.png"] * 3 + ["x.png"] and os.listdir() == ["x.png"]


def test_a_preview_leaves_a_file_of_its_name_alone(run):
    Path("x.preview.png").write_bytes(b"precious")
    run("paint", "fox", "-o", "x.png", "--preview")
    assert Path("x.preview.png").read_bytes() == b"precious" and sorted(os.listdir()) == ["x.png", "x.preview.png"]


def test_edit_paints_over_and_with_a_mask_leaves_the_rest(run, picture, mask):
    assert run("edit", str(picture), "fox", "--strength", "0", "-o", "same.png")[0] == 0
    assert Image.open("same.png").tobytes() == Image.open(picture).tobytes()
    assert run("edit", str(picture), "fox", "--mask", str(mask), "-o", "part.png")[0] == 0
    assert carried_by("part.png").record["request"]["recipe"] == "inpaint"


def test_edit_repaints_holes(run, picture):
    image = Image.open(picture).convert("RGBA")
    image.paste((0, 0, 0, 0), (8, 8, 24, 24))
    image.save("holes.png")
    assert run("edit", "holes.png", "fox", "--holes", "-o", "whole.png")[0] == 0
    assert Image.open("whole.png").crop((0, 0, 32, 8)).tobytes() == Image.open(picture).crop((0, 0, 32, 8)).tobytes()


def test_replay_says_exact_and_how_far_off(run):
    run("paint", "fox", "-o", "x.png")
    code, out, _ = run("replay", "x.png", model=False)
    assert code == 0 and out.startswith("exact")
    code, out, _ = run("replay", "x.png", "--json", model=False)
    assert code == 0 and json.loads(out)["exact"] is True


def test_inspect_tells_a_picture_from_weights(run, tiny):
    run("paint", "fox", "-o", "x.png", "--seed", "7")
    code, out, _ = run("inspect", "x.png", "--json", model=False)
    assert code == 0 and json.loads(out)["request"]["seed"] == 7
    code, out, _ = run("inspect", str(tiny / "denoiser.safetensors"), model=False)
    assert code == 0 and "unet" in out.lower()
    assert run("inspect", "nowhere.png", model=False)[0] == 2


def test_inspect_tells_a_whole_model_from_a_damaged_one(run, tiny):
    shutil.copytree(tiny, "m")
    code, out, _ = run("inspect", "m", "--json", model=False)
    assert code == 0 and {part["state"] for part in json.loads(out)["components"].values()} == {"whole"}
    weights = Path("m/text.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    _, out, _ = run("inspect", "m", "--json", model=False)
    assert "SHA-256" in json.loads(out)["components"]["text"]["state"]


def test_models_lists_what_ships_and_says_so_where_nothing_does(run, tiny, monkeypatch):
    monkeypatch.setattr(installed, "folders", lambda: [tiny.parent])
    code, out, _ = run("models", "--json", model=False)
    assert code == 0 and json.loads(out)["name"] == "tiny" and json.loads(out)["defaults"]["steps"] == 3
    assert run("models", model=False)[1].startswith("tiny")
    monkeypatch.setattr(installed, "folders", list)
    code, out, err = run("models", model=False)
    assert (code, out) == (0, "") and "pip install danqing-mini" in err


@pytest.mark.parametrize("command", ["", *app.danqing.commands])
def test_help_shows_examples_of_every_command(run, command):
    code, out, _ = run(*command.split(), "--help", model=False)
    assert code == 0 and f"danqing {command}".strip() in out.split("Examples")[1]


def test_help_of_all_names_every_command_in_one_line(run):
    _, out, _ = run("--help", model=False)
    listed = out.split("Commands:")[1].split("Examples")[0].strip().splitlines()
    assert {line.split()[0] for line in listed} == set(app.danqing.commands) and not any(
        "..." in line for line in listed
    )


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["pant", "fox"], "paint"),
        (["paint", "fox", "--stps", "3"], "--steps"),
        (["paint", "fox", "--steps", "-3"], "1 to 1000"),
        (["paint", "fox", "--steps", "many"], "whole number"),
        (["paint", "fox", "--scale", "nan"], "scale"),
        (["paint", "fox", "--solver", "eulr"], "euler"),
        (["paint", "fox", "--width", "33"], "multiples"),
        (["paint", "fox", "--width", "-5"], "8 to 4096"),
        (["paint", "--negative", "x" * 1_000_001], "1000000 characters"),
        (["paint", "fox", "--seed", "x"], "seed"),
        (["paint", "fox", "--count", "0"], "count"),
        (["paint", "fox", "-o", "x.gif"], ".webp"),
        (["paint", "fox", "-o", "{sed}.png"], "seed"),
        (["paint", "fox", "-o", "no/where/x.png"], "no folder"),
        (["paint", "fox", "--device", "gpu"], "cpu"),
        (["edit", "gone.png", "fox"], "gone.png"),
        (["replay", "gone.png"], "gone.png"),
        (["paint", "fox", "--interval", "1", "0"], "interval"),
        (["paint", "fox", "--solver", "DPM++ 2N"], "'dpmpp-2m'"),
        (["paint", "fox", "--eta", "0.5", "--solver", "heun"], "leave eta out"),
        (["paint", "\udcff"], "UTF-8"),
        (["paint", "fox", "-o", "fox"], "fox.png"),
        (["paint", "fox", "-o", "x" * 300 + ".png"], "too long"),
        (["paint", "x" * 40, "-o", "{prompt}" * 7 + ".png"], "too long"),
        (["paint", "fox", "-o", "~no-such-user/x.png"], "~no-such-user"),
        (["paint", "fox", "-o", "no/where/"], "no/where"),
        (["paint", "fox", "--model", "~no-such-user/m"], "~no-such-user"),
        (["paint", "fox", "--model", "x" * 5000], "model"),
        (["edit", "x.png", "--holes", "--mask", "m.png"], "one of them"),
    ],
)
def test_bad_input_is_told_in_a_line_with_code_2_and_writes_nothing(run, args, told):
    code, out, err = run(*args, model=args[0] in ("paint", "edit") and "--model" not in args)
    assert code == 2 and told in err and "Traceback" not in err and out == ""
    assert os.listdir() == []


def test_a_damaged_picture_is_told_and_nothing_written(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = run("edit", str(tmp_path / "x.png"), "fox")
    assert code == 2 and "x.png" in err and os.listdir() == []


def test_what_is_cut_or_ignored_is_told_on_standard_error_and_in_the_json(run):
    _, out, err = run("paint", "a <lora:ink:1> fox", "--scale", "1", "--negative", "tree", "-o", "x.png", "--json")
    told = json.loads(out)["warnings"]
    assert len(told) == 2 and "<lora:ink:1>" in told[0] and "negative" in told[1]
    assert err.splitlines() == [f"warning: {line}" for line in told] and carried_by("x.png").record["warnings"] == told


def test_a_format_that_cannot_hold_the_picture_is_refused_before_painting(run, monkeypatch):
    monkeypatch.setitem(encode.SIDES, "WEBP", 50)
    monkeypatch.setattr(painting.Screen, "one", lambda *_: pytest.fail("it was painted"))
    code, _, err = run("paint", "fox", "--finish", "enlarge:scale=2", "-o", "x.webp")
    assert code == 2 and "64×64" in err and os.listdir() == []


def test_a_failure_costs_the_picture_that_fails_alone(run, monkeypatch):
    real = LoadedModel.states

    def states(self, request):
        if request.index == 1:
            raise DanqingError("not finite")
        yield from real(self, request)

    monkeypatch.setattr(LoadedModel, "states", states)
    code, out, err = run("paint", "fox", "--count", "3", "-o", "{index}.png")
    assert code == 1 and out.split() == ["0.png", "2.png"] and err.count("not finite") == 1


def test_a_painted_picture_is_kept_where_its_name_can_no_longer_be_written(run, monkeypatch):
    real = painting.Screen.one

    def one(self, *rest):
        Path("x.png").parent.joinpath("sub").rmdir()
        return real(self, *rest)

    Path("sub").mkdir()
    monkeypatch.setattr(painting.Screen, "one", one)
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd()))
    code, out, err = run("paint", "fox", "--seed", "7", "-o", "sub/x.png")
    assert code == 2 and "written to" in err and carried_by(out.strip()).record["request"]["seed"] == 7


def test_a_preview_that_cannot_be_written_costs_no_picture(run, monkeypatch):
    def full(path, *_, **__):
        raise InvalidFile("the disk is full") if "preview" in path.name else pytest.fail("another file")

    monkeypatch.setattr("danqing.pictures.files.put", full)
    monkeypatch.setattr("danqing.pictures.picture.files.put", files.put)
    with monkeypatch.context() as patched:
        patched.setattr("danqing.pictures.kept.save", lambda picture, path, **_: (path, None))
        code, _, _ = run("paint", "fox", "--preview", "-o", "x.png")
    assert code == 0


def test_output_that_nobody_can_take_is_an_error_in_one_line(run, monkeypatch):
    def full(value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(painting, "say", full)
    code, _, err = run("paint", "fox", "--json", "-o", "x.png")
    assert code == 1 and err == "danqing: [Errno 28] No space left on device\n" and os.listdir() == ["x.png"]


@pytest.mark.posix
def test_a_terminal_shows_a_bar_with_the_time_of_a_step_and_lines_of_their_own(tiny, tmp_path):
    import pty

    screen, terminal = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "danqing",
        "paint",
        "<lora:ink:1>",
        "--model",
        str(tiny),
        "--count",
        "2",
        "-o",
        "{index}.png",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, env=environment())
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal's other end tells that it was left
        while part := os.read(screen, 65536):
            shown += part
    os.close(screen)
    assert process.communicate()[0].split() == [b"0.png", b"1.png"] and process.returncode == 0
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert "loading" in plain and re.search(r"2/2 .* 3/3 \d+ ms a step", plain)
    assert len(re.findall(r"[\r\n]warning: ", plain)) == 2 == plain.count("warning: ")


def test_an_interrupt_while_torch_loads_ends_the_process_even_where_it_would_be_swallowed(tiny, tmp_path):
    code = """
import signal, sys
from danqing.cli import app
from danqing.cli.commands import painting

class Swallows:
    def find_spec(self, name, *_):
        if name == "torch":
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                pass

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Swallows())
app.main(sys.argv[1:])
"""
    command = [sys.executable, "-c", code, "paint", "fox", "--model", str(tiny)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment())
    assert done.returncode == 130 and b"interrupted" in done.stderr and os.listdir(tmp_path) == []


def test_an_interrupt_in_mid_sampling_ends_with_130_and_no_file(run, monkeypatch):
    plain = RECIPES["text2image"]

    def interrupted(painter, request):
        for state in plain.run(painter, request):
            if getattr(state, "step", 0) == 2:
                raise KeyboardInterrupt
            yield state

    monkeypatch.setitem(RECIPES._rows, "text2image", replace(plain, run=interrupted))
    code, _, err = run("paint", "fox", "-o", "x.png", "--preview")
    assert code == 130 and "interrupted" in err and os.listdir() == []


@pytest.mark.posix
def test_a_real_interrupt_ends_the_process_with_130_and_leaves_nothing(tiny, tmp_path):
    command = [
        sys.executable,
        "-m",
        "danqing",
        "paint",
        "fox",
        "--model",
        str(tiny),
        "--steps",
        "1000",
        "--solver",
        "heun",
        "--preview",
    ]
    process = subprocess.Popen(
        [*command, "-o", "x.png"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background shell starts its children deaf to Ctrl-C
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "x.preview.png").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in err
    assert os.listdir(tmp_path) == []
