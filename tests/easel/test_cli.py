"""Laws of the command line: what is written where, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import danqing
from danqing import cli
from danqing.easel import files, recipes
from danqing.easel.request import Request


@pytest.fixture
def run(tiny, tmp_path, monkeypatch, capsys):
    """Run a command in a folder of its own; the exit code, standard output and standard error."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*args, model=True):
        options = ["--model", str(tiny)] if model else []
        code = 0
        try:
            cli.main([*args, *options])
        except SystemExit as stop:
            code = stop.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_a_prompt_becomes_a_file_named_after_it(run):
    code, out, _ = run("paint", "A red fox!", "--seed", "3")
    assert code == 0 and out.split() == ["a-red-fox-3-0.png"] == os.listdir()
    assert files.carried("a-red-fox-3-0.png").record["request"]["seed"] == 3


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
    assert found["file"] == "x.png" and Request(**found["request"]) == Request(**files.carried("x.png").record["request"])
    assert found["seconds"]["total"] > 0 and os.listdir() == ["x.png"]


def test_a_preview_is_written_at_each_step_and_gone_at_the_end(run, monkeypatch):
    seen, put = [], files.put

    def watch(path, data, **options):
        seen.append(path.name)
        return put(path, data, **options)

    monkeypatch.setattr(files, "put", watch)
    run("paint", "fox", "-o", "x.png", "--preview", "--steps", "3")
    assert seen == ["x.preview.png"] * 3 + ["x.png"] and os.listdir() == ["x.png"]


def test_edit_paints_over_and_with_a_mask_leaves_the_rest(run, picture, mask):
    assert run("edit", str(picture), "fox", "--strength", "0", "-o", "same.png")[0] == 0
    assert Image.open("same.png").tobytes() == Image.open(picture).tobytes()
    assert run("edit", str(picture), "fox", "--mask", str(mask), "-o", "part.png")[0] == 0
    assert files.carried("part.png").record["request"]["recipe"] == "inpaint"


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


def test_models_lists_what_ships(run):
    assert run("models", model=False)[0] == 0


@pytest.mark.parametrize("command", [[], ["paint"], ["edit"], ["replay"], ["inspect"]])
def test_help_shows_examples_of_every_command(run, command):
    code, out, _ = run(*command, "--help", model=False)
    assert code == 0 and (not command or f"danqing {command[0]} " in out.split("Examples")[1])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["pant", "fox"], "paint"), (["paint", "fox", "--stps", "3"], "--steps"), (["paint", "fox", "--steps", "-3"], "1 to 1000"),
        (["paint", "fox", "--steps", "many"], "whole number"), (["paint", "fox", "--scale", "nan"], "scale"),
        (["paint", "fox", "--solver", "eulr"], "euler"), (["paint", "fox", "--width", "33"], "multiples"),
        (["paint", "fox", "--width", "-5"], "8 to 4096"), (["paint", "x" * 100_000], "20000 characters"),
        (["paint", "fox", "--seed", "x"], "seed"),
        (["paint", "fox", "--count", "0"], "count"), (["paint", "fox", "-o", "x.gif"], ".webp"),
        (["paint", "fox", "-o", "{sed}.png"], "seed"),
        (["paint", "fox", "-o", "no/where/x.png"], "no folder"), (["paint", "fox", "--device", "gpu"], "cpu"),
        (["edit", "gone.png", "fox"], "gone.png"), (["replay", "gone.png"], "gone.png"),
        (["paint", "fox", "--interval", "1", "0"], "interval"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_line_with_code_2_and_writes_nothing(run, args, told):
    code, out, err = run(*args, model=args[0] in ("paint", "edit"))
    assert code == 2 and told in err and "Traceback" not in err and out == ""
    assert os.listdir() == []


def test_a_damaged_picture_is_told_and_nothing_written(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = run("edit", str(tmp_path / "x.png"), "fox")
    assert code == 2 and "x.png" in err and os.listdir() == []


def test_an_interrupt_in_mid_sampling_ends_with_130_and_no_file(run, monkeypatch):
    plain = recipes.text2image

    def interrupted(painter, request):
        for state in plain(painter, request):
            if getattr(state, "step", 0) == 2:
                raise KeyboardInterrupt
            yield state

    monkeypatch.setitem(recipes.RECIPES, "text2image", interrupted)
    code, _, err = run("paint", "fox", "-o", "x.png", "--preview")
    assert code == 130 and "interrupted" in err and os.listdir() == []


def test_a_real_interrupt_ends_the_process_with_130_and_leaves_nothing(tiny, tmp_path):
    command = [
        sys.executable,
        "-m",
        "danqing.cli",
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
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(danqing.__file__).parents[1])}
    process = subprocess.Popen(
        [*command, "-o", "x.png"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env=one_thread,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell starts its children deaf to Ctrl-C
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "x.preview.png").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and b"Traceback" not in err
    assert os.listdir(tmp_path) == []
