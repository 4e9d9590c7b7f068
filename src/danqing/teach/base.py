"""What the trainings on somebody's own pictures have in common; each family says the rest in a file of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from ..learn.training.experiment import Count, Experiment, Free, settings
from ..learn.training.loop import Training
from ..levels import levels_of, to_arrays
from ..pictures.grid import labelled
from ..run.device import find_device, send
from ..weights.store import sha256
from .own import Own
from .table import TRAINABLE
from .usual import grid
from .written import effort, filled, millions, took, write_networks

CARD = """\
# {name}

{about}

| | |
|---|---|
| pictures | {pictures}, of the folder "{folder}" |
| steps | {steps:,} |
| core-hours | {core_hours:.2f} |

{took}

Its pictures may resemble those of the folder: whoever passes the model on needs the right to pass them on.

| file | sha256 |
|---|---|
{files}
"""
#: Of a sheet: pictures a row, pictures of the folder, and how wide a picture is shown at least.
COLUMNS, SHOWN, WIDE = 8, 8, 64


Side = Literal[8, 16, 32, 64, 128, 256]
Width = Annotated[int, Field(ge=8, multiple_of=8)]
#: What a rate or a speed is, and the decay of an average.
Above = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class OwnPictures(Experiment):
    """A network learns what lies in a folder.

    The rate stays as it is, and what is shown and exported are averaged weights: so a run that has come to its end goes
    on when ``steps`` grows.

    Args:
        folder: the pictures; its sub-folders are classes, to a family that knows any.
        size: side of the pictures, in pixels; smaller ones are left out, larger ones cut to their middle and reduced.
        width: of the network, in channels.
        batch: pictures a step.
        rate: of learning.
        average: decay of the averaged weights, a step.
        mirror: show half of the pictures mirrored left to right.
        seed: of the first weights and of all that is drawn.
    """

    FAMILY: ClassVar[str]
    ABOUT: ClassVar[str]
    ROLE: ClassVar[str] = "generator"

    steps: Free[Count] = 1500
    log_every: Free[Count] = 10
    sample_every: Free[Count] = 250
    folder: Free[Path] = Path("pictures")
    size: Side = 32
    width: Width = 32
    batch: Count = 16
    rate: Above = 0.01
    average: Decay = 0.99
    mirror: bool = True
    seed: int = 0

    @cached_property
    def own(self) -> Own:
        """What it learns from."""
        return Own.load(self.folder, self.size, family=self.FAMILY, least=TRAINABLE[self.FAMILY].least)

    @property
    def halvings(self) -> int:
        """How often a picture halves down to 4×4."""
        return self.size.bit_length() - 3

    def binding(self) -> dict[str, Any]:
        return {"family": self.FAMILY, **settings(self, fixed=True), "pictures": self.own.identity}

    def training(self) -> Training:
        self.own  # is refused, if it is, before a network is made  # noqa: B018
        torch.manual_seed(self.seed)
        run = self.begun()
        run.seed, run.notes = self.seed, self.own.notes
        return run

    @abstractmethod
    def begun(self) -> Training:
        """The training at its first step, torch being seeded."""

    @abstractmethod
    def network(self, run: Training) -> nn.Module:
        """The averaged network that paints."""

    @abstractmethod
    def painted(self, run: Training) -> Tensor:
        """What it paints by now, the same whenever it is asked: (N, 3, S, S), about [-1, 1]."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """What its model.json says beside the names and the network: "defaults", "text", "schedule"."""

    def pictures(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step on the device: (B, 3, S, S) in [-1, 1], and labels (B,)."""
        where = find_device()
        pictures, labels = (send(part, where) for part in self._batches(step))
        return levels_of(pictures), labels

    @cached_property
    def _batches(self) -> Any:
        return self.own.batches(self.batch, f"{self.seed}/own", mirror=self.mirror)

    @property
    def classes(self) -> dict[str, Any]:
        """How a model hears the folder's classes; a name of several words by spaces too."""
        spelt = ([name, name.replace("_", " ").replace("-", " ")] for name in self.own.names)
        return {"kind": "classes", "names": [list(dict.fromkeys(each)) for each in spelt]}

    def spread_labels(self, count: int) -> Tensor:
        """So many labels, evenly over the classes: (count,)."""
        return torch.arange(count) * len(self.own.names) // count

    # -------------------------------------------------------------------------------------- what it shows and gives

    @cached_property
    def _before(self) -> Image.Image:
        return self._shown(self.training())

    @torch.no_grad()
    def _shown(self, run: Training) -> Image.Image:
        above = levels_of(self.own.spread(SHOWN))
        sheet = grid(to_arrays(torch.cat([above, self.painted(run).cpu().float()])), COLUMNS)
        scale = max(1, WIDE // self.size)
        return sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)

    def samples(self, run: Training) -> Image.Image:
        """Before and after: of either side pictures of the folder are the first row, what the network paints the
        others."""
        after = f"after {run.step} steps"
        title = f"{self.own.folder}, {self.FAMILY}: the first row is the folder's"
        return labelled([self._before, self._shown(run)], ("before", after), ("",), title)[0]

    def export(self, run: Training, folder: Path, core_hours: float) -> None:
        net, trained = self.network(run), effort(run, self.batch, core_hours)
        name, own = f"{self.own.folder}-{self.FAMILY}", f"{len(self.own.pictures)} pictures of {self.own.folder}"
        side, described = self.size, dict(self.description())
        write_networks(
            folder,
            name=name,
            parts={self.ROLE: net},
            trained=trained,
            multiple=side,
            summary=f"{side} px, learned from {own}",
            licence=f"that of the pictures of {self.own.folder}",
            defaults={"width": side, "height": side, **described.pop("defaults")},
            **described,
        )
        said = CARD.format(
            name=name,
            about=filled(f"{self.ABOUT} {side} px, {millions(net):.1f}M parameters."),
            pictures=len(self.own.pictures),
            folder=self.own.folder,
            steps=run.step,
            core_hours=core_hours,
            took=filled(f"Trained {took(trained)}."),
            files="\n".join(f"| {file.name} | `{sha256(file)}` |" for file in sorted(folder.glob("*.safetensors"))),
        )
        (folder / "CARD.md").write_text(said, encoding="utf-8")
