"""What of a network changes slowly from step to step: what lies between its outermost layers. Calls that are marked
keep it, or compute the outermost layers alone and take it as it was kept.

Of a UNet the outermost m layers are the first m that leave a skip and the last m that read one; between them is kept
what the first of the latter reads (Ma et al. 2024, DeepCache; m - 1 is its branch). Of an MMDiT they are the first m
blocks; kept is what all others added to the image, r = y - x (ParaAttention's first-block cache; Liu et al. 2024,
TeaCache, of all blocks).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol, cast
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from .mmdit import MMDiT, Streams
from .ports import Context, Residuals
from .trunk import Backbone, Down, Up, check_residuals

#: The names in ``extra`` by which a call asks to keep, or to take what was kept: `Memory.mark` of each row.
KEEP, TAKE = "deep_keep", "deep_take"


class Memory:
    """What is kept of the rows of a call that are one conditioning's: one row, or the frames of a clip, of each window.

    A call names it by number, for a call holds tensors alone; it lasts as long as whoever made it holds it.
    """

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.kept: dict[tuple[int, int], Tensor] = {}
        _memories[self.number] = self

    @property
    def mark(self) -> Tensor:
        """(1, 1), on the processor, where it is read."""
        return torch.tensor([[self.number]])


_numbers = count()
_memories: WeakValueDictionary[int, Memory] = WeakValueDictionary()


class Part(Protocol):
    """How a kind of network is parted.

    Args:
        most: the largest number of outermost layers.
    """

    most: int

    def enter(self, x: Any, ctx: Context, residuals: Residuals) -> Any:
        """Through the outermost layers on the way in."""
        ...

    def inside(self, entered: Any, ctx: Context, residuals: Residuals) -> Any:
        """Through all between."""
        ...

    def kept(self, entered: Any, found: Any) -> Tensor:
        """What is to be kept, (B, ...), of what came out of ``inside``."""
        ...

    def taken(self, entered: Any, kept: Tensor) -> Any:
        """What stands for ``inside``."""
        ...

    def leave(self, entered: Any, found: Any, ctx: Context) -> Any:
        """Through the outermost layers on the way out."""
        ...


class Entered(NamedTuple):
    """A UNet's way down so far: what the next layer reads, and the skips, with their residuals."""

    x: Tensor
    skips: list[Tensor]


class Levels:
    """A UNet's layers, as a `Part`: the way down and the way up hold as many, one a skip."""

    def __init__(self, net: Backbone, outer: int):
        self.net, self.outer, self.most = net, outer, net.config.skips

    def down(self) -> Iterator[Callable[[Tensor, Context], Tensor]]:
        """What leaves the skips."""
        yield self.net.enter
        for stage in self.net.down_blocks:
            stage = cast(Down, stage)
            yield from (partial(stage.step, i) for i in range(len(stage.resnets)))
            yield from stage.downsamplers

    def up(self) -> list[tuple[Up, int]]:
        """What reads them, the latest first: the i-th step of a level."""
        stages = [cast(Up, stage) for stage in self.net.up_blocks]
        return [(stage, i) for stage in stages for i in range(len(stage.resnets))]

    def enter(self, x: Tensor, ctx: Context, residuals: Residuals) -> Entered:
        check_residuals(residuals, self.most)
        return self._descend([*self.down()][: self.outer], x, ctx, residuals.down[: self.outer])

    def inside(self, entered: Entered, ctx: Context, residuals: Residuals) -> Tensor:
        x, skips = self._descend([*self.down()][self.outer :], entered.x, ctx, residuals.down[self.outer :])
        x = self.net.mid_block(x, ctx)
        x = x if residuals.mid is None else x + residuals.mid
        return self._climb(self.up()[: -self.outer], x, [*entered.skips, *skips], ctx)

    def kept(self, entered: Entered, found: Tensor) -> Tensor:
        return found

    def taken(self, entered: Entered, kept: Tensor) -> Tensor:
        return kept

    def leave(self, entered: Entered, found: Tensor, ctx: Context) -> Tensor:
        return self._climb(self.up()[-self.outer :], found, [*entered.skips], ctx)

    def _descend(self, layers: Sequence[Any], x: Tensor, ctx: Context, residuals: Sequence[Tensor]) -> Entered:
        skips: list[Tensor] = []
        for layer in layers:
            x = layer(x, ctx)
            skips.append(x)
        return Entered(x, [a + b for a, b in zip(skips, residuals, strict=True)] if residuals else skips)

    def _climb(self, layers: Sequence[tuple[Up, int]], x: Tensor, skips: list[Tensor], ctx: Context) -> Tensor:
        for stage, i in layers:
            x = stage.step(i, torch.cat([x, skips.pop()], dim=1), ctx)
            if i == len(stage.resnets) - 1:
                x = stage.upsampled(x, skips, ctx)
        return x


