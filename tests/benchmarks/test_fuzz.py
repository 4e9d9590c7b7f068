"""A small share of what `python benchmarks/fuzz.py` draws."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
spec = importlib.util.spec_from_file_location("fuzz", FILE)
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="module")
def home():
    with fuzz.prepared() as home:
        yield home


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_whatever_is_given_is_read_or_refused(home, kind):
    count = 12 if kind in ("model", "command", "address") else 40
    tried = [fuzz.tried(kind, 5, number, home) for number in range(count)]
    assert {what for what, *_ in tried} <= {"read", "refused"}, next(trace for *_, trace in tried if trace)
