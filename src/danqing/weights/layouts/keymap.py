"""From the layout of a file to ours: names by ordered rules, then tensors that are cut or turned. Both run both ways.

A rule is a pair of patterns of whole names. ``{x}`` stands for one part between dots, ``{x*}`` for one or more parts:
``("{block*}.attn_1.q.{end}", "{block*}.attentions.0.to_q.{end}")``. The first rule that fits a name rewrites it; what
none fits keeps its name. A rule with None instead of the second pattern drops a name that a network has no use for.

A `Cut` comes after the names. It says of a tensor of the file which tensors of ours it is, where it is not one of them:
``Cut("{layer*}.qkv.{end}", ("{layer*}.q.{end}", "{layer*}.k.{end}", "{layer*}.v.{end}"), STACKED)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ...errors import InvalidFile, InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

Rule = tuple[str, str | None]
Shape = tuple[int, ...]
HOLE = re.compile(r"\{(\w+)(\*?)\}")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; a hole that stands twice must hold the same both times."""
    regex, end, seen = "", 0, set()
    for hole in HOLE.finditer(pattern):
        name, many = hole.groups()
        part = r"[^.]+(?:\.[^.]+)*" if many else "[^.]+"
        group = f"(?P={name})" if name in seen else f"(?P<{name}>{part})"
        regex += re.escape(pattern[end : hole.start()]) + group
        seen.add(name)
        end = hole.end()
    return re.compile(regex + re.escape(pattern[end:]))


def template(pattern: str) -> str:
    """What a pattern writes, in Python's format syntax."""
    return pattern.replace("*}", "}")


def holes(pattern: str) -> set[str]:
    """The names of a pattern's holes."""
    return {hole[1] for hole in HOLE.finditer(pattern)}


# ---- tensors -------------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """How tensors of ours lie in one tensor of a file.

    Args:
        apart: the file's tensor and how many ours are -> ours.
        together: the inverse.
        shape: the file's shape and how many ours are -> the shape of each of ours; a ValueError where it does not
            divide.
    """

    apart: Callable[[Tensor, int], Sequence[Tensor]]
    together: Callable[[Sequence[Tensor]], Tensor]
    shape: Callable[[Shape, int], Shape]


def divided(shape: Shape, parts: int) -> Shape:
    """The shape of one of so many equal parts along the first axis."""
    if not shape or shape[0] % parts:
        raise ValueError(f"a tensor of the shape {list(shape)} does not divide into {parts}")
    return (shape[0] // parts, *shape[1:])


def stack(parts: Sequence[Tensor]) -> Tensor:
    """One behind the other along the first axis."""
    import torch

    return torch.cat(list(parts))


def swap(x: Tensor) -> Tensor:
    """The halves along the first axis, exchanged."""
    return x.roll(x.shape[0] // 2, 0)


#: One behind the other along the first axis: queries, keys and values of one projection.
STACKED = Way(lambda x, n: x.tensor_split(n), stack, divided)
#: A matrix (in, out) for x W, where ours is (out, in) for W x.
TRANSPOSED = Way(lambda x, n: (x.mT,), lambda parts: parts[0].mT, lambda shape, n: shape[::-1])
#: Ours with its halves along the first axis exchanged: (shift, scale) for (scale, shift).
SWAPPED = Way(
    lambda x, n: (swap(x),), lambda parts: swap(parts[0]), lambda shape, n: (2 * divided(shape, 2)[0], *shape[1:])
)


class Cut(NamedTuple):
    """A tensor that is not one of ours.

    Args:
        old: pattern of its name, as the rules leave it.
        new: patterns of the names of ours in it, with the same holes.
        way: how they lie in it.
    """

    old: str
    new: tuple[str, ...]
    way: Way


class Source(NamedTuple):
    """Where a tensor of ours lies: in which tensor of the file, and, where it is not that tensor, as which of how many
    parts."""

    name: str
    way: Way | None = None
    part: int = 0
    parts: int = 1

    def shape(self, whole: Shape) -> Shape:
        """The shape of ours by the file's tensor's; a ValueError where that does not divide."""
        return self.way.shape(whole, self.parts) if self.way else whole

    def take(self, whole: Tensor) -> Tensor:
        """Ours from the file's tensor, as a view of it where one can be."""
        return self.way.apart(whole, self.parts)[self.part] if self.way else whole


