"""The law of resuming, with real processes and real kills: whatever happens, the weights are those of an unbroken
run."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.posix
HERE = Path(__file__).parent
TINY = str(HERE / "tiny.py")
PLACES = ("objective 3", "optimiser 4", "saving 1", "saving 5", "renaming 3")


def launch(groups: Sequence[Sequence[list[str]]]) -> tuple[list[list[int]], str]:
    """How the processes ended, and what they said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    ended = subprocess.run(
        [sys.executable, str(HERE / "launch.py"), json.dumps(groups)], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1]), ended.stderr


def learn(out: Path, *changes: str) -> list[str]:
    return ["learn", TINY, "--out", str(out), *(word for change in changes for word in ("--set", change))]


def leaves(value: Any) -> list[Any]:
    """All tensors and plain values of a checkpoint, in order."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key])]
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list | tuple) else [value]


def same(first: Path, second: Path) -> bool:
    """Whether two runs have the same weights, averages, moments and step, bit for bit."""
    a, b = (leaves(torch.load(folder / "last.pt", weights_only=True)) for folder in (first, second))
    return len(a) == len(b) and all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, dict[str, list[int]], str]:
    """All runs of this file, one after the other, by name: how their processes ended."""
    folder = tmp_path_factory.mktemp("runs")
    jobs = {"whole": [learn(folder / "whole")]}
    for place in PLACES:
        jobs[f"killed at {place}"] = [learn(folder / place, f"kill={place}")]
        jobs[f"resumed from {place}"] = [learn(folder / place)]
    jobs["accumulating"] = [learn(folder / "accumulating", "accumulate=2")]
    jobs["pair"] = [learn(folder / "pair")] * 2
    jobs["pair killed"] = [learn(folder / "broken pair", "kill=optimiser 3")] * 2
    jobs["pair resumed"] = [learn(folder / "broken pair")] * 2
    jobs["half of it"] = [learn(folder / "handed over", "steps=4")] * 2
    jobs["the rest"] = [learn(folder / "handed over", "accumulate=2")]
    jobs["refused"] = [learn(folder / "handed over", "steps=12")]
    codes, said = launch(list(jobs.values()))
    return folder, dict(zip(jobs, codes, strict=True)), said


@pytest.mark.parametrize("place", PLACES)
def test_a_run_killed_anywhere_resumes_to_the_weights_of_an_unbroken_one(runs, place):
    folder, codes, _ = runs
    assert codes["whole"] == [0] and codes[f"killed at {place}"] == [-9] and codes[f"resumed from {place}"] == [0]
    assert same(folder / "whole", folder / place)


@pytest.mark.parametrize("name", ["pair", "handed over"])
def test_two_processes_are_one_that_accumulates_two_batches(runs, name):
    folder, codes, said = runs
    assert codes["accumulating"] == codes["the rest"] == [0] and codes["pair"] == codes["half of it"] == [0, 0], said
    one, two = (torch.load(folder / run / "last.pt", weights_only=True) for run in ("accumulating", name))
    assert one["step"] == two["step"] == 8
    for kind in (lambda state: state["model"], lambda state: state["ema"]["model"]):
        for mine, theirs in zip(kind(two).values(), kind(one).values(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_the_log_of_two_processes_is_that_of_one(runs):
    folder, _, _ = runs
    logs = [
        [json.loads(line) for line in (folder / n / "log.jsonl").read_text().splitlines()]
        for n in ("accumulating", "pair")
    ]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]] == list(range(1, 9))
    assert [row["loss"] for row in logs[0]] == pytest.approx([row["loss"] for row in logs[1]], abs=2e-5)


def test_two_processes_killed_and_resumed_end_as_two_unbroken_ones(runs):
    folder, codes, _ = runs
    assert codes["pair killed"] == [-9, -9] and codes["pair resumed"] == [0, 0]
    assert same(folder / "pair", folder / "broken pair")


def test_a_checkpoint_is_refused_where_a_step_sees_another_number_of_batches(runs):
    _, codes, said = runs
    assert codes["refused"] == [2] and "batches a step was 2 and is 1" in said