class Blocks:
    """An MMDiT's blocks, as a `Part`."""

    def __init__(self, net: MMDiT, outer: int):
        self.net, self.outer, self.most = net, outer, net.config.num_layers - 1

    def enter(self, x: Streams, ctx: Context, residuals: Residuals) -> Streams:
        return self.net.run(range(self.outer), x, ctx, residuals)

    def inside(self, entered: Streams, ctx: Context, residuals: Residuals) -> Streams:
        return self.net.run(range(self.outer, self.net.config.num_layers), entered, ctx, residuals)

    def kept(self, entered: Streams, found: Streams) -> Tensor:
        return found.image - entered.image

    def taken(self, entered: Streams, kept: Tensor) -> Streams:
        return Streams(entered.image + kept, entered.text)  # nobody reads the text any more

    def leave(self, entered: Streams, found: Streams, ctx: Context) -> Streams:
        return found


def parted(net: nn.Module, outer: int) -> Part:
    """A network with so many outermost layers.

    Raises:
        InvalidInput: of a kind that is not parted, or of fewer layers.
    """
    part = Levels(net, outer) if isinstance(net, Backbone) else Blocks(net, outer) if isinstance(net, MMDiT) else None
    if part is None:
        raise InvalidInput(
            f"deep_every: a {type(net).__name__} has no outermost layers that are computed alone: leave it out; "
            "forecast spares steps of any network"
        )
    if not 1 <= outer <= part.most:
        possible = f"possible with this {type(net).__name__} is 1 to {part.most}" if part.most else "it has one layer"
        raise InvalidInput(f"deep_outer: {outer} was given; {possible}")
    return part


@dataclass(frozen=True)
class Deep:
    """Called, it has a network answer marked calls so; what that returns takes it off.

    Equal ones stand for each other, so that pictures that ask for the same are asked for in one call.
    """

    net: nn.Module
    outer: int = 1

    def __call__(self) -> Callable[[], object]:
        part = parted(self.net, self.outer)

        def body(x: Any, ctx: Context, residuals: Residuals) -> Any:
            entered = part.enter(x, ctx, residuals)
            if TAKE in ctx.extra:
                rows = [memory.kept[place] for memory, place in _places(ctx, TAKE)]
                found = part.taken(entered, torch.cat(rows))
            else:
                found = part.inside(entered, ctx, residuals)
            if KEEP in ctx.extra:
                kept = part.kept(entered, found).split(1)
                for (memory, place), row in zip(_places(ctx, KEEP), kept, strict=True):
                    memory.kept[place] = row
            return part.leave(entered, found, ctx)

        vars(self.net)["body"] = body
        return lambda: vars(self.net).pop("body")


def _places(ctx: Context, name: str) -> Iterator[tuple[Memory, tuple[int, int]]]:
    """Of each row of a call whose memory it is, and where in it: of which window, the how-manieth of its rows."""
    window, seen = int(ctx.extra["window"][0]) if "window" in ctx.extra else 0, Counter[int]()
    for number in ctx.extra[name][:, 0].tolist():
        yield _memories[number], (window, seen[number])
        seen[number] += 1
