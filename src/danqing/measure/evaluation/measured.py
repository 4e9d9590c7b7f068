"""What was painted, beside what was asked for and real art: the figures, and the sheets that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...learn.measures import quality
from .. import features
from ..judge import Judge
from . import scores
from .art import Art, Row
from .asked import Asked, drawn
from .intervals import Figure, bootstrap, mean, share

#: A painted picture is a copy where it is nearer to one trained on than so many of the real ones that are held out are.
COPY = 0.01
#: How many pictures of a kind, and how many of the nearest pairs, are shown.
PAIRS = 12


class Shown(NamedTuple):
    """A picture on the page: its words, its file or its pixels (3, H, W) of bytes."""

    words: str
    pixels: Tensor


class Measured:
    """What was painted, beside what was asked for and real art.

    Args:
        wanted, painted: as many of each, bytes (N, 3, `SIDE`, `SIDE`).
    """

    def __init__(self, art: Art, judge: Judge, wanted: Sequence[Asked], painted: Tensor):
        self.art, self.judge, self.wanted, self.painted = art, judge, wanted, painted

    def kind(self, kind: str, lang: str = "en") -> tuple[list[Row], Tensor]:
        """What was asked for of a kind, and what was painted."""
        chosen = [i for i, one in enumerate(self.wanted) if (one.kind, one.lang) == (kind, lang)]
        return [self.wanted[i].row for i in chosen], self.painted[chosen]

    def real(self, kind: str) -> tuple[list[Row], Tensor]:
        """The real pictures beside."""
        rows = [one.real for one in self.wanted if one.kind == kind and one.lang == "en" and one.real is not None]
        return rows, self.art.pictures(rows) if rows else self.painted[:0]

    def pairs(self) -> dict[str, Figure]:
        """Subject and style of held-out pairs, and how much less is right that was asked for in Chinese."""
        (rows, english), (_, chinese), (_, real) = self.kind("pair"), self.kind("pair", "zh"), self.real("pair")
        en, zh, known = (self.judge.answers(each) for each in (english, chinese, real))
        subjects, styles = ([row[name] for row in rows] for name in ("subject", "style"))
        right, twin, best = (found.right("subject", subjects) for found in (en, zh, known))
        gap = 100 * (right.double() - twin.double())
        return {
            "subject": share(right, best),
            "subject_in_five": share(*(found.right("subject", subjects, 5) for found in (en, known))),
            "style": share(*(scores.styles(found, styles) for found in (en, known))),
            "chinese_gap": mean(gap),
        }

    def scenes(self) -> dict[str, Figure]:
        """Two things and where they are; how many things there are."""
        (rows, painted), (own, real) = self.kind("scene"), self.real("scene")
        (both, placed), (real_both, real_placed) = (
            scores.scenes(self.judge, *each) for each in ((painted, rows), (real, own))
        )
        (rows, painted), (own, real) = self.kind("count"), self.real("count")
        return {
            "two_objects": share(both, real_both),
            "position": share(placed, real_placed),
            "count": share(scores.counts(painted, rows), scores.counts(real, own)),
        }

    def colours(self) -> dict[str, Figure]:
        chosen = [i for i, one in enumerate(self.wanted) if one.kind == "colour"]
        own, real = self.real("colour")
        said = [self.wanted[i].colour for i in chosen]
        named = [_colour(row, colour) for row, colour in zip(own, said, strict=False)]
        return {"colour": share(scores.coloured(self.painted[chosen], said), scores.coloured(real, named))}

    def portraits(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Question -> whether each painted and each real picture has what was asked of it."""
        (rows, painted), (own, real) = self.kind("portrait"), self.real("portrait")
        mine, theirs = (scores.portraits(self.judge, *each) for each in ((painted, rows), (real, own)))
        return {question: (mine[question], theirs[question]) for question in mine}

    # ---------------------------------------------------------------------------------------------------- likeness

    def likeness(self) -> dict[str, Figure]:
        """Fréchet distance, precision and recall of held-out pairs against as many real ones; how many are copies."""
        net = features.load()
        (rows, painted), (_, real) = self.kind("pair"), self.real("pair")
        ours, theirs = features.of(net, painted), features.of(net, real)
        others = features.of(net, self.art.pictures(self._alike(rows)))
        self.known = drawn(self.art.of("singles", "train"), "known")
        trained = torch.cat([
            features.of(net, self.art.pictures(self.known[i : i + 512])) for i in range(0, len(self.known), 512)
        ])  # fmt: skip
        near = quality.nearest(theirs, trained)
        self.limit = float(near.quantile(COPY))
        seen = features.of(net, self.kind("seen")[1])
        self.nearest = {"unseen": _nearest(ours, trained), "seen": _nearest(seen, trained)}
        return {
            "frechet": bootstrap(
                lambda i: quality.frechet(ours[i], theirs[i]), len(ours), quality.frechet(others, theirs)
            ),
            "precision": bootstrap(
                lambda i: 100 * quality.covered(ours[i], theirs), len(ours), 100 * quality.covered(others, theirs), 100
            ),
            "recall": bootstrap(
                lambda i: 100 * quality.covered(theirs[i], ours), len(ours), 100 * quality.covered(theirs, others), 100
            ),
            "copies": share(self.nearest["unseen"][0] < self.limit, near < self.limit),
            "copies_seen": share(self.nearest["seen"][0] < self.limit),
        }

    def _alike(self, rows: Sequence[Row]) -> list[Row]:
        """As many real pictures that are trained on, of the same styles."""
        by: dict[str, list[Row]] = {}
        for row in drawn(self.art.of("singles", "train"), "alike"):
            by.setdefault(row["style"], []).append(row)
        return [by[row["style"]].pop() for row in rows]

    # ------------------------------------------------------------------------------------------------------ sheets

    def sheets(self) -> dict[str, list[list[Shown]]]:
        """The first pictures of each kind, real ones first; the nearest pairs."""
        made = {}
        langs = {"pair": ("en", "zh"), "scene": ("en",), "colour": ("en",), "portrait": ("en",), "count": ("en",)}
        titles = {
            "pair": "held-out pairs: real, from English, from Chinese",
            "scene": "two things: real (of another caption), painted",
            "colour": "colours: real (of another caption), painted",
            "portrait": "portraits: real, painted",
            "count": "how many: real, painted",
        }
        for kind, spoken in langs.items():
            rows, real = self.real(kind)
            lines = [[Shown("real", picture) for picture in real[:PAIRS]]] if rows else []
            for lang in spoken:
                chosen = [i for i, one in enumerate(self.wanted) if (one.kind, one.lang) == (kind, lang)][:PAIRS]
                lines.append([Shown(self.wanted[i].prompt, self.painted[i]) for i in chosen])
            made[titles[kind]] = lines
        for name, kind in (("unseen", "pair"), ("seen", "seen")):
            made[f"{name} captions: the pictures nearest to one trained on, and that one"] = self._closest(name, kind)
        return made

    def _closest(self, name: str, kind: str) -> list[list[Shown]]:
        distances, places = self.nearest[name]
        chosen = [one for one in self.wanted if (one.kind, one.lang) == (kind, "en")]
        order, (_, painted) = distances.argsort()[:PAIRS].tolist(), self.kind(kind)
        mark = {i: " (copy)" if distances[i] < self.limit else "" for i in order}
        mine = [Shown(f"{chosen[i].prompt}: {distances[i]:.2f}{mark[i]}", painted[i]) for i in order]
        rows = [self.known[int(places[i])] for i in order]
        theirs = [Shown(self.art.single(r, "en"), p) for r, p in zip(rows, self.art.pictures(rows), strict=True)]
        return [mine, theirs]


def _colour(row: Row, asked: str) -> str:
    """The colour of a real picture: that which was asked for of a recoloured one, else what its name says."""
    return asked if "colours" in row else row["label_en"].split()[0]


def _nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The distance to the nearest of (M, D), (N,), and its place."""
    found = torch.cdist(points, known).min(1)
    return found.values, found.indices
