"""Prompts with choices in them, and the one that a seed draws.

::

    a {red|blue} fox                one of them
    {2$$a|b|c}, {1-2$$ and $$a|b}   two of them, in the order drawn, joined by a comma; one or two, joined by " and "
    {3::red|blue}                   red three times as often
    a __animal__, __a/*__           a line of a list of words, which may hold choices itself
    # to the end of the line        a comment

The syntax is that of dynamicprompts, which many tools read. ``\\{`` and ``\\_`` are the signs themselves. Draws depend
on the seed, the index and their own order alone, so a picture says the same in any batch.

Every pattern takes time linear in the text, and no text grows beyond `LONGEST`. This module imports no torch.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from ..errors import InvalidInput, nearest

#: As long a text grows at most, in characters; as deep choices stand in choices; lists that call each other.
LONGEST, DEEPEST = 100_000, 40
_COMMENT = re.compile(r"(?:^|(?<=\s))#(?:(?=\s)[^\n]*|$)", re.MULTILINE)
_TOKEN = re.compile(r"\\[{}|_]|__[~!@]?([\w./*-][\w./* -]{0,199}?)__|\{|\}|\|")
_QUANTITY = re.compile(r"\s{0,99}[~!@]?(?:(\d{0,6})(-?)(\d{0,6})\$\$(?:([^${}|]{0,99}|[^${}]{0,99})\$\$)?)")
_WEIGHT = re.compile(r"\s{0,99}(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")


class Choice(NamedTuple):
    """Some of several texts."""

    options: tuple[Nodes, ...]
    weights: tuple[float, ...]
    low: int = 1
    high: int = 1
    between: str = ","


class Listed(NamedTuple):
    """A line of the lists that a name finds."""

    name: str


Node = str | Choice | Listed
Nodes = tuple["Node", ...]
#: The name of a list, as typed -> its lines.
Lists = Callable[[str], "Lines"]


class Lines(NamedTuple):
    """The lines of a list, and the sums of their weights up to each; none where all weigh the same."""

    texts: Sequence[str]
    sums: Sequence[float] = ()

    @classmethod
    def of(cls, lines: Sequence[str]) -> Lines:
        """Lines as typed, ``3::red`` of weight 3."""
        found = [(_WEIGHT.match(line), line) for line in lines] if any("::" in line for line in lines) else []
        if not any(weight for weight, _ in found):
            return cls(lines)
        weights = [float(weight[1]) if weight else 1.0 for weight, _ in found]
        return cls([line[weight.end() :] if weight else line for weight, line in found], list(accumulate(weights)))


class Draws:
    """Numbers in [0, 1) in the order drawn, from a seed, an index and what they are for."""

    def __init__(self, seed: int, index: int = 0, what: str = "prompt"):
        self.key, self.block = f"{seed}/{index}/{what}/".encode(), 0
        self.left = list[int]()

    def __call__(self) -> float:
        if not self.left:
            found = hashlib.blake2b(self.key + str(self.block).encode()).digest()
            self.left, self.block = list(struct.unpack(">8Q", found)), self.block + 1
        return (self.left.pop() >> 11) / 2**53

    def among(self, sums: Sequence[float]) -> int:
        """A place by the sums of the weights up to each."""
        at = self() * sums[-1]
        low, high = 0, len(sums) - 1
        while low < high:  # the first sum above
            middle = (low + high) // 2
            low, high = (middle + 1, high) if sums[middle] <= at else (low, middle)
        return low


def has_choices(text: str) -> bool:
    """Whether a text says more than itself."""
    return any(sign in text for sign in ("{", "__", "\\", "#")) and parse(text) != (text,)


@lru_cache(maxsize=1024)
def parse(text: str) -> Nodes:
    """A text as its parts; a bracket that has no other is a sign like any other.

    Raises:
        InvalidInput: choices stand in choices deeper than `DEEPEST`, or it is longer than `LONGEST`.
    """
    if len(text) > LONGEST:
        raise InvalidInput(f"a prompt with choices has at most {LONGEST:,} characters, and this one {len(text):,}")
    text = _COMMENT.sub("", text)
    found = list(_TOKEN.finditer(text))
    pairs = _pairs(found)
    return _sequence(text, found, pairs, 0, len(found), 0, len(text), 0)


def _pairs(found: Sequence[re.Match[str]]) -> dict[int, int]:
    """Where each ``{`` that is closed, is closed, by the places of the signs."""
    pairs, opened = dict[int, int](), list[int]()
    for i, sign in enumerate(found):
        if sign[0] == "{":
            opened.append(i)
        elif sign[0] == "}" and opened:
            pairs[opened.pop()] = i
    return pairs


def _sequence(
    text: str,
    found: Sequence[re.Match[str]],
    pairs: dict[int, int],
    first: int,
    last: int,
    begin: int,
    end: int,
    depth: int,
) -> Nodes:
    """The parts of text[begin:end], whose signs are found[first:last]."""
    if depth > DEEPEST:
        raise InvalidInput(f"choices stand in choices {DEEPEST} deep at most: write the inner ones as lists of words")
    nodes, at, i = list[Node](), begin, first
    while i < last:
        sign = found[i]
        if sign[0] == "{" and i in pairs:
            nodes += [text[at : sign.start()], _choice(text, found, pairs, i, pairs[i], depth)]
            i = pairs[i]
            at = found[i].end()
        elif sign[1]:
            nodes += [text[at : sign.start()], Listed(sign[1].strip())]
            at = sign.end()
        elif sign[0][0] == "\\":
            nodes += [text[at : sign.start()], sign[0][1]]
            at = sign.end()
        i += 1
    nodes.append(text[at:end])
    return _joined(nodes)


def _choice(
    text: str, found: Sequence[re.Match[str]], pairs: dict[int, int], opened: int, closed: int, depth: int
) -> Choice:
    begin = found[opened].end()
    quantity = _QUANTITY.match(text, begin, found[closed].start())
    if quantity and (quantity[1] or quantity[3]):
        begin = quantity.end()
    else:
        quantity = None
    edges, i = list[tuple[int, int]](), opened + 1
    first, start = i, begin
    while i <= closed:
        if i in pairs:
            i = pairs[i]
        elif i == closed or (found[i][0] == "|" and found[i].start() >= begin):
            edges.append((first, i))
            first = i + 1
        i += 1
    options, weights = list[Nodes](), list[float]()
    for first, last in edges:
        stop = found[last].start()
        weight = _WEIGHT.match(text, start, stop)
        weights.append(float(weight[1]) if weight else 1.0)
        inner = weight.end() if weight else start
        while inner < stop and text[inner].isspace():
            inner += 1
        options.append(_sequence(text, found, pairs, first, last, inner, stop, depth + 1))
        start = found[last].end()
    if quantity is None:
        return Choice(tuple(options), tuple(weights))
    low = int(quantity[1] or (1 if quantity[2] else quantity[3]))
    high = int(quantity[3] or len(options)) if quantity[2] else low
    between = "," if quantity[4] is None else quantity[4]
    return Choice(tuple(options), tuple(weights), min(low, high), max(low, high), between)


def _joined(nodes: Sequence[Node]) -> Nodes:
    """The same with texts that touch joined, and empty ones left out."""
    out = list[Node]()
    for node in nodes:
        if isinstance(node, str) and out and isinstance(out[-1], str):
            out[-1] += node
        elif node != "":
            out.append(node)
    return tuple(out)


def drawn(text: str, draws: Draws, lists: Lists) -> str:
    """The text that is drawn, without space at its ends.

    Raises:
        InvalidInput: a list holds itself, or the text grows beyond `LONGEST`; what ``lists`` raises.
    """
    out = list[str]()
    _draw(parse(text), draws, lists, (), out, [0])
    return "".join(out).strip()


def _draw(nodes: Nodes, draws: Draws, lists: Lists, within: tuple[str, ...], out: list[str], length: list[int]) -> None:
    for node in nodes:
        length[0] += len(node) if isinstance(node, str) else 1  # choices of nothing take time too
        if length[0] > LONGEST:
            raise InvalidInput(f"the prompt grows beyond {LONGEST:,} characters: its lists of words hold too much")
        if isinstance(node, str):
            out.append(node)
        elif isinstance(node, Listed):
            _draw_line(node.name, draws, lists, within, out, length)
        else:
            node = _of_list(node, lists)
            for n, i in enumerate(_places(node, draws)):
                _draw((node.between, *node.options[i]) if n else node.options[i], draws, lists, within, out, length)


def _draw_line(
    name: str, draws: Draws, lists: Lists, within: tuple[str, ...], out: list[str], length: list[int]
) -> None:
    if name in within:
        raise InvalidInput(f"lists of words hold each other: {' in '.join((name, *reversed(within)))}")
    lines = lists(name)
    place = draws.among(lines.sums) if lines.sums else int(draws() * len(lines.texts))
    _draw(parse(lines.texts[place]), draws, lists, (*within, name), out, length)


def _of_list(choice: Choice, lists: Lists) -> Choice:
    """Of a list alone some of its lines: ``{2$$__animal__}``."""
    alone = choice.options[0][0] if len(choice.options) == 1 and len(choice.options[0]) == 1 else ""
    if not isinstance(alone, Listed) or (choice.low, choice.high) == (1, 1):
        return choice
    lines = lists(alone.name)
    weights = [b - a for a, b in zip((0.0, *lines.sums), lines.sums, strict=False)] or [1.0] * len(lines.texts)
    return choice._replace(options=tuple(parse(text) for text in lines.texts), weights=tuple(weights))


def _places(choice: Choice, draws: Draws) -> Sequence[int]:
    """Which options are taken, in their order; none twice."""
    low, high = (min(bound, len(choice.options)) for bound in (choice.low, choice.high))
    many = low + int(draws() * (high - low + 1)) if high > low else low
    left, places = list(range(len(choice.options))), list[int]()
    for _ in range(many):
        sums = list(accumulate(choice.weights[i] for i in left))
        places.append(left.pop(draws.among(sums) if sums[-1] > 0 else int(draws() * len(left))))
    return places


def unknown(name: str, known: Sequence[str], folder: object) -> InvalidInput:
    """The error for a list of words that is not there."""
    near = nearest(name, known)
    hint = f" Did you mean __{near[0]}__?" if near else ""
    return InvalidInput(
        f"there is no list of words {name!r} in {folder}.{hint} A list is a text file there, such as animal.txt, a "
        "word a line; \\_\\_ is written for the signs themselves"
    )
