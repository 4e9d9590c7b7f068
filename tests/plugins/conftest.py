"""What the tests of rows share: help as it is now, and the measuring of solvers in benchmarks/."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from danqing.cli.app import danqing

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def help_of() -> Callable[[str], str]:
    """The help of a command, on one line."""
    return lambda command: " ".join(CliRunner().invoke(danqing, [command, "--help"]).output.split())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
