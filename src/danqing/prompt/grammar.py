"""The prompt grammar of AUTOMATIC1111's web UI: weights, schedules, alternation, composition, breaks and tags.

=====================  =======================================================================================
``(x)``, ``[x]``       weight times 1.1, divided by 1.1; nesting multiplies
``(x:1.3)``            weight times 1.3
``[a:b:when]``         a until step ``when``, b after it; ``[b:when]`` adds b, ``[a::when]`` takes a away
``[a|b|]``             a, b, nothing, a, ...: the next one each step
``x AND y:0.5``        composed: each term guides by itself, with its weight (1 if none; negative steers away)
``BREAK``              the rest starts a new chunk
``<lora:name:0.8>``    a tag: taken out of the text and listed
``\\( \\) \\[ \\] \\\\``    the character itself
=====================  =======================================================================================

``when`` with a point is a fraction of the steps (0.25 of 20 is step 5), otherwise a step; steps count from 1, and a
switch comes after step ``when``. What does not parse, an unbalanced bracket above all, is text, of which a sentence is
said (`unread`): no string is an error, and the time taken is linear in its length.

This module imports no torch.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ..errors import InvalidInput
from .unread import unread

#: Schedules nested deeper than this are text.
DEPTH = 64
#: Weights are held to [-LIMIT, LIMIT]: 1.1 to the power of ten thousand brackets is no number.
LIMIT = 1000.0

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_EDGE = r"(?<![A-Za-z0-9_]){}(?![A-Za-z0-9_])"  # not \b: 狐狸AND猫 is two terms
_AND = re.compile(_EDGE.format("AND"))
_BREAK = re.compile(_EDGE.format("BREAK"))
_TERM_WEIGHT = re.compile(rf":[^\S\n]*({_NUMBER})\s*\Z")
_WHEN = re.compile(rf"\s*({_NUMBER}(?:[eE][+-]?[0-9]+)?)\s*\Z")
_TAG = re.compile(r"<(\w+):([^<>]+)>")
_OUTER = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+|\\", re.DOTALL)
_INNER = re.compile(rf"\\[()\[\]\\]|\\|[(\[]|:\s*({_NUMBER})\s*\)|[)\]]|[^\\()\[\]:]+|:")


# ---- records -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tag:
    """``<kind:name:te:unet>``, taken out of the prompt and not acted upon here.

    Args:
        kind: "lora", "hypernet", or whatever was written.
        name: what to apply.
        te: strength on the text encoder; 1 where none is written.
        unet: strength on the backbone; ``te`` where none is written.
        text: the tag as written.
        unread: what of its arguments means nothing here.
    """

    kind: str
    name: str
    te: float = 1.0
    unet: float = 1.0
    text: str = ""
    unread: tuple[str, ...] = ()


class Piece(NamedTuple):
    """A run of text of one weight."""

    text: str
    weight: float


#: Weighted text: a tuple of pieces for each part between BREAKs; at least one part, which may be empty. Hashable.
Weighted = tuple[tuple[Piece, ...], ...]


class Term(NamedTuple):
    """One of the conditionings that AND composes, at one step."""

    text: Weighted
    weight: float


@dataclass(frozen=True)
class Switch:
    """``[before:after:when]``: ``before`` while step <= when, then ``after``."""

    before: Nodes
    after: Nodes
    when: float
    fraction: bool

    def last(self, steps: int, first: int | None) -> int:
        """The last step that still shows ``before``, at most ``steps``; below 1 there is none.

        Args:
            first: in a second pass, how many steps the first had: fractions 1 .. 2 and steps > first address this one.
        """
        offset = 0.0 if first is None else 1.0 if self.fraction else float(first)
        when = (self.when - offset) * (steps if self.fraction else 1)
        return int(max(-1.0, min(when, float(steps))))


@dataclass(frozen=True)
class Turn:
    """``[a|b|c]``: one option a step, in turn."""

    options: tuple[Nodes, ...]


Node = str | Switch | Turn
Nodes = tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A parsed prompt: terms (nodes, weight), the tags that stood in it, and a sentence on each thing that was not
    understood."""

    terms: tuple[tuple[Nodes, float], ...]
    tags: tuple[Tag, ...] = ()
    unread: tuple[str, ...] = ()


