"""Laws of the packages that bring models: small enough for the index, found without being imported, and asked for by
name where they are missing."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from danqing import installed
from danqing.errors import InvalidInput, UnknownName
from danqing.finish import upscalers
from danqing.measure import features
from danqing.store import library, shipped
from danqing.store.find import find

ROOT = Path(__file__).parents[2]
PACKAGES = sorted((ROOT / "zoo").iterdir())


@pytest.fixture
def third(tmp_path, monkeypatch):
    """The folder of a stranger's package, on the path that Python searches."""
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "none"))
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / installed.NAMESPACE
    folder.mkdir()
    return folder


def test_the_wheel_of_the_code_holds_no_weights_and_is_at_most_3_megabytes(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    env = os.environ | {"CXX": "none"}  # kernels are a few kilobytes each, and take their time
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=env)
    (wheel,) = tmp_path.iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size <= 3e6
    assert "danqing/py.typed" in names and not [name for name in names if name.endswith(".safetensors")]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_of_weights_is_smaller_than_the_index_takes_and_brings_what_is_said(package):
    """A wheel is no larger than its files."""
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 100e6
    name = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    brought = package / installed.NAMESPACE
    assert installed.BRINGS[name] == tuple(sorted(path.name for path in brought.iterdir()))
    assert not list(package.rglob("*.py")) and all((folder / "CARD.md").is_file() for folder in brought.iterdir())
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_a_model_of_any_package_is_found_like_ours_and_like_the_users_own(third, generator):
    generator(third / "mine", "vae")
    (third / "loras").mkdir()
    (third / "loras" / "ink.safetensors").touch()
    assert find("mine").folder == third / "mine" == library.locate("MINE")
    assert "mine" in shipped.names() and library.loras()["ink"] == third / "loras" / "ink.safetensors"
    assert installed.NAMESPACE not in sys.modules


def test_of_one_name_the_package_that_python_finds_first_counts(third, generator):
    before = find("vae").folder
    generator(third / "vae", "vae")
    assert find("vae").folder == third / "vae" != before


def test_what_is_not_installed_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(installed, "folders", list)
    for ask in (find, library.locate):
        with pytest.raises(
            InvalidInput, match=r"danqing-mini, .*`pip install danqing-mini`, .*`pip install ./zoo/mini`"
        ):
            ask(shipped.DEFAULT)
    with pytest.raises(InvalidInput, match="pip install danqing-families"):
        features.load()
    with pytest.raises(InvalidInput, match="pip install danqing-mini"):
        upscalers.find("danqing-x4")
    assert not set(upscalers.OURS) & set(upscalers.names())
    with pytest.raises(UnknownName):
        find("danqing-minni")
