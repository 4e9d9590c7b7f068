"""The numbers in GGUF's quantised blocks.

A block holds 32 or 256 small integers q with one float16 scale d, and for some an offset m: x = d q - m. In the K types
each 16 or
32 integers have an integer scale s of their own, and an integer offset o: x = d s q - e o. Source: ggml-common.h
(layouts) and dequantize_row_* in ggml-quants.c of ggml-org/ggml.

Each function of a kind takes blocks (N, bytes) as uint8 and gives numbers (N, 32) or (N, 256) as float32.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ggml import Kind

Array = NDArray[Any]

#: How many numbers are made at a time, so that the steps between need little memory.
AT_ONCE = 2**20
#: The values of the 4-bit types that are not spaced evenly.
UNEVEN = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
PAIRS = np.array([0, 2, 4, 6], np.uint8)[:, None]
BITS = np.arange(8, dtype=np.uint8)[:, None]


def numbers(data: mmap.mmap, kind: Kind, start: int, count: int) -> Array:
    """``count`` numbers (count,) from the blocks that start at a byte of a file."""
    packed = np.frombuffer(data, np.uint8, count // kind.numbers * kind.size, start).reshape(-1, kind.size)
    result = np.empty((len(packed), kind.numbers), np.float32)
    step = AT_ONCE // kind.numbers
    # A damaged scale is infinite or none; so are its numbers then, and nothing more is to be said.
    with np.errstate(invalid="ignore", over="ignore"):
        for i in range(0, len(packed), step):
            result[i : i + step] = KINDS[kind.name](packed[i : i + step])
    return result.reshape(-1)


def half(blocks: Array, at: int) -> Array:
    """The float16 at a byte of each block, (N, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def nibbles(packed: Array, group: int) -> Array:
    """4-bit numbers, (N, groups, 2 * group): of each group of bytes first the low halves, then the high ones."""
    grouped = packed.reshape(len(packed), -1, group)
    return np.concatenate([grouped & 15, grouped >> 4], axis=2)


def pairs(packed: Array) -> Array:
    """2-bit numbers, (N, 4 * bytes): of each 32 bytes first all lowest pairs, ..."""
    return ((packed.reshape(len(packed), -1, 1, 32) >> PAIRS) & 3).reshape(len(packed), -1)


def fifth(packed: Array) -> Array:
    """The fifth bits of 32 numbers, (N, 32), of 4 bytes."""
    return np.unpackbits(packed, axis=1, bitorder="little")


def q4_0(b: Array) -> Array:
    return half(b, 0) * (nibbles(b[:, 2:], 16)[:, 0].astype(np.float32) - 8)


def q4_1(b: Array) -> Array:
    return half(b, 0) * nibbles(b[:, 4:], 16)[:, 0] + half(b, 2)


def q5_0(b: Array) -> Array:
    q = nibbles(b[:, 6:], 16)[:, 0] | fifth(b[:, 2:6]) << 4
    return half(b, 0) * (q.astype(np.float32) - 16)


def q5_1(b: Array) -> Array:
    q = nibbles(b[:, 8:], 16)[:, 0] | fifth(b[:, 4:8]) << 4
    return half(b, 0) * q + half(b, 2)


def q8_0(b: Array) -> Array:
    return half(b, 0) * b[:, 2:].view(np.int8)


def q2_k(b: Array) -> Array:
    """4-bit s and o of each 16 numbers, 2-bit q, d, e."""
    scale, offset, q = half(b, 80) * (b[:, :16] & 15), half(b, 82) * (b[:, :16] >> 4), pairs(b[:, 16:80])
    return (scale[:, :, None] * q.reshape(-1, 16, 16) - offset[:, :, None]).reshape(-1, 256)


def q3_k(b: Array) -> Array:
    """The third bits of q, its 2 lower ones, 6-bit s of each 16 numbers less 32, d; q less 4."""
    third = (b[:, None, :32] >> BITS & 1).reshape(-1, 256)
    q = pairs(b[:, 32:96]) | third << 2
    s = (
        np.concatenate([b[:, 96:104] & 15, b[:, 96:104] >> 4], axis=1)
        | ((b[:, None, 104:108] >> PAIRS) & 3).reshape(-1, 16) << 4
    )
    scale = half(b, 108) * (s.astype(np.float32) - 32)
    return (scale[:, :, None] * (q.reshape(-1, 16, 16).astype(np.float32) - 4)).reshape(-1, 256)


def six(b: Array) -> tuple[Array, Array]:
    """d s and e o of each 32 numbers, (N, 8, 1) each: d, e, then 8 times s and o of 6 bits in 12 bytes."""
    low, mid, high = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    s = np.concatenate([low & 63, high & 15 | low >> 6 << 4], axis=1)
    o = np.concatenate([mid & 63, high >> 4 | mid >> 6 << 4], axis=1)
    return (half(b, 0) * s)[:, :, None], (half(b, 2) * o)[:, :, None]


def q4_k(b: Array) -> Array:
    scale, offset = six(b)
    return (scale * nibbles(b[:, 16:], 32).reshape(-1, 8, 32) - offset).reshape(-1, 256)


def q5_k(b: Array) -> Array:
    scale, offset = six(b)
    q = nibbles(b[:, 48:], 32).reshape(-1, 8, 32) | (b[:, None, 16:48] >> BITS & 1) << 4
    return (scale * q - offset).reshape(-1, 256)


def q6_k(b: Array) -> Array:
    """The 4 lower bits of q, its 2 upper ones, 8-bit s of each 16 numbers, d; q less 32."""
    q = nibbles(b[:, :128], 64).reshape(-1, 256) | pairs(b[:, 128:192]) << 4
    scale = half(b, 208) * b[:, 192:208].view(np.int8)
    return (scale[:, :, None] * (q.reshape(-1, 16, 16).astype(np.float32) - 32)).reshape(-1, 256)


def iq4_nl(b: Array) -> Array:
    return half(b, 0) * UNEVEN[nibbles(b[:, 2:], 16)[:, 0]]


def iq4_xs(b: Array) -> Array:
    """d, the 2 upper bits of 8 times s, their 4 lower ones, 4-bit q; s less 32."""
    upper = (b[:, 2:4, None] >> PAIRS[:, 0] & 3).reshape(-1, 8)
    lower = (b[:, 4:8, None] >> np.array([0, 4], np.uint8) & 15).reshape(-1, 8)
    scale = half(b, 0) * ((lower | upper << 4).astype(np.float32) - 32)
    return (scale[:, :, None] * UNEVEN[nibbles(b[:, 8:], 16)]).reshape(-1, 256)


#: By the type's name.
KINDS: dict[str, Callable[[Array], Array]] = {
    **{"Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "Q8_0": q8_0, "Q2_K": q2_k, "Q3_K": q3_k},
    **{"Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k, "IQ4_NL": iq4_nl, "IQ4_XS": iq4_xs},
}
