"""Several pictures painted in step: each as if alone, and what they ask of one network at a time is asked in one call.

A small network takes little longer for several pictures than for one. Each picture's recipe runs in a greenlet of its
own, on the same thread: where it asks the network it waits until all others ask too, or are done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor

from ..types import Conditioning, Denoised, State

#: Who the picture that is painted at the moment is painted together with.
COMPANY: ContextVar[Company | None] = ContextVar("company", default=None)
#: Cells of latents that one call sees at most: of more, a network takes as long a picture as of one.
CELLS = 8192


@dataclass(frozen=True, eq=False)
class Question:
    """What one picture asks of its network.

    Args:
        ask: the network, as that picture has it.
        alike: equal where the networks answer alike, beside the proof.
        proof: of a network's pictures: by how many of which kind are asked together, whether each has the bytes that it
            has alone, as far as that was found out; None where no other picture's network answers alike.
    """

    ask: Callable[[Tensor, Tensor, Conditioning], Denoised]
    alike: Hashable
    x: Tensor
    t: Tensor
    cond: Conditioning
    proof: dict[Hashable, bool] | None = None

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """Equal for those that one call can answer; the first part is whose proof it is."""
        cond = self.cond
        if self.proof is None:
            return (object(),)
        shapes = [(name, part.shape[1:]) for name, part in (*cond.extra.items(), *cond.maps.items())]
        parts = [None if part is None else part.shape[1:] for part in (cond.tokens, cond.pooled, cond.concat)]
        return id(self.proof), self.alike, self.x.shape[1:], self.x.dtype, tuple(parts), tuple(sorted(shapes))

    @property
    def cells(self) -> int:
        return self.x.shape[0] * self.x.shape[2:].numel()

    def answer(self) -> Denoised:
        return self.ask(self.x, self.t, self.cond)


class Company:
    """Pictures that are painted together, on the way of whoever has them painted."""

    def __init__(self) -> None:
        self.home = getcurrent()

    def asked(self, question: Question) -> Denoised:
        """The network's answer, once all have asked."""
        with torch.inference_mode(False):  # the mode is the thread's: whoever goes on meanwhile begins without
            return self.home.switch(question)


def asked(question: Question) -> Denoised:
    """The answer to a picture's question: at once where it is painted alone, else together with the others'."""
    company = COMPANY.get()
    return question.answer() if company is None else company.asked(question)


@dataclass(frozen=True)
class Event:
    """Something that a picture yields: the how-manieth of them, and what."""

    which: int
    what: Any


def together(works: Sequence[Callable[[], Iterator[Any]]]) -> Generator[tuple[int, Any]]:
    """All that the works yield, each with its work's place, as it comes; of one that fails the exception, last.

    Only ``Exception`` is caught of a work; an interrupt ends them all.
    """
    company = Company()

    def run(which: int, work: Callable[[], Iterator[Any]]) -> Event:
        COMPANY.set(company)
        try:
            for what in work():
                company.home.switch(Event(which, what))
        except Exception as error:
            return Event(which, error)
        return Event(which, None)

    live = {which: greenlet(run) for which, _ in enumerate(works)}
    resumes: dict[int, Callable[[], Any]] = {
        which: lambda which=which: live[which].switch(which, works[which]) for which in live
    }
    try:
        while resumes:
            questions: dict[int, Question] = {}
            for which, resume in resumes.items():
                said = resume()
                while isinstance(said, Event):
                    if said.what is not None:
                        yield which, said.what
                    if live[which].dead:
                        break
                    said = live[which].switch()
                else:
                    questions[which] = said
            resumes = _answers(questions, live)
    finally:
        for each in live.values():
            if each and not each.dead:  # it is begun, and waits
                with suppress(GreenletExit):
                    each.throw(GreenletExit)


def _answers(questions: dict[int, Question], live: dict[int, greenlet]) -> dict[int, Callable[[], Any]]:
    """How each of those who asked goes on: with its answer, or with what went wrong."""
    groups: dict[Hashable, list[int]] = {}
    for which, question in questions.items():
        groups.setdefault(question.kind, []).append(which)
    found: dict[int, Callable[[], Any]] = {}
    for group in groups.values():
        for part in _split(group, questions):
            for which, answer in zip(part, _told([questions[which] for which in part]), strict=True):
                go_on = live[which].throw if isinstance(answer, Exception) else live[which].switch
                found[which] = partial(go_on, answer)
    return {which: found[which] for which in questions}


def _split(group: Sequence[int], questions: dict[int, Question]) -> Iterator[list[int]]:
    """A group in parts of as many as one call sees."""
    most = max(1, CELLS // max(1, questions[group[0]].cells))
    for begin in range(0, len(group), most):
        yield list(group[begin : begin + most])


def _told(questions: Sequence[Question]) -> Sequence[Denoised | Exception]:
    """The answer to each question, of one call; of a call for each where that fails, or where the machine's kernels
    give other bytes in company."""
    first, last = questions[0], questions[-1]
    if len(questions) > 1 and first.proof is not None:
        key = (first.kind[1:], *(len(each.x) for each in questions))
        with suppress(Exception):  # it is met again by the one whose it is
            if first.proof.get(key, True):
                answers = _one_call(questions)
                if key not in first.proof:  # whatever is true of the first and the last is true of those between
                    first.proof[key] = _same(answers[0], _alone(first)) and _same(answers[-1], _alone(last))
                if first.proof[key]:
                    return answers
    found: list[Denoised | Exception] = []
    for each in questions:
        try:
            found.append(_alone(each))
        except Exception as error:
            found.append(error)
    return found


def _same(one: Denoised, other: Denoised) -> bool:
    """Whether two answers have the same bytes."""
    return all(
        a is b is None or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


@torch.inference_mode()
def _alone(question: Question) -> Denoised:
    return question.answer()


@torch.inference_mode()
def _one_call(questions: Sequence[Question]) -> list[Denoised]:
    """The answers of one call."""
    first, *rest = questions
    x, t = torch.cat([each.x for each in questions]), torch.cat([each.t for each in questions])
    answer = first.ask(x, t, first.cond.cat(*(each.cond for each in rest)))
    counts = [len(each.x) for each in questions]
    parts = [[None] * len(counts) if part is None else part.split(counts) for part in answer]
    return [Denoised._make(several) for several in zip(*parts, strict=True)]


def in_order(works: Sequence[Callable[[], Iterator[Any]]], step: Callable[[int, State], None]) -> Iterator[Any]:
    """The picture of each work, or the exception in its place, in the order of the works; ``step`` is told of each
    state on the way, with its work's place."""
    done, due = dict[int, Any](), 0
    with closing(together(works)) as events:
        for which, what in events:
            if isinstance(what, State):
                step(which, what)
            else:
                done[which] = what
            while due in done:
                yield done[due]
                due += 1
