"""The blocks of a denoiser, and a weight for each: as a number, a list, or a preset.

A UNet has the blocks BASE, IN00, ..., M00, OUT00, ...: 26 in SD1.x, SD2.x and SDXL's refiner, 20 in SDXL; the
transformer of SD3 has BASE, J00, .... BASE is all that is in no block, the text encoders and the embeddings of the time
among it; the last layers are of the last OUT. VAE, which may be named too, is else as BASE. Source: the names and the
order of sd-webui-supermerger.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..errors import InvalidInput, UnknownName

BASE, VAE = "BASE", "VAE"
#: What a tensor's name begins with in a block, and the block's name.
BLOCKS = tuple(
    (re.compile(rf"(?:model\.diffusion_model\.)?{start}"), name)
    for start, name in (
        (r"input_blocks\.(\d{1,3})\.", "IN{:02}"),
        (r"middle_block()\.", "M{:02}"),
        (r"output_blocks\.(\d{1,3})\.", "OUT{:02}"),
        (r"joint_blocks\.(\d{1,3})\.", "J{:02}"),
    )
)
LAST = re.compile(r"(?:model\.diffusion_model\.)?out\.")
CODEC = "first_stage_model."
#: How far from 0 a weight may be.
MOST = 10.0


def _wrap(count: int) -> Callable[[int, int], float]:
    """1 in so many outer blocks, half of them at each end."""
    return lambda i, n: float(min(i, n - 1 - i) < count // 2)


def _smooth(x: float) -> float:
    return x * x * (3 - 2 * x)


#: A preset: the number of a block behind BASE and how many there are -> its weight. BASE is 0.
PRESETS: Mapping[str, Callable[[int, int], float]] = {
    "grad-v": lambda i, n: abs(1 - 2 * i / (n - 1)),
    "grad-a": lambda i, n: 1 - abs(1 - 2 * i / (n - 1)),
    "cosine": lambda i, n: (1 + math.cos(math.pi * i / (n - 1))) / 2,
    "reverse-cosine": lambda i, n: (1 - math.cos(math.pi * i / (n - 1))) / 2,
    "smoothstep": lambda i, n: _smooth(i / (n - 1)),
    "reverse-smoothstep": lambda i, n: _smooth(1 - i / (n - 1)),
    "wrap08": _wrap(8),
    "wrap12": _wrap(12),
    "wrap16": _wrap(16),
}


@dataclass(frozen=True)
class Blocks:
    """The blocks of a file.

    Args:
        names: in their order, BASE first.
    """

    names: tuple[str, ...] = (BASE,)

    @classmethod
    def among(cls, tensors: Iterable[str]) -> Blocks:
        """Those of a file's tensors, by their names."""
        places = sorted({place for name in tensors if (place := _place(name))})
        return cls((BASE, *map(_name, places)))

    def of(self, tensor: str) -> str:
        """The block that a tensor is in, by its name; that of an autoencoder is VAE."""
        if tensor.startswith(CODEC):
            return VAE
        if len(self.names) > 1 and LAST.match(tensor):
            return self.names[-1]
        place = _place(tensor)
        return _name(place) if place else BASE


def _place(tensor: str) -> tuple[int, int] | None:
    """Which of `BLOCKS` a tensor is in, and the block's number; None for none."""
    found = ((kind, pattern.match(tensor)) for kind, (pattern, _) in enumerate(BLOCKS))
    return next(((kind, int(match[1] or 0)) for kind, match in found if match), None)


def _name(place: tuple[int, int]) -> str:
    return BLOCKS[place[0]][1].format(place[1])


@dataclass(frozen=True)
class Weights:
    """A weight for every block.

    Args:
        blocks: of the file. of: block -> weight, of VAE too.
    """

    blocks: Blocks
    of: Mapping[str, float]

    @classmethod
    def read(cls, text: str, blocks: Blocks) -> Weights:
        """Weights as people write them: one number for all, one for each block (and one more for VAE), or a preset;
        then those of blocks by name, behind a comma each: ``0.5,VAE=0,IN00-IN05=0.2``.

        Raises:
            InvalidInput: no number, one beyond `MOST`, or another number of them; UnknownName: no such preset or block.
        """
        parts = [part.strip() for part in text.split(",")]
        bare = [part for part in parts if "=" not in part]
        found = dict(zip((*blocks.names, VAE), _all(bare, text, blocks), strict=True))
        for part in parts:
            if "=" in part:
                names, _, value = part.partition("=")
                found |= dict.fromkeys(_between(names.strip(), blocks), _number(value, text))
        return cls(blocks, found)

    def __call__(self, tensor: str) -> float:
        """The weight of a tensor, by its name."""
        return self.of[self.blocks.of(tensor)]


def _all(bare: list[str], text: str, blocks: Blocks) -> list[float]:
    """A weight for each block and VAE; those that only some are named of are 0 elsewhere."""
    count = len(blocks.names)
    if not bare:
        return [0.0] * (count + 1)
    if len(bare) == 1 and bare[0][:1].isalpha():
        name = bare[0].lower().replace("_", "-")
        if name not in PRESETS:
            raise UnknownName("preset of weights", bare[0], PRESETS)
        if count == 1:
            raise InvalidInput(f"weight: {text!r} was given, and these files have no blocks: give one number")
        return [0.0, *(PRESETS[name](i, count - 1) for i in range(count - 1)), 0.0]
    numbers = [_number(part, text) for part in bare]
    if len(numbers) == 1:
        return numbers * (count + 1)
    if count > 1 and len(numbers) in (count, count + 1):
        return numbers if len(numbers) == count + 1 else [*numbers, numbers[0]]
    named = f"{blocks.names[0]}, {blocks.names[1]} to {blocks.names[-1]}" if count > 1 else "BASE alone"
    raise InvalidInput(
        f"weight: {len(numbers)} numbers were given for the {count} blocks of these files, {named}; give 1, or "
        f"{count}, or {count + 1} with VAE last"
    )


def _between(names: str, blocks: Blocks) -> list[str]:
    """The blocks from one to another, or one."""
    order = [*blocks.names, VAE]
    ends = [name.strip().upper() for name in names.split("-")]
    for name in ends:
        if name not in order:
            raise UnknownName("block", name, order)
    first, last = order.index(ends[0]), order.index(ends[-1])
    return order[min(first, last) : max(first, last) + 1]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(part: str, text: str) -> float:
    if not _is_number(part) or abs(float(part)) > MOST:
        raise InvalidInput(f"weight: {part.strip()[:40]!r} was given; possible is a number from -{MOST:g} to {MOST:g}")
    return float(part)
