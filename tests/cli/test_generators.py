"""Laws of the commands of models that paint without denoising: what is written where, and how it ends."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import danqing
from danqing import installed
from danqing.painting.generators.families import PixelCNNPainter
from danqing.pictures import encode, files
from danqing.pictures.carried import recorded


@pytest.fixture
def run(run):
    """The same in fp32, where a command has a precision."""
    return lambda *args: run(*args, *([] if "replay" in args or "models" in args else ["--precision", "fp32"]))


def test_paint_takes_truncation_and_styles_of_a_second_seed(run, generators):
    command = ("paint", "--model", generators["stylegan2"], "--seed", "7", "--truncation", "0.7")
    assert run(*command)[:2] == (0, "picture-7-0.png\n")
    assert run(*command, "--mix", "9", "--mix-from", "4", "-o", "mixed.png")[:2] == (0, "mixed.png\n")
    request = recorded("mixed.png")
    assert (request.seed, request.generating.truncation, request.generating.mix, request.generating.mix_from) == (
        7,
        0.7,
        9,
        4,
    )
    assert Image.open("mixed.png").tobytes() != Image.open("picture-7-0.png").tobytes()


def test_paint_of_classes_has_a_file_for_each_word(run, generators):
    code, out, _ = run("paint", "food", "植物", "--model", generators["biggan"], "--seed", "1", "--grid")
    assert code == 0 and out.split() == ["food-1-0.png", "植物-1-0.png", "all-grid.png"]


@pytest.mark.parametrize(
    ("command", "family", "name"),
    [(["reconstruct"], "vae", "given-vae.png"), (["translate", "--to", "noto"], "cyclegan", "given-noto.png"),
     (["translate"], "cyclegan", "given-fluent.png")],
)  # fmt: skip
def test_a_given_picture_becomes_a_file_named_after_it_that_replays(run, generators, picture, command, family, name):
    code, out, err = run(*command, str(picture), "--model", generators[family])
    assert code == 0 and out.split() == [name] and "32×32 was fitted to 16×16" in err
    assert run("replay", name)[1].startswith("exact")


def test_interpolate_writes_a_file_for_each_step_of_the_way_and_a_sheet(run, generators, picture, tmp_path):
    Image.open(picture).rotate(90).save(tmp_path / "turned.png")
    code, out, _ = run(
        "interpolate",
        str(picture),
        str(tmp_path / "turned.png"),
        "--count",
        "4",
        "--grid",
        "--model",
        generators["vae"],
    )
    assert code == 0 and out.split() == [*(f"given-turned-{n}.png" for n in range(1, 5)), "all-grid.png"]
    between = [recorded(f"given-turned-{n}.png").interpolation.between for n in range(1, 5)]
    assert between == pytest.approx([0, 1 / 3, 2 / 3, 1]) and Image.open("all-grid.png").size == (32, 32)
    assert run("replay", "given-turned-2.png")[0] == 0


def test_the_model_of_each_command_is_the_one_made_for_it(run, generators, picture, monkeypatch):
    monkeypatch.setattr(installed, "folders", lambda: [Path(generators["vae"]).parent])
    assert run("reconstruct", str(picture))[0] == run("interpolate", str(picture), str(picture), "--count", "1")[0] == 0
    assert run("translate", str(picture))[0] == 0
    assert recorded("given-vae.png").model == "vae" and recorded("given-fluent.png").model == "cyclegan"
    assert danqing.replay("given-given-1.png").exact


def test_models_lists_generators_too(run, generators, monkeypatch):
    monkeypatch.setattr(installed, "folders", lambda: [Path(generators["vae"]).parent])
    found = [json.loads(line) for line in run("models", "--json")[1].splitlines()]
    assert {each["name"] for each in found} == set(generators) and all(len(each["sha256"]) == 64 for each in found)
    assert "stylegan2" in run("models")[1]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["reconstruct", "gone.png"], "gone.png"), (["interpolate", "a.png"], "OTHER"),
        (["interpolate", "a", "b", "--count", "0"], "count"),
        (["translate", "a.png", "--to", ""], "to"), (["reconstruct", "a.png", "-o", "x.gif"], ".webp"),
        (["paint", "--truncation", "3"], "0 to 2"), (["paint", "--mix", "-1"], "mix"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_code_2_and_writes_nothing(run, generators, args, told):
    code, out, err = run(*args, "--model", generators["vae"])
    assert code == 2 and told in err and "Traceback" not in err and out == "" and os.listdir() == []


def test_a_preview_shows_the_rows_so_far_and_an_interrupt_leaves_nothing(run, generators, monkeypatch):
    seen, put, plain = [], files.put, PixelCNNPainter.recipes["text2image"]

    def watch(path, data, **options):
        seen.extend(encode.reread(data))
        return put(path, data, **options)

    def interrupted(painter, request):
        for state in plain.run(painter, request):
            yield state
            if getattr(state, "step", 0) == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(files, "put", watch)
    monkeypatch.setattr(PixelCNNPainter, "recipes", {"text2image": replace(plain, run=interrupted)})
    code, _, err = run("paint", "food", "--model", generators["pixelcnn"], "--preview", "-o", "x.png")
    assert code == 130 and "interrupted" in err and os.listdir() == []
    assert len(seen) == 3 and all(
        seen[i].crop((0, i + 1, 8, 8)).convert("L").getextrema() == (255, 255) for i in range(3)
    )
