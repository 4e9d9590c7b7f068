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
#: Paints by each solver, in one process; prints how each ended.
PAINTS = """
import sys
from danqing.cli import app
for name in ("ralston", "broken", "wrong"):
    code = 0
    try:
        app.main(["paint", "a fox", "--model", sys.argv[1], "--steps", "2", "--threshold-limit", "1", "--solver", name])
    except SystemExit as end:
        code = end.code
    print(name, code)
"""
TOYS = """
from danqing.request.groups import Group
class Blurred(Group, frozen=True):
    blur: int = 0
"""


@pytest.fixture
def run(tmp_path):
    """Runs python beside an installed package of toys: arguments -> what it says."""
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "toys.py").write_text(TOYS)
    (tmp_path / "toys_that_break.py").write_text("raise RuntimeError('no luck today')")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, *arguments]
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=tmp_path)

    return run


def test_what_another_package_brings_is_an_option_and_what_clashes_is_named(run):
    done = run("-m", "danqing", "paint", "--help")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "unipc-3, lcm, pc, ralston, broken, wrong" in said and "--threshold-limit" in said
    clash = "the fields 'mask' of the package toys (toys:Blurred) cannot be used: InvalidInput: 'mask"
    taken = "the solver 'euler' of the package toys (tests.plugins.ralston:ROW) is left out: the name is taken"
    assert clash in done.stderr and taken in done.stderr


def test_a_row_paints_and_one_that_breaks_says_how(run, tiny):
    done = run("-c", PAINTS, str(tiny))
    assert {"ralston 0", "broken 2", "wrong 2"} <= set(done.stdout.splitlines()), done.stderr
    for name, why in (("broken", "RuntimeError: no luck today"), ("wrong", "possible is a danqing.solve.solvers.Row")):
        told = [line for line in done.stderr.splitlines() if f"the solver {name!r} of the package toys" in line]
        assert any(why in line for line in told), done.stderr
