"""Laws of the line that `inspect` ends with: who copies it uses the file."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from danqing.adapt.tags import pick
from danqing.store import library
from danqing.weights.store import write

LORA = {"lora_unet_a.lora_up.weight": torch.ones(4, 2), "lora_unet_a.lora_down.weight": torch.ones(2, 4)}
KINDS = {
    "lora": (LORA, "loras", library.loras, "a fox <lora:{}:1>"),
    "embedding": ({"emb_params": torch.ones(2, 768)}, "embeddings", library.embeddings, "a fox, {}"),
}
HOSTILE = "it's $(touch owned); x"


@pytest.fixture
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models of mine"
    folder.mkdir()
    monkeypatch.setenv("DANQING_MODELS", str(folder))
    return folder


@pytest.fixture
def line(run):
    """The last line of inspect, as commands of words."""

    def line(path):
        last = run("inspect", str(path))[1].splitlines()[-1]
        assert last.startswith("use: ")
        return [shlex.split(part) for part in last.removeprefix("use: ").split(" && ")]

    return line


@pytest.mark.parametrize("name", ["ink", HOSTILE])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_prompt_names_is_named_or_first_copied_to_where_it_is_found(line, models, tmp_path, kind, name):
    tensors, _, known, prompt = KINDS[kind]
    path = write(tmp_path / f"{name}.safetensors", tensors)
    *before, paint = line(path)
    assert paint == ["danqing", "paint", prompt.format(name)] and not known()
    for command in before:
        subprocess.run(command, check=True, cwd=tmp_path)
    copied = pick(known(), name, kind)
    assert copied.is_relative_to(models) and line(copied) == [paint] and not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_of_another_program_takes_it_where_that_program_looks(line, models, tmp_path, kind):
    tensors, folder, _, _ = KINDS[kind]
    (models / "models" / "Lora").mkdir(parents=True)
    (models / "models" / folder).mkdir(exist_ok=True)
    *_, copy, _ = line(write(tmp_path / "ink.safetensors", tensors))
    assert Path(copy[-1]).is_dir() and library.PLACES[Path(copy[-1]).name.casefold()] == kind


def test_a_model_a_network_of_one_and_a_picture_are_painted_with_by_their_line(line, run, tiny, models):
    inside = shutil.copytree(tiny, models / "tiny")
    for path, model in ((tiny, str(tiny)), (tiny / "denoiser.safetensors", str(tiny)), (inside, "tiny")):
        assert line(path) == [["danqing", "paint", "a fox", "--model", model]]
        assert run(*line(path)[0][1:], "-o", "x.png", "--force")[0] == 0
    assert line("x.png") == [["danqing", "replay", "x.png"]]
    assert run(*line("x.png")[0][1:])[0] == 0


def test_what_finishes_pictures_and_what_only_translates_say_so(line, generators):
    from danqing.finish import upscalers

    for name, command in (("danqing-x4", "enlarge"), ("danqing-faces", "faces")):
        assert line(upscalers.find(name))[0][1] == command
    assert line(generators["cyclegan"])[0][1] == "translate"


def test_what_nothing_here_uses_has_no_such_line(run, tmp_path):
    path = write(tmp_path / "x.safetensors", {"something": torch.ones(2, 3, 4)})
    assert "use:" not in run("inspect", str(path))[1]
