"""Laws of ``danqing learn folder``: any folder of pictures becomes a model that paints at once, a stopped run ends as
an unbroken one, and what cannot be learned is refused in a sentence."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from danqing.cli import app
from danqing.cli.learn import training
from danqing.learn.training import drive
from danqing.store.find import find
from danqing.teach.own import Own
from danqing.teach.table import TRAINABLE

#: The size of a network that is trained in a moment.
TINY = ["size=8", "width=16", "batch=4", "log-every=1"]
SMALLER = {"pixelcnn": ["colours=8", "depth=1"]}
CLASSED = {"ddpm", "biggan", "pixelcnn"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Every command begins in an empty folder; curves take most of the time of so short a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drive, "curve", lambda folder: None)
    return tmp_path


@pytest.fixture
def zoo(home):
    """Nine red foxes and nine blue snow owls, 12 x 9 px and noisy."""
    draw = np.random.default_rng(0)
    for i in range(18):
        file = home / "zoo" / ("fox", "snow_owl")[i % 2] / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = draw.integers(0, 60, (9, 12, 3), dtype=np.uint8)
        noise[..., i % 2 * 2] += 190
        Image.fromarray(noise).save(file)
    return home / "zoo"


def danqing(capsys, *args: object) -> tuple[int, str, str]:
    code = 0
    try:
        app.main(list(map(str, args)))
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capsys.readouterr()


def learned(capsys, family: str, *changes: str, out: str = "run", folder: str = "zoo") -> tuple[int, str, str]:
    said = [word for change in (*TINY, *SMALLER.get(family, ()), *changes) for word in ("--set", change)]
    return danqing(capsys, "learn", "folder", folder, "--family", family, "--out", out, *said)


@pytest.mark.parametrize("family", TRAINABLE)
def test_every_family_learns_a_folder_and_its_model_does_what_the_last_lines_say(family, zoo, capsys):
    code, out, err = learned(capsys, family, "steps=2", "sample_every=1")
    assert (code, err) == (0, "") and "zoo: 18 pictures of 2 classes" in out
    assert {"samples-000001.png", "samples-000002.png", "before-and-after.png"} <= {
        p.name for p in Path("run").iterdir()
    }
    lines = [line for line in out.splitlines() if line.startswith("danqing ")]
    assert len(lines) == len(TRAINABLE[family].uses)
    for n, line in enumerate(lines):
        Path(f"out{n}").mkdir()
        code, _, err = danqing(capsys, *shlex.split(line)[1:], "-o", f"out{n}")
        painted = [Image.open(file) for file in Path(f"out{n}").glob("*.png")]
        assert code == 0 and painted and {picture.size for picture in painted} == {(8, 8)}, err
    model, card = find(Path("run/model")), Path("run/model/CARD.md").read_text("utf-8")
    assert model.name == f"zoo-{family}" and model.trained["steps"] == 2 and model.trained["pictures"] == 8
    assert 'pictures | 18, of the folder "zoo"' in card and "| steps | 2 |" in card and "| core-hours |" in card
    written = card + Path("run/model/model.json").read_text("utf-8")
    assert str(zoo.parent) not in written  # whose place is nobody else's business
    named = {"kind": "classes", "names": [["fox"], ["snow_owl", "snow owl"]]} if family in CLASSED else {}
    assert model.text == named


@pytest.mark.parametrize("family", TRAINABLE)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_an_unbroken_one(family, zoo, capsys):
    for out, steps in (("whole", 3), ("broken", 1), ("broken", 3)):
        assert learned(capsys, family, f"steps={steps}", out=out)[0] == 0
    whole, broken = (torch.load(Path(out) / "last.pt", weights_only=True) for out in ("whole", "broken"))
    assert whole["step"] == broken["step"] == 3
    for part in (lambda state: state["model"], lambda state: state["ema"]["model"]):
        assert all(torch.equal(value, part(broken)[name]) for name, value in part(whole).items())
    weights = {file.read_bytes() for out in ("whole", "broken") for file in Path(out, "model").glob("*.safetensors")}
    assert len(weights) == 1


def test_before_is_what_an_untrained_network_paints_and_after_what_it_paints_by_now(zoo, capsys):
    assert learned(capsys, "vae", "steps=1", "rate=0.5", out="a")[0] == 0
    assert learned(capsys, "vae", "steps=4", "rate=0.5", out="b")[0] == 0
    one, four = (
        np.asarray(Image.open(Path(run) / "before-and-after.png"))[40:] for run in ("a", "b")
    )  # below the words
    half = one.shape[1] // 2
    assert np.array_equal(one[:, :half], four[:, :half]) and not np.array_equal(one[:, half:], four[:, half:])


def test_what_a_run_holds_is_exported_without_training(zoo, capsys):
    code, _, err = danqing(capsys, "learn", "folder", "zoo", "--export", "mine")
    assert code == 2 and "`danqing learn folder zoo --family vae --out runs/zoo-vae` trains one" in err
    assert learned(capsys, "vae", "steps=1")[0] == 0
    more = [word for change in TINY for word in ("--set", change)]
    code, out, _ = danqing(capsys, "learn", "folder", "zoo", "--out", "run", *more, "--export", "mine")
    assert code == 0 and "danqing paint --model mine" in out and find(Path("./mine").resolve()).trained["steps"] == 1


def test_pictures_without_sub_folders_are_one_class_of_the_folders_name(zoo, capsys):
    assert learned(capsys, "biggan", "steps=1", folder="zoo/fox")[0] == 2  # nine are too few
    own = Own.load(zoo / "fox", 8, family="ddpm", least=8)
    assert own.names == ("fox",) and not own.labels.any() and own.pictures.shape == (9, 3, 8, 8)


def test_what_is_broken_or_too_small_is_named_and_left_out_and_a_changed_folder_is_another_run(zoo, capsys):
    (zoo / "page.png").write_text("<html>")
    Image.new("RGB", (5, 40)).save(zoo / "thin.webp")
    (zoo / "note.txt").write_text("no picture")
    code, out, _ = learned(capsys, "vae", "steps=1")
    assert code == 0 and "left out: zoo/page.png: no picture" in out and "zoo/thin.webp: 5×40 is smaller than 8" in out
    Image.new("RGB", (8, 8)).save(zoo / "new.png")
    code, _, err = learned(capsys, "vae", "steps=2")
    assert code == 2 and "pictures was '18 of zoo (" in err and "and is '19 of zoo (" in err and "another folder" in err


def test_a_folder_that_holds_another_run_is_left_alone_and_what_differs_is_said(zoo, capsys):
    assert learned(capsys, "vae", "steps=1")[0] == 0
    kept = Path("run/last.pt").read_bytes()
    code, _, err = learned(capsys, "vae", "steps=2", "latent=8", "batch=2")
    assert code == 2 and "batch was 4 and is 2; latent was 64 and is 8)" in err
    code, _, err = learned(capsys, "stylegan2", "steps=2")
    assert code == 2 and "family was 'vae' and is 'stylegan2'" in err
    assert Path("run/last.pt").read_bytes() == kept


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("gone",), "gone is not there: name a folder"),
        (("plain/a.md",), "is a file: name a folder"),
        (("plain",), "holds no picture, but 2 .txt, 1 .md; read are PNG, JPEG"),
        (("zoo/fox", "--family", "stylegan2"), "holds 9 pictures that can be learned, and stylegan2 needs 16"),
        (("zoo", "--family", "vea"), "unknown family 'vea'. Did you mean 'vae'"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_torch_loads(args, told, zoo):
    Path("plain").mkdir()
    for name in ("a.md", "b.txt", "c.txt"):
        Path("plain", name).touch()
    code = (
        "import sys\nfrom danqing.cli.app import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        "    assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, "learn", "folder", *args], capture_output=True, text=True)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["size=20"], "8, 16, 32, 64, 128 or 256"),
        (["wdith=8"], "Did you mean 'width'"),
        (["size=32"], "vae needs 4 at least: add some; left out: zoo/fox/00.png: 12×9 is smaller than 32"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, told, zoo, capsys):
    code, _, err = learned(capsys, "vae", *changes)
    assert code == 2 and told in err and err.count("left out") <= 4 and not Path("run").exists()


def test_settings_are_listed_as_they_are_changed_whatever_lies_in_the_folder(capsys):
    code, out, _ = danqing(capsys, "learn", "folder", "photos", "--family", "ddpm", "--settings", "--set", "width=64")
    assert code == 0 and {"width=64", "folder=photos", "drop=0.1"} <= set(out.splitlines())


def test_missing_libraries_are_named_before_anything_is_read(zoo, capsys, monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    code, _, err = danqing(capsys, "learn", "folder", "zoo")
    assert code == 2 and "pip install 'danqing[train]'" in err and not Path("runs").exists()


def test_a_python_file_in_a_commands_place_is_run_and_help_lists_the_families(capsys):
    tiny = Path(__file__).parents[1] / "learn" / "training" / "tiny.py"
    listed = [danqing(capsys, "learn", *words, "--settings") for words in ((tiny,), ("run", tiny))]
    assert listed[0] == listed[1] and listed[0][0] == 0 and "batch=4" in listed[0][1]
    assert danqing(capsys, "learn", "--settings", tiny) == listed[0]
    code, _, err = danqing(capsys, "learn", "foldr", "x")
    assert code == 2 and "Did you mean 'folder'" in err
    code, out, _ = danqing(capsys, "learn", "folder", "--help")
    assert code == 0 and all(name in out for name in TRAINABLE)


@pytest.mark.parametrize("name", ["ddpm", "stylegan2", "faces"])
def test_an_experiment_without_its_art_says_how_it_is_made(name, capsys):
    file = Path(__file__).parents[2] / "experiments" / f"{name}.py"
    code, _, err = danqing(capsys, "learn", file, "--out", "run")
    assert code == 2 and "`python -m experiments.data --out data` makes the art" in err
