"""Several processes that train one model: each takes its own batches, and all take the mean of their gradients.

torchrun starts them and says to each which one it is; ``together`` lets them meet. Every function here is neutral where
one process is alone, so the loop calls them always.

The gradients are averaged once a step, after the last backward pass: g <- (1/n) sum_i g_i. torch's own
DistributedDataParallel averages inside the backward pass of one ``forward``; objectives call other methods of a model,
pass backward once for each of two optimisers, and let one of them rest, which it refuses. Source: Li et al. 2020,
"PyTorch Distributed".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

#: How many numbers travel at once: a message for each small tensor would cost its latency each time.
BUCKET = 1 << 24


@contextmanager
def together() -> Iterator[None]:
    """Meet the processes that torchrun started beside this one, and part at the end; without torchrun nothing happens.

    On CUDA each process gets the device of its local rank as the current one.
    """
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes train this model, at least 1."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, in [0, count)."""
    return dist.get_rank() if count() > 1 else 0


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Give each parameter the mean gradient of all processes; one that a process has no gradient for counts as zero
    there."""
    if count() == 1:
        return
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    dist.all_reduce(there, dist.ReduceOp.MAX)
    gradients = []
    for p, somewhere in zip(parameters, there.tolist(), strict=True):
        if somewhere:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            gradients.append(p.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([g.reshape(-1) for g in bucket])  # (sum of sizes,)
        dist.all_reduce(flat)
        _scatter(flat.div_(count()), bucket)


def broadcast_(tensors: Sequence[Tensor]) -> None:
    """Give every process the numbers of the first."""
    if count() == 1:
        return
    for bucket in _buckets(tensors):
        flat = torch.cat([t.detach().reshape(-1) for t in bucket])
        dist.broadcast(flat, 0)
        _scatter(flat, bucket)


def mean(values: Sequence[float]) -> list[float]:
    """The mean of each number over all processes."""
    if count() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return (total / count()).tolist()


def most(value: int) -> int:
    """The largest of the processes' numbers."""
    if count() == 1:
        return value
    largest = torch.tensor([value])
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in groups of one kind and of a bounded size, in an order that is the same in every process."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        bucket = kinds.setdefault((tensor.dtype, tensor.device), [])
        bucket.append(tensor)
        if sum(t.numel() for t in bucket) >= BUCKET:
            yield kinds.pop((tensor.dtype, tensor.device))
    yield from kinds.values()


@torch.no_grad()
def _scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
