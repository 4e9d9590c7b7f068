"""The measuring of orders is shared with benchmarks/solver_orders.py, which writes docs/solvers.md."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are slowed by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
