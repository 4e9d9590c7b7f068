"""Random numbers that depend on a key alone: equal keys draw equal numbers, whatever was drawn before and wherever."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

#: A key's text -> a number in [0, 2^63), the seed of its generator.
Digest = Callable[[bytes], int]
#: Standard normal numbers like a tensor in shape, dtype and device; the number tells the draws of one step apart.
Draw = Callable[[Tensor, int], Tensor]


def blake2b(text: bytes) -> int:
    """The digest of trainings, latents and classes: 8 bytes of BLAKE2b, little end first."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def sha256(text: bytes) -> int:
    """The digest of `Noise`: the first 8 bytes of SHA-256, big end first."""
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def number(*key: int | str, digest: Digest = blake2b) -> int:
    """A number in [0, 2^63) that depends on the key and the digest alone."""
    return digest("/".join(map(str, key)).encode())


def keyed(*key: int | str, digest: Digest = blake2b) -> torch.Generator:
    """A CPU generator that depends on the key and the digest alone, whatever torch's default device is."""
    return torch.Generator("cpu").manual_seed(number(*key, digest=digest))


@contextmanager
def globally(device: torch.device, *key: int | str) -> Iterator[None]:
    """Inside, torch's global generators of the CPU and of ``device`` depend on the key alone, for layers that draw from
    them, as dropout does; after it they go on from where they were."""
    apart = device.type in ("cuda", "xpu")  # MPS has one device, whose generator torch keeps no states of by device
    with torch.random.fork_rng([device] if apart else [], device_type=device.type if apart else "cuda"):
        torch.manual_seed(number(*key))
        yield


@dataclass(frozen=True)
class Noise:
    """Standard normal noise that depends on (seed, picture index, frame, stage, step, draw) alone.

    Each draw of each picture comes from its own CPU generator, keyed by these, in float32, and is then moved: so a
    picture's noise depends neither on the other pictures of the batch, nor on their order, nor on device or precision.

    Args:
        keys: for each picture of the batch its (seed, index), and of a clip's frames but the first their number too.
        stage: which part of a recipe draws, so that two parts with the same step differ.
    """

    keys: tuple[tuple[int, ...], ...]
    stage: str = "sample"

    @classmethod
    def of(cls, seed: int, indices: Sequence[int], stage: str = "sample", *, frames: int = 1) -> Noise:
        """One seed, pictures by index, each of so many frames, of which the first draws what a still does."""
        return cls(tuple((seed, index, *([k] if k else [])) for index in indices for k in range(frames)), stage)

    def at(self, step: int) -> Draw:
        """The draws of one step."""
        return lambda like, draw=0: self(like, step, draw)

    def __call__(self, like: Tensor, step: int = 0, draw: int = 0) -> Tensor:
        """(B, ...) of the shape, dtype and device of ``like``, whose B is the number of keys."""
        if len(like) != len(self.keys):
            raise ValueError(f"noise is keyed for {len(self.keys)} pictures, the batch has {len(like)}")
        return torch.stack([self._one(key, tuple(like.shape[1:]), step, draw) for key in self.keys]).to(like)

    def _one(self, key: tuple[int, ...], shape: tuple[int, ...], step: int, draw: int) -> Tensor:
        stream = keyed(*key, self.stage, step, draw, digest=sha256)
        return torch.randn(shape, generator=stream, dtype=torch.float32, device="cpu")
