"""The noise that a picture starts from: its own, another program's of the same seed, and on the way to another seed's.

Sources: Philox 4x32-10 is of Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3", table 2; Box-Muller as
CUDA's generator has it; the way between is that of Shoemake 1985, taken column by column as A1111 does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import InvalidInput
from ..noise import Noise

#: (seed, index, shape) -> standard normal numbers of one picture, float32, on the CPU.
Draw = Callable[[int, int, tuple[int, ...]], Tensor]
#: Pictures that are drawn at once at most, where a picture's noise is that of a batch's.
BATCH = 256
MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)


def philox(seed: int, count: int, offset: int = 0) -> Tensor:
    """``count`` standard normal numbers as a CUDA generator of this seed draws them, by Philox 4x32-10 and Box-Muller.

    Args:
        seed: 0 <= seed < 2^64.
        offset: how often was drawn before.
    """
    counter = np.zeros((4, count), np.uint64)
    counter[0], counter[2] = offset, np.arange(count)
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = (counter[row] * np.uint64(by) for row, by in zip((0, 2), MULTIPLIERS, strict=True))
        high = [product >> np.uint64(32) for product in (first, second)]
        counter = np.stack(
            (
                high[1] ^ counter[1] ^ np.uint64(key[0]),
                second & LOW,
                high[0] ^ counter[3] ^ np.uint64(key[1]),
                first & LOW,
            )
        )
        key = [(part + step) & 0xFFFFFFFF for part, step in zip(key, WEYL, strict=True)]
    u, v = (counter[row].astype(np.float32) for row in (0, 1))
    unit = np.float32(2.0**-32)
    radius = np.sqrt(np.float32(-2) * np.log(u * unit + unit / 2))
    angle = v * np.float32(2.0**-32 * 2 * np.pi) + np.float32(2.0**-33 * 2 * np.pi)
    return torch.from_numpy((radius * np.sin(angle)).astype(np.float32))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _comfy(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """A picture of a batch, which is drawn as a whole."""
    if index >= BATCH:
        raise InvalidInput(
            f"index: {index} was given; ComfyUI's noise is drawn for the whole batch, of {BATCH} at most"
        )
    return torch.randn((index + 1, *shape), generator=_seeded(seed))[index]


#: How other programs draw the noise that a picture of a batch starts from.
DRAWS: Mapping[str, Draw] = {
    "a1111-gpu": lambda seed, index, shape: philox(seed + index, int(np.prod(shape))).reshape(shape),
    "a1111-cpu": lambda seed, index, shape: torch.randn(shape, generator=_seeded(seed + index)),
    "comfy": _comfy,
}


def between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """On the sphere from one noise to another, column by column of (..., h, w); 0 is the first, 1 the second."""
    if share in (0, 1):
        return second if share else first
    unit = [noise / noise.norm(dim=-2, keepdim=True).clamp_min(1e-12) for noise in (first, second)]
    cosine = (unit[0] * unit[1]).sum(-2, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    on_sphere = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / sine.clamp_min(1e-12)
    return torch.where(sine < 1e-4, (1 - share) * first + share * second, on_sphere)


def starting(
    seed: int, index: int, stage: str, *, frames: int = 1, like: str = "", other: int = 0, strength: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """The noise that a picture, or a clip of so many frames, starts from, (F, C, h, w) like what it is given.

    Args:
        stage: as of `Noise`.
        like: one of `DRAWS`, for the first frame; "" draws our own.
        other, strength: another seed, and how far the noise goes to that seed's of this index: 0 not at all, and then
            pictures of a batch start apart; else all of them start from the first, as A1111 has it.
    """

    def drawn(seed: int, index: int, given: Tensor) -> Tensor:
        own = Noise.of(seed, [index], stage, frames=frames)(given)
        if like:
            own[0] = DRAWS[like](seed, index, tuple(given.shape[1:])).to(own)
        return own

    if not strength:
        return lambda given: drawn(seed, index, given)
    return lambda given: between(drawn(seed, 0, given).float(), drawn(other, index, given).float(), strength).to(given)
