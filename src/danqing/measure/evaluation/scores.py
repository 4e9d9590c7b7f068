"""How each kind of picture is scored: painted ones by what was asked for, real ones by what the ledger says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .. import colours, pieces
from ..judge import Answers, Judge
from .art import ATTRIBUTES, Row, answers

#: A thing in a scene is right where its subject is among so many guesses: it is small there.
GUESSES = 5
#: From which part of what is drawn a colour is there.
ENOUGH = 0.2
#: Styles that no eye tells apart: Fluent's 3D pictures are rendered from the drawings of its gradient ones.
SAME = {"gradient": "3d"}


def styles(found: Answers, wanted: Sequence[str]) -> Tensor:
    """Whether each picture looks most like the style wanted, (N,) of bool; styles of the same drawings are one."""
    names = found.words["style"]
    looks = [SAME.get(name, name) for name in names]
    same = torch.tensor([[float(look == other) for other in looks] for look in looks])
    likely = (found.probability("style") @ same).argmax(1).tolist()
    return torch.tensor([looks[i] == SAME.get(name, name) for i, name in zip(likely, wanted, strict=True)])


def scenes(judge: Judge, pictures: Tensor, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Of scenes of two things, whether both are right and rightly placed, and whether they are rightly placed: two of
    (N,) of bool.

    The picture is cut between the things; both are right where each half shows its own among the judge's first guesses,
    rightly placed where the halves the other way around are less likely: by chance one of two is.
    """
    shown, which = [], []
    for i, (picture, row) in enumerate(zip(pictures, rows, strict=True)):
        halves = pieces.halves(picture, row["relation"])
        for place, mask in enumerate(halves or ()):
            shown.append(pieces.cut_out(picture, mask))
            which.append((i, place))
    right, placed = torch.zeros(len(rows), 2, dtype=torch.bool), torch.zeros(len(rows), dtype=torch.bool)
    if not shown:
        return right.all(1), placed
    found = judge.answers(torch.stack(shown))
    right[tuple(zip(*which, strict=True))] = found.right(
        "subject", [rows[i]["pieces"][place]["subject"] for i, place in which], GUESSES
    )
    word = {name: n for n, name in enumerate(judge.words["subject"])}
    likely = found.logits["subject"].log_softmax(1)
    for n in range(0, len(which), 2):  # the halves of a picture follow each other
        first, second = (word[piece["subject"]] for piece in rows[which[n][0]]["pieces"])
        placed[which[n][0]] = bool(likely[n, first] + likely[n + 1, second] > likely[n, second] + likely[n + 1, first])
    return right.all(1), placed


def counts(pictures: Tensor, rows: Sequence[Row]) -> Tensor:
    """Whether a picture shows as many things apart as its row has, (N,) of bool."""
    return torch.tensor([
        len(pieces.found(picture)) == len(row["pieces"]) for picture, row in zip(pictures, rows, strict=True)
    ])  # fmt: skip


def coloured(pictures: Tensor, wanted: Sequence[str]) -> Tensor:
    """Whether a colour covers `ENOUGH` of what is drawn, (N,) of bool."""
    places = [list(colours.NAMES).index(name) for name in wanted]
    found = []
    for picture, place in zip(pictures, places, strict=True):
        drawn = np.asarray(pieces.things(picture))
        found.append(colours.shares(np.asarray(picture.movedim(0, -1)), drawn)[place] >= ENOUGH)
    return torch.tensor(found, dtype=torch.bool)


def portraits(judge: Judge, pictures: Tensor, rows: Sequence[Row]) -> dict[str, Tensor]:
    """Question -> whether each picture of which it is asked has it, of bool."""
    given, found = judge.answers(pictures), {}
    said = [answers(row["attributes"]) for row in rows]
    for question in ("person", "expression", *ATTRIBUTES):
        asked = [i for i, each in enumerate(said) if each.get(question) in judge.words[question]]
        if asked:
            found[question] = given.at(asked).right(question, [said[i][question] for i in asked])
    return found
