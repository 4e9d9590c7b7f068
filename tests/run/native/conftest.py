"""For the tests of the kernels: the kernels that run here, each also compiled for lesser instruction sets."""

import pytest
import torch


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture
def threads():
    """Sets torch's number of threads, for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
