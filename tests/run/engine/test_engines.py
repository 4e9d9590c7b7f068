"""An engine is named by whoever asks, the environment or the machine, and a picture's record names it."""

import pytest
import torch

import danqing
from danqing.errors import InvalidInput, UnknownName
from danqing.painting.load import load
from danqing.pictures import carried
from danqing.run.engine.engines import ENGINES, VARIABLE, find_engine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


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
def test_a_picture_names_its_engine_and_is_replayed_by_it(name, tiny, tmp_path):
    if why := ENGINES[name].reason(CPU):
        pytest.skip(why)
    picture = danqing.paint("a fox", model=str(tiny), seed=3, steps=2, engine=name, device="cpu")
    path = picture.save(tmp_path / "fox.png")
    assert picture.record["engine"] == name == carried.recorded(path).engine
    assert danqing.replay(path, device="cpu").exact


def test_a_loaded_model_paints_by_another_engine_where_a_request_states_one(tiny):
    painter = load(str(tiny), "cpu", engine="torch")
    found = {name: painter.paint(danqing.Request(prompt="a fox", seed=1, steps=2, engine=name)) for name in ENGINES}
    assert {name: picture.record["engine"] for name, picture in found.items()} == {name: name for name in ENGINES}
