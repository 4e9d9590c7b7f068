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
from ...painting.load import load
from ...painting.loaded import LoadedModel
from ...painting.painter import Painter
from ...pictures import encode, files, read
from ...request.request import Request
from ...store.find import find
from ...store.shipped import DEFAULT
from ...version import __version__
from .. import judge as judging
from ..gallery import fitted
from ..judge import Judge
from .art import Art
from .asked import HELD_OUT, asked, drawn
from .intervals import Figure, share
from .measured import Measured, Shown
from .prompts import PROMPTS, SEED
from .variance import open_variance

#: The side that pictures are judged at; of how many pictures the open variance is.
SIDE, OPEN = 128, 128
#: The seed of all that is asked for.
EACH = 1
EYE = ("recognisable", "half", "not")


class Progress(NamedTuple):
    """How far the work is: what is done, ``done`` of ``of``."""

    what: str
    done: int
    of: int


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


def _lines(shown: Sequence[Shown], columns: int) -> list[list[Shown]]:
    return [list(shown[i : i + columns]) for i in range(0, len(shown), columns)]