class Run(NamedTuple):
    """Steps ``start`` .. ``stop``, both included and counted from 1, which share their terms."""

    start: int
    stop: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a prompt says at every step.

    Args:
        steps: how many steps there are.
        runs: the steps in order, in the fewest runs of equal terms.
        tags, unread: the prompt's.
    """

    steps: int
    runs: tuple[Run, ...]
    tags: tuple[Tag, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[Weighted, ...]:
        """Every distinct text, in order of first use: what an encoder must encode."""
        return tuple(dict.fromkeys(term.text for run in self.runs for term in run.terms))

    def at(self, step: int) -> tuple[Term, ...]:
        """The terms at a step, 1 .. steps.

        Raises:
            InvalidInput: no such step.
        """
        if not 1 <= step <= self.steps:
            raise InvalidInput(f"this plan has no step {step}: its steps are 1 to {self.steps}")
        return self.runs[bisect_right(self.runs, step, key=lambda run: run.start) - 1].terms


# ---- text to prompt ------------------------------------------------------------------------------------------------


def _tag(found: re.Match[str]) -> Tag:
    name, *rest = (part.strip() for part in found[2].split(":"))
    read, unread, places = dict[str, float](), list[str](), iter(("te", "unet"))
    for part in sorted(rest, key=lambda part: "=" not in part):  # <lora:x:te=0.5:unet=1> goes before <lora:x:0.5:1>
        key, _, value = part.rpartition("=")
        key = key.strip() or next(places, "")
        if key in ("te", "unet") and key not in read and re.fullmatch(_NUMBER, value.strip()):
            read[key] = _held(float(value))
        elif part:
            unread.append(part)
    te = read.get("te", 1.0)
    unet = read.get("unet", te)
    return Tag(kind=found[1], name=name, te=te, unet=unet, text=found[0], unread=tuple(p for p in rest if p in unread))


class _Open(NamedTuple):
    """An open bracket: where it stands among the nodes, and where its ":" and "|" stand."""

    bracket: str
    start: int
    separators: list[int]


def _joined(nodes: Sequence[Node]) -> Nodes:
    """The nodes with neighbouring texts joined and empty ones left out."""
    out: list[Node] = []
    texts: list[str] = []
    for node in (*nodes, None):
        if isinstance(node, str):
            texts.append(node)
            continue
        if text := "".join(texts):
            out.append(text)
        texts.clear()
        if node is not None:
            out.append(node)
    return tuple(out)


def _meaning(nodes: list[Node], opened: _Open) -> Node | None:
    """What a square bracket around the last nodes means: an alternation, a schedule, or None for lower weight."""
    marks = [nodes[i] for i in opened.separators]
    edges = [opened.start, *opened.separators, len(nodes)]

    def part(k: int) -> list[Node]:
        return nodes[edges[k] + 1 : edges[k + 1]]

    if marks and all(mark == "|" for mark in marks):
        return Turn(tuple(_joined(part(k)) for k in range(len(marks) + 1)))
    if marks in ([":"], [":", ":"]) and len(last := part(len(marks))) == 1 and isinstance(last[0], str):
        when = _WHEN.match(last[0])
        if when:
            before = _joined(part(0)) if len(marks) == 2 else ()
            return Switch(before, _joined(part(len(marks) - 1)), float(when[1]), "." in when[1])
    return None


def _schedules(text: str) -> Nodes:
    """Find the schedules and alternations; weights, escapes and BREAK stay text: they apply to what a step shows."""
    nodes: list[Node] = []
    stack: list[_Open] = []
    for found in _OUTER.finditer(text):
        token = found[0]
        if token in ("(", "["):
            stack.append(_Open(token, len(nodes), []))
        elif token in (")", "]"):
            if stack and stack[-1].bracket == {")": "(", "]": "["}[token]:
                opened = stack.pop()
                node = _meaning(nodes, opened) if token == "]" and len(stack) < DEPTH else None
                if node is not None:
                    del nodes[opened.start :]
                    nodes.append(node)
                    continue
            else:
                stack.clear()  # a bracket that closes none makes every open one text
        elif token in (":", "|") and stack and stack[-1].bracket == "[":
            stack[-1].separators.append(len(nodes))
        nodes.append(token)
    return _joined(nodes)


def parse(prompt: str, *, compose: bool = True) -> Prompt:
    """Read a prompt; any string is one.

    Args:
        prompt: as typed.
        compose: False reads AND as a word, for a negative prompt, which is one conditioning.
    """
    tags = tuple(_tag(found) for found in _TAG.finditer(prompt))
    text = _untagged(prompt)
    said = tuple(unread(text))
    texts = _AND.split(text) if compose else [text]
    if len(texts) == 1:  # without AND, "at 10:30" ends in no weight
        return Prompt(terms=((_schedules(text), 1.0),), tags=tags, unread=said)
    terms = []
    for text in texts:
        found = _TERM_WEIGHT.search(text)
        weight = _held(float(found[1])) if found else 1.0
        terms.append((_schedules((text[: found.start()] if found else text).strip()), weight))
    return Prompt(terms=tuple(terms), tags=tags, unread=said)


def appended(prompt: str, after: Callable[[str], str]) -> str:
    """The prompt with something after each term that AND composes, before its weight; a term that steers away stays.

    Args:
        after: the text of a term, without its weight -> the text with what comes after it.
    """
    edges = [0, *(edge for found in _AND.finditer(prompt) for edge in found.span()), len(prompt)]
    texts = [prompt[begin:end] for begin, end in pairwise(edges)]  # terms, and what parts them
    for i, text in enumerate(texts[::2]):
        found = _TERM_WEIGHT.search(text) if len(texts) > 1 else None
        said = text[: found.start()] if found else text
        if not (found and float(found[1]) < 0):
            texts[2 * i] = after(said.rstrip()) + text[len(said.rstrip()) :]
    return "".join(texts)


def _untagged(prompt: str) -> str:
    """The prompt without its tags, and without the space that parted them from the text."""
    text, end = "", 0
    for found in _TAG.finditer(prompt):
        text += prompt[end : found.start()].rstrip() if text else prompt[end : found.start()].strip()
        end = found.end()
    return text + (prompt[end:] if text or not end else prompt[end:].lstrip())


# ---- prompt to plan ------------------------------------------------------------------------------------------------


def _show(nodes: Nodes, step: int, steps: int, first: int | None) -> Iterator[str]:
    """The texts that stand there at a step."""
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Turn):
            yield from _show(node.options[(step - 1) % len(node.options)], step, steps, first)
        else:
            yield from _show(node.before if step <= node.last(steps, first) else node.after, step, steps, first)


def _changes(nodes: Nodes, steps: int, first: int | None) -> set[int]:
    """Every step that may show another text than the step before it."""
    out: set[int] = set()
    for node in nodes:
        if isinstance(node, Turn):
            return set(range(1, steps + 1))
        if isinstance(node, Switch):
            out.add(node.last(steps, first) + 1)
            out |= _changes(node.before, steps, first) | _changes(node.after, steps, first)
    return out


def _held(weight: float) -> float:
    return max(-LIMIT, min(LIMIT, weight))


def _broken(text: str) -> list[str]:
    """The text cut at each BREAK, without the spaces around it."""
    pieces = _BREAK.split(text)
    pieces[1:] = [piece.lstrip() for piece in pieces[1:]]
    pieces[:-1] = [piece.rstrip() for piece in pieces[:-1]]
    return pieces


def weigh(text: str) -> Weighted:
    """Read weights, escapes and BREAK in a text without schedules.

    Round and square brackets pair by themselves, so ``(a [b) c]`` weights b by both; an unclosed bracket reaches to the
    end, an unopened one is text, and so is ``:1.2)`` without its bracket.
    """
    parts: list[list[str]] = [[]]  # texts of each part between BREAKs
    count = 0  # texts so far, over all parts
    spans: dict[str, list[list[float]]] = {"(": [], "[": []}  # each bracket's [first text, end, factor], as they open
    still: dict[str, list[list[float]]] = {"(": [], "[": []}  # the open ones

    for found in _INNER.finditer(text):
        token, weight = found[0], found[1]
        if token in spans:
            span = [count, float("inf"), 1.1 if token == "(" else 1 / 1.1]
            spans[token].append(span)
            still[token].append(span)
        elif weight is not None and still["("]:
            still["("].pop()[1:] = [count, _held(float(weight))]
        elif token == ")" and still["("]:
            still["("].pop()[1] = count
        elif token == "]" and still["["]:
            still["["].pop()[1] = count
        else:
            first, *rest = [token[1:]] if token[0] == "\\" else _broken(token)
            parts[-1].append(first)
            parts.extend([piece] for piece in rest)
            count += 1 + len(rest)

    factors = [_products(spans["("], count), _products(spans["["], count)]
    weights = iter([_held(a * b) for a, b in zip(*factors, strict=True)])
    return tuple(_merged([Piece(piece, next(weights)) for piece in part]) for part in parts)


def _products(spans: list[list[float]], count: int) -> list[float]:
    """For each of ``count`` texts the product of the factors of its spans; spans nest, and come in order of opening."""
    out: list[float] = []
    stack: list[tuple[float, float]] = [(float("inf"), 1.0)]  # (end, product)
    following = iter([*(span for span in spans if span[0] < span[1]), [float("inf"), 0.0, 1.0]])
    start, end, factor = next(following)
    for k in range(count):
        while stack[-1][0] <= k:
            stack.pop()
        while start <= k:
            product = stack[-1][1] * factor
            stack.append((end, max(-1e9, min(1e9, product))))  # finite, so that a factor of 0 within stays 0
            start, end, factor = next(following)
        out.append(stack[-1][1])
    return out


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Neighbours of equal weight joined, empty ones left out."""
    out: list[tuple[list[str], float]] = []
    for piece in pieces:
        if not piece.text:
            continue
        if out and out[-1][1] == piece.weight:
            out[-1][0].append(piece.text)
        else:
            out.append(([piece.text], piece.weight))
    return tuple(Piece("".join(texts), weight) for texts, weight in out)


