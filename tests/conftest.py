"""For all tests: small tensors, which one thread computes faster than two that wait for each other."""

import sys

import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked "posix" on Windows."""
    lacking = [item for item in items if sys.platform == "win32" and item.get_closest_marker("posix")]
    config.hook.pytest_deselected(items=lacking)
    items[:] = [item for item in items if item not in lacking]
