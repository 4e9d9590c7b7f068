"""Laws of names: each finds its file, in danqing or in an installed package, or says how to get it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.finish import upscalers
from danqing.finish.records import finishing
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact
from danqing.weights.load import load, save


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that carries the files, and fails whoever imports it."""
    models = tmp_path / upscalers.PACKAGE / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise SystemExit('this was run')")
    for file in upscalers.PACKAGED.values():
        (models / file).write_text("7767517")
    monkeypatch.syspath_prepend(str(tmp_path))
    return models


def test_the_file_of_a_name_lies_in_the_package_which_is_not_run(package: Path):
    for name, file in upscalers.PACKAGED.items():
        assert upscalers.find(name) == package / file
    assert upscalers.PACKAGE not in sys.modules
    assert set(upscalers.PACKAGED) <= set(upscalers.names())


def test_without_the_package_the_command_that_gets_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upscalers, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'danqing\[realesrgan\]'"):
        upscalers.find("realesrgan-x4plus")
    assert not set(upscalers.PACKAGED) & set(upscalers.names())


def test_a_package_without_its_file_is_refused(package: Path):
    (package / upscalers.PACKAGED["realesrgan-x4plus"]).unlink()
    with pytest.raises(InvalidFile, match="install its package again"):
        upscalers.find("realesrgan-x4plus")


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'realesrgan-x4plus'"):
        upscalers.find("realesrgan-x4pluss")


def test_a_record_enlarges_by_the_path_of_a_file(tmp_path: Path):
    torch.manual_seed(0)
    net = SRVGGNetCompact(replace(VIDEO, channels=4, convolutions=1, scale=2))
    path = save(net, tmp_path / "small.safetensors")
    finish = finishing("enlarge", model=str(path), precision="fp32").make(lambda name: load(upscalers.find(name)))
    assert finish(np.zeros((5, 6, 3), np.uint8)).shape == (10, 12, 3)