def plan(prompt: Prompt | str, steps: int, *, first: int | None = None) -> Plan:
    """What the prompt says at each of ``steps`` steps.

    Args:
        prompt: parsed, or as typed.
        steps: number of solver steps, >= 1.
        first: for a second pass (hires fix), the steps of the first: ``when`` 1.0 .. 2.0, or above ``first``, then
            addresses this one.

    Raises:
        InvalidInput: steps < 1.
    """
    if steps < 1:
        raise InvalidInput(f"a plan over {steps} steps is none: give 1 step or more")
    if isinstance(prompt, str):
        prompt = parse(prompt)
    changes = {1}.union(*(_changes(nodes, steps, first) for nodes, _ in prompt.terms))
    starts = sorted(step for step in changes if 1 <= step <= steps)
    known: dict[str, Weighted] = {}

    def weighted(nodes: Nodes, step: int) -> Weighted:
        text = "".join(_show(nodes, step, steps, first))
        if text not in known:
            known[text] = weigh(text)
        return known[text]

    runs: list[Run] = []
    for start, following in zip(starts, [*starts[1:], steps + 1], strict=True):
        terms = tuple(Term(weighted(nodes, start), weight) for nodes, weight in prompt.terms)
        if runs and runs[-1].terms == terms:
            runs[-1] = runs[-1]._replace(stop=following - 1)
        else:
            runs.append(Run(start, following - 1, terms))
    return Plan(steps=steps, runs=tuple(runs), tags=prompt.tags, unread=prompt.unread)
