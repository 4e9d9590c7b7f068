"""Rows of other packages come by entry points; one that cannot be used is named, and the others work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POINTS = """
[danqing.solver]
ralston = tests.plugins.ralston:ROW
euler = tests.plugins.ralston:ROW
broken = toys_that_break:ROW
wrong = tests.plugins.ralston:Ralston

[danqing.fields]
threshold = tests.plugins.threshold:Threshold
mask = toys:Blurred

[danqing.guidance]
threshold = tests.plugins.threshold:WRAPPER
"""
TOYS = """
from danqing.request.groups import Group
class Blurred(Group, frozen=True):
    blur: int = 0
"""


@pytest.fixture
def run(tmp_path):
    """Runs danqing beside an installed package of toys: arguments -> what it says."""
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "toys.py").write_text(TOYS)
    (tmp_path / "toys_that_break.py").write_text("raise RuntimeError('no luck today')")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "danqing", *arguments]
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=tmp_path)

    return run


def test_what_another_package_brings_is_an_option_and_what_clashes_is_named(run):
    done = run("paint", "--help")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "unipc-3, lcm, pc, ralston, broken, wrong" in said and "--threshold-limit" in said
    clash = "the fields 'mask' of the package toys (toys:Blurred) cannot be used: InvalidInput: 'mask"
    taken = "the solver 'euler' of the package toys (tests.plugins.ralston:ROW) is left out: the name is taken"
    assert clash in done.stderr and taken in done.stderr


def test_a_row_paints_and_one_that_breaks_says_how(run, tiny):
    paint = ("paint", "a fox", "--model", str(tiny), "--steps", "2", "--threshold-limit", "1", "-o", "fox.png")
    assert run(*paint, "--solver", "ralston").returncode == 0
    for name, why in (("broken", "RuntimeError: no luck today"), ("wrong", "possible is a danqing.solve.solvers.Row")):
        done = run(*paint, "--solver", name)
        assert done.returncode == 2 and f"the solver {name!r} of the package toys" in done.stderr and why in done.stderr
