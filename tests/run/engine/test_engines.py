"""An engine is named by whoever asks, the environment or the machine, and a picture's record names it."""

import json
import shutil

import numpy as np
import pytest
import torch

import danqing
from danqing.errors import InvalidInput, UnknownName
from danqing.nets.unet import UNet, UNetConfig
from danqing.painting.load import load
from danqing.pictures import carried
from danqing.run.engine import compiled
from danqing.run.engine.engines import ENGINES, VARIABLE, find_engine
from danqing.weights import store

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(compiled, "BACKEND", "eager")  # which is there at once


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory):
    """The tiny model with a denoiser of one level, whose graphs are made sooner."""
    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("engines") / "small")
    said = json.loads((folder / "model.json").read_text())
    del said["components"]["denoiser"]["sha256"]
    config = said["components"]["denoiser"]["config"]
    config |= {"block_out_channels": [8], "transformer_layers": [1], "attention_heads": [2]}
    torch.manual_seed(0)
    net = UNet(
        UNetConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in config.items()})
    )
    store.write(folder / "denoiser.safetensors", net.state_dict())
    (folder / "model.json").write_text(json.dumps(said))
    return folder


def test_it_is_the_stated_one_then_the_environments_then_the_machines(monkeypatch):
    own = find_engine(CPU)
    assert own == ("torch" if ENGINES["packed"].reason(CPU) else "packed")
    monkeypatch.setenv(VARIABLE, "torch")
    assert find_engine(CPU) == "torch" and find_engine(CPU, "auto") == own
    assert all(find_engine(CPU, name) == name for name, engine in ENGINES.items() if not engine.reason(CPU))


def test_one_that_is_not_there_or_not_for_the_device_is_refused_by_what_would_be(monkeypatch):
    with pytest.raises(UnknownName, match="packed"):
        find_engine(CPU, "paked")
    with pytest.raises(InvalidInput, match="possible here is torch"):
        find_engine(torch.device("cuda"), "packed")
    monkeypatch.setenv(VARIABLE, "nothing")
    with pytest.raises(UnknownName, match=VARIABLE):
        find_engine(CPU)


@pytest.mark.parametrize("name", ENGINES)
def test_a_picture_names_its_engine_and_is_replayed_by_it(name, small, tmp_path):
    if why := ENGINES[name].reason(CPU):
        pytest.skip(why)
    picture = danqing.paint("a fox", model=str(small), seed=3, steps=2, engine=name, device="cpu")
    path = picture.save(tmp_path / "fox.png")
    assert picture.record["engine"] == name == carried.recorded(path).engine
    assert danqing.replay(path, device="cpu").exact


def test_a_loaded_model_paints_by_another_engine_where_a_request_states_one(small):
    painter = load(str(small), "cpu", engine="torch")
    able = [name for name, engine in ENGINES.items() if not engine.reason(CPU)]
    given = {"prompt": "a fox", "seed": 1, "steps": 2, "precision": "fp32", "finish": ()}
    found = {name: painter.paint(danqing.Request(**given, engine=name)) for name in able}
    assert {name: picture.record["engine"] for name, picture in found.items()} == {name: name for name in able}
    pixels = {name: np.asarray(picture.image, dtype=int) for name, picture in found.items()}
    assert all(abs(own - pixels["torch"]).max() <= 1 for own in pixels.values())


def test_what_an_engine_leaves_to_torch_is_in_the_warnings_and_the_picture_is_torchs(small):
    name = "compile"
    if why := ENGINES[name].reason(CPU):
        pytest.skip(why)
    given = {"model": str(small), "seed": 1, "steps": 2, "precision": "fp32", "pag": 3.0, "device": "cpu", "finish": ()}
    own, plain = (danqing.paint("a fox", engine=engine, **given) for engine in (name, "torch"))
    assert abs(np.asarray(own.image, dtype=int) - np.asarray(plain.image, dtype=int)).max() <= 1
    assert any(f"by torch, not by {name}: something looks" in warning for warning in own.warnings)
    assert not any("by torch" in warning for warning in plain.warnings)
