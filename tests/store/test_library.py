"""Laws of the folders of models: what lies there is found by every name that people use, and what is broken is told,
not fatal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from danqing import installed
from danqing.cli import app
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.store import library, settings, short
from danqing.store.find import find
from danqing.weights import store
from danqing.weights.store import write

U = "model.diffusion_model."
#: The names and shapes that tell a single file of SD1.x, and no more of it.
SD1 = {
    U + "input_blocks.0.0.weight": (8, 4, 3, 3),
    U + "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
}
LORA = {"lora_unet_a.lora_up.weight": (4, 2), "lora_unet_a.lora_down.weight": (2, 4)}
WORD = {"emb_params": (2, 768)}


def put(path: Path, shapes: dict[str, tuple[int, ...]], *, mark: float = 0.0, **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, {name: torch.full(shape, mark, dtype=torch.float16) for name, shape in shapes.items()}, metadata)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with nothing in it, nothing set and nothing installed."""
    monkeypatch.setattr(installed, "folders", list)
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "LOCALAPPDATA",
        "APPDATA",
        settings.MODELS,
        settings.MIRROR,
    ):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


@pytest.fixture
def models(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of models, which is set."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(settings.MODELS, str(folder))
    return folder


def listed() -> dict[str, library.Listed]:
    return {one.entry.name: one for one in library.listing()}


# ------------------------------------------------------------------------------------------------------------ settings


def test_folders_are_those_of_the_environment_then_of_the_file_then_the_users_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.read().models == (settings.place("data") / "models",) and not settings.read().stated
    file = settings.place("config") / settings.FILE
    file.parent.mkdir(parents=True)
    file.write_text('models = ["~/a", "b"]\nmirror = "https://hub.example.org/"\n')
    assert (
        settings.read().models == (home / "a", file.parent / "b")
        and settings.read().mirror == "https://hub.example.org"
    )
    monkeypatch.setenv(settings.MODELS, os.pathsep.join(("~/c", "/d")))
    monkeypatch.setenv(settings.MIRROR, "https://other.example.org")
    assert settings.read().models == (home / "c", Path("/d")) and settings.read().mirror == "https://other.example.org"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models = [", "TOML|Unexpected|Invalid|Unclosed"),
        ("model = 1", "models"),
        ("models = 'x'", "FOLDER"),
        ("models = [1]", "FOLDER"),
    ],
)
def test_settings_that_are_wrong_are_told_with_their_file(home: Path, text: str, told: str) -> None:
    file = settings.place("config") / settings.FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(InvalidFile, match=told) as error:
        settings.read()
    assert str(file) in str(error.value)


# -------------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize(
    "tree",
    [
        [
            "models/checkpoints/sub/Dream V8.safetensors",
            "models/loras/ink.safetensors",
            "models/embeddings/bad.safetensors",
        ],
        [
            "models/Stable-diffusion/sub/Dream V8.safetensors",
            "models/Lora/ink.safetensors",
            "embeddings/bad.safetensors",
        ],
        ["sub/Dream V8.safetensors", "ink.safetensors", "bad.safetensors"],
    ],
    ids=["ComfyUI", "A1111", "plain"],
)
def test_a_tree_of_any_program_is_understood(models: Path, tree: list[str]) -> None:
    checkpoint, lora, word = (models / path for path in tree)
    put(checkpoint, SD1)
    put(lora, LORA)
    put(word, WORD)
    put(models / "output" / "models.safetensors" if "models" in tree[0] else models / ".hidden" / "x.safetensors", SD1)
    for name in (
        "Dream V8",
        "dream v8",
        "sub/Dream V8",
        r"sub\dream v8.SAFETENSORS",
        tree[0],
        tree[0].removesuffix(".safetensors"),
    ):
        assert library.locate(name) == checkpoint
    assert library.locate("Dream V8.safetensors [0123456789]") == checkpoint
    assert library.loras()["ink"] == lora and library.embeddings()["bad"] == word
    assert set(library.loras()) == {"ink"} and set(library.embeddings()) == {"bad"}
    found = listed()
    assert {name: one.about.kind for name, one in found.items()} == {
        "sub/Dream V8": "model",
        "ink": "lora",
        "bad": "embedding",
    }
    assert found["sub/Dream V8"].about.what == "SD1.x" and found["sub/Dream V8"].about.dtypes == ("F16",)