# ---- the map -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyMap:
    """Stages of rules, each applied to what the one before it made, then cuts; without any, the identity.

    Args:
        stages: tuples of rules.
        cuts: of the tensors that are not ours under another name; the first that fits a name cuts it.

    Raises:
        InvalidInput: the two sides of a rule or a cut have different holes, so that it could not run both ways.
    """

    stages: tuple[tuple[Rule, ...], ...] = ()
    cuts: tuple[Cut, ...] = ()

    def __post_init__(self) -> None:
        pairs = [rule for stage in self.stages for rule in stage] + [
            (cut.old, new) for cut in self.cuts for new in cut.new
        ]
        for old, new in pairs:
            if new is not None and holes(old) != holes(new):
                raise InvalidInput(
                    f"the rule {old!r} -> {new!r} has different holes on its two sides: name the same ones"
                )

    @cached_property
    def compiled(self) -> list[list[tuple[re.Pattern[str], str | None]]]:
        """Each stage's regular expressions and what they write."""
        return [[(compile_pattern(a), b and template(b)) for a, b in stage] for stage in self.stages]

    @property
    def inverse(self) -> KeyMap:
        """The map of the names back, without cuts; rules that drop names are left out."""
        return KeyMap(tuple(tuple((b, a) for a, b in stage if b is not None) for stage in reversed(self.stages)))

    def name(self, key: str) -> str | None:
        """The new name of one key, None for one that is dropped."""
        for stage in self.compiled:
            for pattern, new in stage:
                if match := pattern.fullmatch(key):
                    if new is None:
                        return None
                    key = new.format(**match.groupdict())
                    break
        return key

    def names(self, keys: Iterable[str]) -> dict[str, str]:
        """Old name -> new name of every key that is not dropped, before any cut.

        Raises:
            InvalidFile: two keys get the same name.
        """
        result: dict[str, str] = {}
        taken: dict[str, str] = {}
        for key in keys:
            new = self.name(key)
            if new is None:
                continue
            if new in taken:
                raise mixed(taken[new], key, new)
            result[key], taken[new] = new, key
        return result

    def sources(self, keys: Iterable[str]) -> dict[str, Source]:
        """Name of ours -> where it lies, for every tensor that the keys make.

        Raises:
            InvalidFile: two keys make a tensor of the same name.
        """
        cuts = [(compile_pattern(cut.old), [template(new) for new in cut.new], cut.way) for cut in self.cuts]
        result: dict[str, Source] = {}
        for key, name in self.names(keys).items():
            made = {name: Source(key)}
            for pattern, new, way in cuts:
                if match := pattern.fullmatch(name):
                    made = {one.format(**match.groupdict()): Source(key, way, i, len(new)) for i, one in enumerate(new)}
                    break
            for one, source in made.items():
                if one in result:
                    raise mixed(result[one].name, key, one)
                result[one] = source
        return result

    def back(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of ours in the layout of the file, which `sources` finds again; what is dropped stays away.

        Raises:
            InvalidInput: of the tensors that lie in one, some are missing.
        """
        result = dict(tensors)
        for cut in self.cuts:
            pattern = compile_pattern(cut.new[0])
            for match in filter(None, map(pattern.fullmatch, list(result))):
                names = [template(new).format(**match.groupdict()) for new in cut.new]
                if absent := [name for name in names if name not in result]:
                    raise InvalidInput(
                        f"{names[0]!r} is written together with {absent[0]!r}, which is missing: give both"
                    )
                parts = [result.pop(name) for name in names]
                result[template(cut.old).format(**match.groupdict())] = cut.way.together(parts)
        names = self.inverse
        return {name: tensor for key, tensor in result.items() if (name := names.name(key)) is not None}


def mixed(a: str, b: str, new: str) -> InvalidFile:
    """Two tensors of a file are one of ours."""
    return InvalidFile(f"the tensors {a!r} and {b!r} are both {new!r}: the file mixes two layouts")


IDENTITY = KeyMap()
