"""A painter measured on what it never saw, beside real art measured alike.

for said in evaluate("danqing-mini", Path("data"), Path("out"), pictures=300):
    ...                                Progress while it paints, the Evaluation last

What is painted is kept in the folder, and not painted again by the same weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ...errors import InvalidInput
from ...learn.measures import quality
from ...painting.load import load
from ...painting.loaded import LoadedModel
from ...painting.painter import Painter
from ...pictures import encode, files, read
from ...request.request import Request
from ...store.find import find
from ...store.shipped import DEFAULT
from ...version import __version__
from .. import features
from .. import judge as judging
from ..gallery import fitted
from ..judge import Judge
from . import scores
from .art import Art, Row
from .asked import HELD_OUT, Asked, asked, drawn
from .intervals import Figure, bootstrap, mean, share
from .prompts import PROMPTS, SEED
from .variance import open_variance

#: The side that pictures are judged at, and the one that features are read at.
SIDE, SMALL = 128, 64
#: A painted picture is a copy where it is nearer to one trained on than so many of the real ones that are held out are.
COPY = 0.01
#: How many of the nearest pairs are shown; of how many pictures the open variance is.
PAIRS, OPEN = 12, 128
#: The seed of all that is asked for.
EACH = 1
EYE = ("recognisable", "half", "not")


class Progress(NamedTuple):
    """How far the work is: what is done, ``done`` of ``of``."""

    what: str
    done: int
    of: int


class Shown(NamedTuple):
    """A picture on the page: its words, its file or its pixels (3, H, W) of bytes."""

    words: str
    pixels: Tensor


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that was measured.

    Args:
        about: the model, the judge and the art by their hashes, and how it painted.
        figures: by name.
        details: of the portraits by attribute.
        open_variance: "trained" and "heldout"; empty where the model is none that this is defined of.
        eye: how many of `PROMPTS` a person found recognisable, half and not; None until one has looked.
        samples: how many pictures its training saw, where its description says so.
        shown: the sheets of the page, title -> rows of pictures.
    """

    about: Mapping[str, Any]
    figures: Mapping[str, Figure]
    details: Mapping[str, Mapping[str, Figure]]
    open_variance: Mapping[str, float]
    eye: Mapping[str, int] | None
    samples: int | None
    shown: Mapping[str, Sequence[Sequence[Shown]]] = field(default_factory=dict, repr=False)

    def plain(self) -> dict[str, Any]:
        """As JSON, without pictures."""
        said = {name: _rounded(asdict(figure)) for name, figure in self.figures.items()}
        parts = {
            name: {each: _rounded(asdict(figure)) for each, figure in of.items()} for name, of in self.details.items()
        }
        return {
            **said,
            "prompts": self.eye,
            "open_variance": _rounded(self.open_variance),
            "samples": self.samples,
            "details": parts,
            "about": dict(self.about),
        }


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def evaluate(
    model: str,
    folder: Path,
    out: Path,
    *,
    pictures: int = 2100,
    seen: Sequence[int] | None = None,
    device: str | None = None,
    judge: Judge | None = None,
) -> Iterator[Progress | Evaluation]:
    """Paint `PROMPTS` and ``pictures`` more, and measure.

    Args:
        model: a name or a folder.
        folder: of art, as `python -m experiments.data` makes it.
        out: that keeps what is painted.
        seen: how many of `PROMPTS` are recognisable, half so, and not, as a person found.
        judge: another than the one that ships.

    Raises:
        UnknownName: there is no such model. InvalidFile: no such art, or no judge.
        InvalidInput: the model hears no words; a number of pictures or of prompts that is not possible.
    """
    if "text" not in (described := find(model)).components:
        raise InvalidInput(
            f"{described.name} hears no words; possible is a model that paints of words, such as {DEFAULT}. "
            "`danqing compare` measures any"
        )
    if pictures < 20:
        raise InvalidInput(f"pictures: {pictures} was given; possible is a whole number from 20 up")
    eye = None if seen is None else _eye(seen)
    art, judge = Art(folder), judge or judging.load(device=device or "cpu")
    wanted, loaded = asked(art, pictures), load(model, device)
    painting = Painting(loaded, out / "pictures")
    first = [Request(model=model, prompt=prompt, seed=SEED) for prompt in PROMPTS]
    rest = [Request(model=model, prompt=one.prompt, seed=EACH, index=i, finish=()) for i, one in enumerate(wanted)]
    done: list[Tensor] = []
    for request in (*first, *rest):
        yield Progress("painting", len(done), len(first) + len(rest))
        done.append(painting.of(request))
    yield Progress("measuring", 0, 1)
    measured = Measured(art, judge, wanted, torch.stack(done[len(first) :]))
    figures = {**measured.pairs(), **measured.scenes(), **measured.colours(), **measured.likeness()}
    parts = measured.portraits()
    figures["portraits"] = share(*(torch.cat([*each]) for each in zip(*parts.values(), strict=True)))
    yield Progress("what words leave open", 0, 1)
    yield Evaluation(
        about=_about(loaded, art, pictures + len(first)),
        figures=figures,
        details={"portraits": {name: share(*each) for name, each in parts.items()}},
        open_variance=_open(loaded, art, min(OPEN, pictures // 4)),
        eye=eye,
        samples=loaded.model.trained.get("samples") or loaded.model.trained.get("pictures"),
        shown={"the 64 prompts": _lines([Shown(p, x) for p, x in zip(PROMPTS, done, strict=False)], 8)}
        | measured.sheets(),
    )


def _eye(seen: Sequence[int]) -> dict[str, int]:
    if len(seen) != len(EYE) or min(seen) < 0 or sum(seen) != len(PROMPTS):
        raise InvalidInput(
            f"seen: {','.join(map(str, seen))} was given; possible are three whole numbers that add up to "
            f"{len(PROMPTS)}: how many are recognisable, half so, and not, as 23,20,21"
        )
    return dict(zip(EYE, seen, strict=True))


def _about(loaded: LoadedModel, art: Art, pictures: int) -> dict[str, Any]:
    used = {name: loaded.defaults.get(name) for name in ("steps", "solver", "spacing", "scale", "style")}
    return {
        "danqing": __version__,
        "model": loaded.model.name,
        "sha256": loaded.sha256,
        "ledger": art.sha256,
        "pictures": pictures,
        "defaults": {name: value for name, value in used.items() if value is not None},
        "precision": loaded.precision,
    }


def _open(loaded: LoadedModel, art: Art, count: int) -> dict[str, float]:
    if not isinstance(loaded, Painter):
        return {}
    splits = {"trained": ("train",), "heldout": HELD_OUT}
    return {
        name: open_variance(loaded, art, drawn(art.of("singles", *split), "open")[:count])
        for name, split in splits.items()
    }


class Painting:
    """Pictures of requests, painted once.

    Args:
        loaded: the model.
        folder: where they are kept, by what they depend on.
    """

    def __init__(self, loaded: LoadedModel, folder: Path):
        self.loaded, self.folder = loaded, folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, request: Request) -> Tensor:
        """Bytes (3, `SIDE`, `SIDE`)."""
        resolved = self.loaded.resolve(request).but(model=self.loaded.model.name)
        key = json.dumps([self.loaded.sha256, __version__, resolved.model_dump(mode="json")], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.png"
        if path.is_file():
            return fitted(read.picture(path), SIDE)
        picture = self.loaded.paint(request).image.resize((SIDE, SIDE), Image.Resampling.BOX)
        files.put(path, encode.to_bytes(picture, {"format": "PNG"}), overwrite=True)
        return fitted(picture, SIDE)


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
        en, zh, known = (self.judge.told(each) for each in (english, chinese, real))
        subjects, styles = ([row[name] for row in rows] for name in ("subject", "style"))
        right, twin, best = (told.right("subject", subjects) for told in (en, zh, known))
        gap = 100 * (right.double() - twin.double())
        return {
            "subject": share(right, best),
            "subject_in_five": share(*(told.right("subject", subjects, 5) for told in (en, known))),
            "style": share(*(scores.styles(told, styles) for told in (en, known))),
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
                lambda i: 100 * quality.covered(ours[i], theirs), len(ours), 100 * quality.covered(others, theirs)
            ),
            "recall": bootstrap(
                lambda i: 100 * quality.covered(theirs[i], ours), len(ours), 100 * quality.covered(theirs, others)
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


def _lines(shown: Sequence[Shown], columns: int) -> list[list[Shown]]:
    return [list(shown[i : i + columns]) for i in range(0, len(shown), columns)]
