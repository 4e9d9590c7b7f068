"""What it takes to keep a face by adapters of a kind: a record, `Way`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....finish.align import Array
from ....identity import analysis
from ....installed import path as shipped
from ....nets.ip_adapter import IPAdapter, IPAdapterConfig
from ....nets.unet import CrossAttention
from ....request.kept_face import KeptFace
from ..attachment import Warn


class Given(NamedTuple):
    """What a face is completed for: the adapter that is stated, "" for none, with its shape; the model's network and
    name."""

    file: str
    config: IPAdapterConfig
    net: nn.Module
    model: str


class Read(NamedTuple):
    """What was read of a face.

    Args:
        tokens: those of no face, then its own, (2, N, D).
        points: (5, 2), and the size of the picture in which they lie.
        files: by which.
        added: (a text's summary (B, P)) -> what the face adds to it, for networks that draft from it.
        draft: (the picture's latent (1, C, S, S), a text's summary (1, P)) -> the draft that is painted about, like the
            latent; None where there is none of its own.
    """

    tokens: Tensor
    points: Array
    size: tuple[int, int]
    files: tuple[Path, ...]
    added: Callable[[Tensor], Tensor] = torch.zeros_like
    draft: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class Way:
    """How adapters of some kinds keep a face.

    Args:
        kinds: of adapters.
        completed: (a face, what it is for, where what is missing is said) -> the face with all it needs named.
        read: (the adapter, a face, its name for messages, warn) -> what is read of the face.
        branch: (a name, keys and values of the tokens, the attention, a face, the adapter's kind) -> what is put on.
    """

    kinds: tuple[str, ...]
    completed: Callable[[KeptFace, Given, list[str]], KeptFace]
    read: Callable[[IPAdapter, KeptFace, str, Warn], Read]
    branch: Callable[[str, Tensor, Tensor, CrossAttention, KeptFace, str], nn.Module]


def files(given: Iterable[Path]) -> tuple[Path, ...]:
    """Files, and those of the networks that find faces, each once."""
    ours = (path for each in analysis.FILES if (path := shipped(analysis.FOLDER, each)) is not None)
    return tuple(dict.fromkeys((*given, *ours)))


def paired(numbers: Any) -> Tensor:
    """What is said of no face, 0, and of one."""
    return torch.cat([torch.zeros_like(numbers), numbers])