def test_a_title_whose_hash_is_known_to_be_another_is_not_this_file(models: Path) -> None:
    path = put(models / "a.safetensors", SD1)
    sha = library.digest(path)
    assert library.locate(f"a.safetensors [{sha[:10]}]") == path == library.locate(f"a [{sha[:10].upper()}]")
    with pytest.raises(UnknownName):
        library.locate("a.safetensors [0123456789]")


def test_of_one_name_the_exact_one_the_first_roots_and_the_safetensors_count_and_else_the_paths_are_asked_for(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower, upper = put(models / "x" / "fox.safetensors", SD1), put(models / "y" / "Fox.safetensors", SD1)
    assert library.locate("fox") == lower and library.locate("Fox") == upper
    with pytest.raises(InvalidInput, match="x/fox.*y/Fox"):
        library.locate("FOX")
    torch.save({"a": torch.zeros(2)}, models / "x" / "fox.ckpt")
    assert library.locate("x/fox") == lower and library.locate("fox.ckpt") == models / "x" / "fox.ckpt"
    put(tmp_path / "second" / "x" / "fox.safetensors", SD1)
    monkeypatch.setenv(settings.MODELS, os.pathsep.join((str(models), str(tmp_path / "second"))))
    assert library.locate("x/fox") == lower


def test_an_unknown_name_is_told_with_its_nearest_and_never_with_hundreds(models: Path) -> None:
    for i in range(60):
        (models / f"model-{i:02}.safetensors").touch()
    (models / "watercolour.safetensors").touch()
    with pytest.raises(UnknownName, match="watercolour") as error:
        find("watercolor")
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize("name", short.SHORT)
def test_a_short_name_is_what_was_pulled_by_it_and_before_that_the_command_that_pulls_it(
    models: Path, tiny: Path, name: str
) -> None:
    with pytest.raises(InvalidInput, match=f"`danqing pull {name}`"):
        find(name)
    folder = models / short.SHORT[name].rpartition("/")[2]
    folder.symlink_to(tiny, target_is_directory=True)
    assert find(name).folder == find(name.upper()).folder == folder


def test_a_model_is_found_by_name_wherever_a_model_is_named(models: Path, tiny: Path) -> None:
    (models / "mine").mkdir()
    for file in tiny.iterdir():
        (models / "mine" / file.name).write_bytes(file.read_bytes())
    assert find("mine").folder == models / "mine" == find("MINE").folder
    found = listed()["mine"].about
    assert (found.kind, found.dtypes, found.wrong) == ("model", ("F32",), "")


def test_links_that_lead_in_a_circle_and_folders_that_are_gone_are_passed(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models / "a" / "x.safetensors", SD1)
    (models / "a" / "again").symlink_to(models, target_is_directory=True)
    monkeypatch.setenv(settings.MODELS, os.pathsep.join((str(models), "/nowhere/at/all")))
    assert [entry.name for entry in library.entries()] == ["a/x"]


# ------------------------------------------------------------------------------------------------------------- listing


def test_what_is_broken_is_listed_with_the_reason_and_hides_nothing(models: Path) -> None:
    put(models / "good.safetensors", SD1, **{"modelspec.license": "CC0-1.0"})
    whole = (models / "good.safetensors").read_bytes()
    (models / "cut.safetensors").write_bytes(whole[:-8])
    (models / "page.safetensors").write_bytes(b"<!DOCTYPE html>")
    (models / "pickle.ckpt").write_bytes(b"\x80\x04cos\nsystem\n.")
    (models / "empty.pt").touch()
    (models / "half").mkdir()
    (models / "half" / "model_index.json").write_text("{")
    (models / "loras").mkdir()
    (models / "loras" / "odd.safetensors").write_bytes(b"?")
    found = listed()
    assert found["good"].about.licence == "CC0-1.0" and not found["good"].about.wrong
    for name, told in {
        "cut": "truncated",
        "page": "web page",
        "pickle": "pickle",
        "empty": "empty",
        "half": "model_index.json",
    }.items():
        assert told in found[name].about.wrong
    assert found["odd"].about.wrong and found["odd"].about.kind == "lora"


def test_pieces_of_one_file_are_one_entry_and_the_inside_of_a_models_folder_is_none(models: Path) -> None:
    put(models / "t5" / "model-00001-of-00002.safetensors", {"a": (2,)})
    put(models / "t5" / "model-00002-of-00002.safetensors", {"b": (2,)})
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (models / "t5" / "model.safetensors.index.json").write_text(json.dumps(index))
    put(models / "whole" / "unet" / "diffusion_pytorch_model.safetensors", SD1)
    (models / "whole" / "model_index.json").write_text("{}")
    (models / "whole" / "README.md").write_text("---\nlicense: openrail\n---\n# whole\n")
    assert [entry.name for entry in library.entries()] == ["t5/model", "whole"]


def test_headers_and_hashes_are_read_once_and_again_when_a_file_changes(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(models / "a.safetensors", SD1)
    first = library.digest(path)
    assert first == store.sha256(path) and listed()["a"].sha256 == first
    reads: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(library, "identify", lambda path: reads.append(path) or pytest.fail("read again"))
        patch.setattr(store, "sha256", lambda path: reads.append(path) or "0" * 64)
        assert listed()["a"].about.what == "SD1.x" and library.digest(path) == first and reads == []
    put(path, LORA, mark=1.0)
    os.utime(path, ns=(1, 1))
    assert library.digest(path) == store.sha256(path) != first and library.about(path).kind == "lora"


def test_a_memory_that_is_damaged_or_cannot_be_written_costs_nothing(models: Path) -> None:
    path = put(models / "a.safetensors", SD1)
    place = settings.place("cache") / "library.json"
    for text in ("{", "[]", '{"danqing": 1, "files": {"x": 3}}', '{"files": []}'):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        assert library.digest(path) == store.sha256(path)
    place.unlink()
    place.parent.rmdir()
    place.parent.write_text("in the way")
    assert library.digest(path) == store.sha256(path) and "a" in listed()


def test_hundreds_of_files_are_listed_without_reading_them_and_without_torch(models: Path, home: Path) -> None:
    template = put(models / "m000.safetensors", {**SD1, **{f"t{i}": (1,) for i in range(20)}}).read_bytes()
    for i in range(1, 300):
        (models / f"m{i:03}.safetensors").write_bytes(template)
    code = "import sys; from danqing.cli.app import main; main(['models', '--json']); assert 'torch' not in sys.modules"
    root = str(Path(library.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(line["what"] == "SD1.x" for line in lines) == 300
    began = time.process_time()
    assert len(listed()) == 300
    assert time.process_time() - began < 1.0  # they were remembered


def test_the_command_lists_what_is_installed_and_what_is_there(
    models: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "folders", lambda: [tiny.parent])
    path = put(models / "checkpoints" / "fox.safetensors", SD1)
    put(models / "loras" / "ink.safetensors", LORA)
    (models / "loras" / "bad.safetensors").touch()
    app.main(["models", "--hash"])
    out = capsys.readouterr().out
    assert out.startswith("tiny") and out.count("tiny") == 1
    assert out.index("model:") < out.index("fox") < out.index("lora:") < out.index("broken: ")
    line = next(line for line in out.splitlines() if "fox" in line)
    assert all(part in line for part in ("SD1.x", "fp16", f"[{store.sha256(path)[:10]}]"))
    app.main(["models", "--json"])
    found = {one["name"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["fox"]["sha256"] == store.sha256(path) and found["bad"]["wrong"] and found["ink"]["kind"] == "lora"


def test_a_learned_word_is_found_by_its_files_name_and_by_the_name_in_it(models: Path) -> None:
    for n, name in enumerate(("<sks>", "<wool>")):
        put(models / "embeddings" / str(n) / "learned_embeds.safetensors", {name: (1, 768)})
    saved = {"string_to_param": {"*": torch.zeros(1, 768)}, "string_to_token": {"*": 265}, "name": "felt"}
    torch.save(saved, models / "embeddings" / "old.pt")
    put(models / "embeddings" / "plain.safetensors", WORD)
    found = library.embeddings()
    own = {name: path for name, path in found.items() if path.is_relative_to(models) and "/" not in name}
    assert own.keys() == {"learned_embeds", "<sks>", "<wool>", "old", "felt", "plain"}
    assert own["<wool>"].parent.name == "1" and own["felt"].name == "old.pt"


def test_what_lies_beside_files_by_names_with_a_dot_is_none_of_them(models: Path) -> None:
    put(models / "a.safetensors", SD1)
    for name in ("._a.safetensors", "._b.safetensors.index.json"):
        (models / name).write_bytes(b"\x00\x05\x16\x07")
    assert listed().keys() == {"a"}


HOSTILE = {
    "deep": "[" * 100_000,
    "deep-value": '{"danqing": 1, "trained": {"a": ' + "[" * 300 + "]" * 300 + "}}",
    "self": '{"danqing": 1, "self": 1, "name": "x", "components": {"denoiser": {"family": "unet", "file": "x"}}}',
    "self-part": '{"danqing": 1, "name": "x", "components": {"denoiser": {"self": 1}}}',
    "nul": '{"danqing": 1, "name": "a\\u0000b", "components": {"denoiser": {"family": "unet", "file": "a\\u0000b"}}}',
    "long": f'{{"danqing": 1, "name": "x", "components": {{"denoiser": {{"family": "u", "file": "{"x" * 5000}"}}}}}}',
    "digits": f'{{"danqing": 1, "multiple": {"9" * 400}, "name": "x", "components": {{}}}}',
    "infinite": '{"danqing": 1, "schedule": {"shift": 1e999}, "name": "x", "components": {}}',
    "surrogate": '{"danqing": 1, "name": "\\ud800", "components": {"denoiser": {"family": "x", "file": "\\ud800"}}}',
    "list": '{"danqing": 1, "name": "x", "components": []}',
    "text": "nothing",
    "bytes": "\udcff\udcfe",
}


def test_no_description_and_no_name_of_a_file_ends_the_list(home: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv(settings.MODELS, str(home))
    for name, text in HOSTILE.items():
        (home / name).mkdir()
        (home / name / "model.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    put(home / "loras" / "good.safetensors", LORA)
    os.rename(put(home / "loras" / "x.safetensors", LORA), os.fsencode(home / "loras") + b"/\xd5\xd5.safetensors")
    for form in ([], ["--json"], ["--json"]):  # the second time from what is remembered
        app.main(["models", *form])
        out = capsys.readouterr().out
        assert "good" in out and all(name in out for name in HOSTILE)
        if form:
            found = {one["name"]: one for one in map(json.loads, out.splitlines())}
            assert all(found[name]["wrong"] for name in HOSTILE) and not found["good"]["wrong"]
            assert not found["\udcd5\udcd5"]["wrong"]


def test_a_broken_model_of_a_package_is_listed_as_broken(home: Path, monkeypatch, capsys) -> None:
    (home / "brought").mkdir()
    (home / "brought" / "model.json").write_text("[" * 100_000)
    monkeypatch.setattr(installed, "folders", lambda: [home])
    app.main(["models", "--json"])
    (found,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert found["name"] == "brought" and "deep" in found["wrong"]
