"""A record names what made its picture and no more: exchanged files are named, the past stays, pictures are found."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput
from danqing.pictures.carried import carried_by
from danqing.pictures.past import KEPT
from danqing.request.request import Request
from danqing.store import settings
from danqing.weights import store


@pytest.fixture
def model(tiny, tmp_path) -> Path:
    """A copy of the tiny model that states no sums of its files, which may be exchanged."""
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    described = json.loads((folder / "model.json").read_text())
    for part in described["components"].values():
        del part["sha256"]
    (folder / "model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The user's folder of models, with a LoRA and a learned word."""
    place = tmp_path / "models"
    for name in ("loras", "embeddings"):
        (place / name).mkdir(parents=True)
    monkeypatch.setenv(settings.MODELS, str(place))
    lora(place / "loras" / "wild.safetensors", 1.0)
    store.write(place / "embeddings" / "mystyle.safetensors", {"emb_params": torch.randn(2, 16)})
    return place


def lora(path: Path, scale: float) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in"
    up, down = torch.ones(16, 1), scale * torch.ones(1, 16)
    store.write(path, {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down})


def paint(model: Path, **options) -> danqing.Picture:
    given = {"prompt": "a fox", "model": str(model), "seed": 1, "steps": 2, "precision": "fp32", **options}
    return danqing.paint(given.pop("prompt"), **given)


def scaled(path: Path) -> None:
    """The weights of a file, a little others."""
    store.write(path, {name: 1.5 * tensor for name, tensor in store.read(path).items()})


@pytest.mark.parametrize("role", ["denoiser", "codec", "text"])
def test_a_replay_names_the_file_of_weights_that_was_exchanged(model, tmp_path, role):
    path = paint(model).save(tmp_path / "fox.png")
    assert danqing.replay(path).exact
    scaled(model / f"{role}.safetensors")
    found = danqing.replay(path, trust=True)
    assert not found.exact and f"weights {role}: " in found.why and "then" in found.why and "now" in found.why


def test_a_replay_names_the_adapter_that_was_exchanged_or_is_gone(model, folder, tmp_path):
    path = paint(model, prompt="a fox <lora:wild:1>").save(tmp_path / "fox.png")
    assert danqing.replay(path).exact
    lora(folder / "loras" / "wild.safetensors", 2.0)
    assert "weights adapter wild.safetensors: " in danqing.replay(path).why
    (folder / "loras" / "wild.safetensors").unlink()
    found = danqing.replay(path)
    assert "weights adapter wild.safetensors: " in found.why and found.why.endswith("None now.")


def test_the_text_of_a1111_names_adapters_as_civitai_reads_them(model, folder, tmp_path):
    path = paint(model, prompt="a fox in mystyle <lora:wild:1>").save(tmp_path / "fox.png")
    file = folder / "loras" / "wild.safetensors"
    whole, tensors = store.sha256(folder / "embeddings" / "mystyle.safetensors"), store.sha256(file, tensors=True)
    text = carried_by(path).parameters or ""
    assert f'Lora hashes: "wild: {tensors[:12]}"' in text and f'TI hashes: "mystyle: {whole[:12]}"' in text
    data = file.read_bytes()
    store.write(file, store.read(file), {"title": "other metadata"})
    assert store.sha256(file, tensors=True) == tensors and file.read_bytes() != data


def test_what_is_finished_alone_keeps_the_prompt_the_seed_and_the_model(model, tmp_path):
    path = paint(model, prompt="a fox in snow").save(tmp_path / "fox.png")
    toned = danqing.touch_up(path, "adjust:exposure=0.1").save(tmp_path / "toned.png")
    twice = danqing.touch_up(toned, "adjust:exposure=0.1").save(tmp_path / "twice.png")
    for each in (toned, twice):
        assert carried_by(each).parameters == carried_by(path).parameters
        assert "a fox in snow" in (carried_by(each).parameters or "")
    past = carried_by(twice).record["record"]["parents"]  # type: ignore[index]
    assert [len(each["sha256"]) for each in past] == [64, 64]


def test_the_past_of_edits_of_edits_is_bounded(model):
    picture, sizes = paint(model), []
    for _ in range(KEPT + 3):
        picture = danqing.edit(picture, "a fox", model=str(model), seed=1, steps=1, precision="fp32")
        sizes.append(len(json.dumps([picture.request.data(), dict(picture.record)])))
    assert len(picture.record["parents"]) == KEPT
    assert sizes[-1] < sizes[KEPT] + 200


def test_a_record_tells_no_folder_of_the_home_and_is_found_from_any(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "here").mkdir()
    Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(tmp_path / "here" / "given.png")
    monkeypatch.chdir(tmp_path / "here")
    edited = danqing.edit("given.png", "a fox", model=str(model), seed=1, steps=2, precision="fp32")
    path = edited.save(tmp_path / "fox.png")
    carried = carried_by(path)
    assert str(tmp_path) not in json.dumps(carried.record) + (carried.parameters or "")
    assert "Model: model," in (carried.parameters or "")
    assert carried.record["request"]["image"] == "~/here/given.png"  # type: ignore[index]
    monkeypatch.chdir("/")
    assert danqing.replay(path).exact


def test_a_given_picture_that_was_moved_is_found_by_its_content(model, picture, tmp_path):
    (tmp_path / "new").mkdir()
    Image.effect_noise((32, 32), 50).save(picture)  # of which no other is known
    edited = danqing.edit(picture, "a fox", model=str(model), seed=1, steps=2, precision="fp32")
    path = edited.save(tmp_path / "new" / "fox.png")
    picture.rename(tmp_path / "new" / "renamed.png")
    assert danqing.replay(path).exact
    Image.new("RGB", (32, 32)).save(tmp_path / "new" / "renamed.png")
    with pytest.raises(InvalidFile, match="there is no file"):
        danqing.replay(path)


def test_a_strangers_record_reads_no_file_outside_the_library_unless_it_is_trusted(model, picture, tmp_path):
    painted = danqing.edit(picture, "a fox", model=str(model), seed=1, steps=2, precision="fp32")
    path = painted.save(tmp_path / "fox.png")
    Image.new("RGB", (32, 32), "red").save(picture)  # not the picture that was given
    with pytest.raises(InvalidInput, match=r"given\.png.*32×32 in 2 steps.*--trust"):
        danqing.replay(path)
    assert not danqing.replay(path, trust=True).exact


def test_words_that_look_like_files_stay_as_they_are(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fox.png").write_bytes(b"")
    path = paint(model, prompt="fox.png", negative="fox.png").save(tmp_path / "a.png")
    request = Request(**carried_by(path).record["request"])  # type: ignore[index]
    assert request.prompt == request.negative == "fox.png"
