"""The examples run as they stand: on a tiny model, with few steps, in a folder of their own."""

import ast
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import danqing
from danqing.weights import store

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(tmp_path, monkeypatch, capsys):
    """Run an example in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *args: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_paint(example, tiny):
    told = example("paint.py", "a red fox", "--model", tiny, "--out", "x.png")
    assert "32 × 32, 3 steps" in told and "exact" in told


def test_steps(example, tiny):
    assert example("steps.py", "--model", tiny, "--steps", 3).count("step ") == 3
    assert Image.open("steps.png").size == (4 * 32, 32)


def test_grid(example, tiny):
    told = example("grid.py", "--model", tiny, "--scales", 1, 2, 3, "--steps", 1, 2)
    assert len(told.splitlines()) == 6 and Image.open("grid.png").size == (2 * 32, 3 * 32)


def test_edit(example, tiny, picture):
    told = example("edit.py", picture, "--model", tiny, "--steps", 2)
    assert "changed: (0, 0, 32, 16)" in told and danqing.replay("edited.png").exact


def test_checkpoint(example, tiny, generators):
    told = example("checkpoint.py", tiny, "a castle", "--beside", generators["vae"], "--steps", 1)
    assert [line.split()[:2] for line in told.splitlines()] == [["mine.png", "tiny"], ["beside.png", "vae"]]
    Path("broken.safetensors").write_bytes(b"x")
    with pytest.raises(SystemExit, match=r"broken\.safetensors cannot be read"):
        example("checkpoint.py", "broken.safetensors")


def test_lora(example, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path))
    (tmp_path / "loras").mkdir()
    name, weight = next(
        pair for pair in store.each(tiny / "denoiser.safetensors") if pair[0].endswith("ff.net.2.weight")
    )
    stem = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
    ends = {"lora_down": (2, weight.shape[1]), "lora_up": (weight.shape[0], 2)}
    store.write(
        tmp_path / "loras" / "ink.safetensors", {f"{stem}.{end}.weight": torch.ones(n) for end, n in ends.items()}
    )
    example("lora.py", "ink", "--model", tiny, "--strengths", 0, 1, "--steps", 2)
    assert Image.open("ink-0.0.png").tobytes() != Image.open("ink-1.0.png").tobytes()


def test_train_vae(run, picture):
    """The experiment trains, exports, and what it exports paints."""
    settings = [f"pictures={picture.parent}", "batch=1", "steps=2"]
    settings += ["net.image_size=16", "net.latent_dim=6", "net.widths=[4,8]", "net.norm_num_groups=2"]
    learn = ["learn", str(EXAMPLES / "train_vae.py"), "--out", "run", *(w for s in settings for w in ("--set", s))]
    for command in (learn, [*learn, "--export", "mine"], ["paint", "--model", "./mine", "-o", "x.png"]):
        code, _, err = run(*command)
        assert code == 0, err
    assert Image.open("x.png").size == (16, 16)


def test_carried(example, tiny, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(2):
        danqing.paint("a fox", model=str(tiny), seed=n).save(tmp_path / "in" / f"{n}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "plain.jpg")
    (tmp_path / "in" / "broken.webp").write_bytes(b"RIFF")
    told = {line[8:]: int(line[:6]) for line in example("carried.py", tmp_path / "in").splitlines()}
    assert told == {f"{tiny}, euler": 2, "nothing": 1, "cannot be read": 1}


def test_every_example_has_its_test_and_its_line():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    tests = {f.name for f in ast.parse(Path(__file__).read_text("utf-8")).body if isinstance(f, ast.FunctionDef)}
    assert {f"test_{name}" for name in scripts} <= tests
    assert all(f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text("utf-8") for name in scripts)
