"""What every training run shares: where data and runs lie, and how this machine computes fast."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from danqing.learn.training.drive import drive
from danqing.learn.training.winograd import by_winograd
from danqing.run.precision import training_precision
from danqing.teach.usual import adams, averaged, by_muon, fast, grid

__all__ = ["DATA", "RUNS", "adams", "averaged", "by_muon", "drive", "fast", "grid", "quick", "set_up", "threads"]

DATA, RUNS = Path("data"), Path("runs")


def threads() -> int:
    """How many threads a training takes: all cores of an idle machine, one of a loaded one."""
    cores = os.cpu_count() or 1
    loaded = hasattr(os, "getloadavg") and os.getloadavg()[0] > cores / 2
    return 1 if loaded else cores


def quick(net: nn.Module, device: torch.device, compiled: bool = False) -> nn.Module:
    """A convolutional network made to train fast on a device, in place: channels-last, compiled on a GPU and where that
    is asked for, its 3×3 convolutions by Winograd where float32 is the fast precision of a CPU. A copy of it is not
    compiled."""
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if compiled or device.type == "cuda":
        net.compile(dynamic=False)
    if device.type == "cpu" and training_precision(device) == torch.float32:
        by_winograd(net)
    return net


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True
