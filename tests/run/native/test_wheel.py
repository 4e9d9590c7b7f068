"""The package brings the kernels where a compiler built it, and is pure where none did."""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.bridge.app import Application

from danqing.run.native import build

ROOT = Path(__file__).parents[3]
KERNELS = {f"{name}-{instructions}" for name, sets in build.KERNELS.items() for instructions in sets}


@pytest.fixture
def project(tmp_path):
    """A copy of what is built."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "built", "*.npz", "*.mo")
    )
    return tmp_path


@pytest.fixture
def quick(tmp_path):
    """A compiler that compiles nothing, and is done at once."""
    path = tmp_path / "quick"
    path.write_text('#!/bin/sh\nfor last; do :; done\necho > "$last"\n')
    path.chmod(0o755)
    return str(path)


def made(project, compiler):
    """What the wheel holds, and its name."""
    code = "import hatchling.build as b; b.build_wheel('out')"
    subprocess.run([sys.executable, "-c", code], cwd=project, env=os.environ | {"CXX": compiler}, check=True)
    (wheel,) = (project / "out").iterdir()
    return wheel.name, zipfile.ZipFile(wheel).namelist()


def brought(names):
    return {Path(name).name.rpartition("-")[0] for name in names if str(name).endswith(".so")}


@pytest.mark.posix
def test_a_wheel_holds_the_kernels_that_a_compiler_made_and_is_of_its_platform(project, quick, monkeypatch):
    monkeypatch.setenv("CXX", quick)
    try:
        build.compiler()
        expected = KERNELS
    except build.NotBuilt:
        expected = set()  # no platform of the kernels
    name, names = made(project, quick)
    assert brought(names) == expected and name.endswith("-any.whl") == (not expected)
    assert not (project / build.BUILT.relative_to(ROOT)).exists()


def test_without_a_compiler_the_wheel_is_pure_and_brings_the_sources(project):
    name, names = made(project, "no-such-compiler")
    assert name.endswith("-py3-none-any.whl") and not brought(names)
    assert {f"danqing/run/native/kernels/{path.name}" for path in build.SOURCES.iterdir()} <= set(names)


@pytest.mark.posix
def test_an_editable_install_has_them_beside_the_sources_and_none_of_older_ones(project, quick, monkeypatch):
    monkeypatch.setenv("CXX", quick)
    try:
        build.compiler()
        expected = KERNELS
    except build.NotBuilt:
        expected = set()
    built = project / build.BUILT.relative_to(ROOT)
    built.mkdir()
    (built / "winograd-avx2-0123456789abcdef.so").touch()
    monkeypatch.syspath_prepend(str(project))
    hook = importlib.import_module("hatch_build").Kernels
    data = {"force_include": {}}
    hook(str(project), {}, None, None, str(project / "out"), "wheel", Application()).initialize("editable", data)
    assert data == {"force_include": {}} and brought(built.iterdir()) == expected
