"""A finished training as a model folder: weights in bf16, `model.json`, and a card that says what it is and what it was
made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from danqing.learn.training.loop import Training
from danqing.store.model import Model
from danqing.teach.written import effort, filled, millions, took, write_networks
from danqing.weights.load import save
from danqing.weights.store import sha256
from experiments.art import CHINESE

CARD = """\
# {name}

{about}

{trained}

## Data
{sources}{data}
## Measured

{metrics}

## Limits

{limits}

## Files

| file | sha256 |
|---|---|
{files}
"""


ART = """\
Only openly licensed art, fetched by package name and pinned version; the ledger that `python -m experiments.data`
writes has a line for every picture with its subject, style, package, version, licence and author.

| source | version | licence | author | pictures trained on |
|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a card says that no code knows.

    Args:
        summary: half a sentence, for lists.
        about: what it is and what it does, a sentence or more.
        limits: what it does not do.
    """

    summary: str
    about: str
    limits: str

    def of(self, **values: str) -> Words:
        """With values in their places, "{art}"."""
        return Words(**{name: text.format(**values) for name, text in asdict(self).items()})


def card(
    folder: Path,
    name: str,
    words: Words,
    networks: Iterable[nn.Module],
    *,
    trained: str,
    rows: Iterable[Mapping],
    metrics: str,
    data: str = "",
) -> str:
    """The text of CARD.md.

    Args:
        folder: where its files lie.
        networks: of the model, all of them.
        trained: where and how long.
        rows: the lines of the ledger that it was trained on; none where it needed no art.
        data: what more is to say of them.
    """
    rows = list(rows)
    megabytes = sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".md") / 1e6
    size = f"{sum(map(millions, networks)):.1f}M parameters, {megabytes:.1f} MB in bf16"
    attributed = "The Creative Commons Attribution sets are named above with their authors, as their licence asks."
    data = f"{data} {attributed}" if any(row["licence"].startswith("CC-BY") for row in rows) else data
    return CARD.format(
        name=name,
        about=filled(f"{words.about} {size}. Trained by this project alone: `experiments/` holds every step."),
        limits=filled(words.limits),
        trained=filled(f"Trained {trained}."),
        sources=f"\n{ART}{sources(rows)}\n" if rows else "",
        data=f"\n{filled(data)}\n" if data else "",
        metrics=metrics,
        files="\n".join(f"| {file.name} | `{sha256(file)}` |" for file in sorted(folder.glob("*.safetensors"))),
    )


def sources(rows: Iterable[Mapping]) -> str:
    """Where pictures are from, with licences and authors: the lines of a table."""
    counts = Counter((row["package"], row["version"], row["licence"], row["author"]) for row in rows)
    return "\n".join(f"| {' | '.join(source)} | {n} |" for source, n in sorted(counts.items()))


def licence(rows: Iterable[Mapping]) -> str:
    """That of the weights, and those of the art."""
    return f"Apache-2.0; trained on {', '.join(sorted({row['licence'] for row in rows}))} art"


def classes(names: Sequence[str]) -> dict[str, Any]:
    """How a model of `Art.names` hears prompts, for `zoo.write_model`: a class's label is its place."""
    return {"kind": "classes", "names": [[name, CHINESE[name]] for name in names]}


def measured(metrics: Mapping[str, float]) -> str:
    """Numbers by name as a table."""
    if not metrics:
        return "Its training measured nothing of art that was kept apart."
    lines = (f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return "\n".join(
        (
            "Of what it was not trained on, with the averaged weights:",
            "",
            "| measure | value |",
            "|---|---|",
            *lines,
        )
    )


def write_network(
    folder: Path,
    run: Training,
    core_hours: float,
    *,
    name: str,
    file: str,
    net: nn.Module,
    words: Words,
    rows: Sequence[Mapping],
    batch: int,
    metrics: Mapping[str, float],
    data: str = "",
) -> None:
    """Write a network that is no model by itself, such as a finish's, and its card into an empty folder; arguments as
    of `write`, and of `card` the data."""
    save(net, folder / file, dtype=torch.bfloat16)
    trained = took(effort(run, batch, core_hours))
    said = card(folder, name, words, [net], trained=trained, rows=rows, metrics=measured(metrics), data=data)
    (folder / "CARD.md").write_text(said, encoding="utf-8")


def write(
    folder: Path,
    run: Training,
    core_hours: float,
    *,
    name: str,
    parts: Mapping[str, nn.Module],
    words: Words,
    rows: Sequence[Mapping],
    batch: int,
    defaults: Mapping[str, Any],
    metrics: Mapping[str, float],
    text: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    **description: Any,
) -> Model:
    """Write the networks of a finished training, their description and their card into an empty folder.

    Args:
        run, core_hours: as `Experiment.export` gets them.
        parts: the networks by their roles, "generator", "denoiser".
        rows: the lines of the ledger that it was trained on.
        batch: how many pictures a batch has.
        defaults: values of `Request` fields for whoever states none; the width is what sizes are multiples of.
        metrics: named numbers of art that was kept apart.
        text: how prompts are heard, e.g. `classes`; None for a model that hears none.
        before: ``trained`` of the model whose weights the run began with.
        description: more fields of `zoo.write_model`, as "schedule" and "prediction" of a denoiser.

    Raises:
        InvalidFile: the folder cannot be written.
    """
    trained = effort(run, batch, core_hours, before)
    model = write_networks(
        folder,
        name=name,
        parts=parts,
        trained=trained,
        multiple=defaults["width"],
        summary=words.summary,
        licence=licence(rows),
        defaults=defaults,
        text=text,
        **description,
    )
    if text is not None:
        heard = ", ".join(f"{first} ({', '.join(others)})" for first, *others in text["names"])
        words = replace(words, about=f"{words.about} It hears the kinds by name: {heard}.")
    said = card(folder, name, words, parts.values(), trained=took(trained), rows=rows, metrics=measured(metrics))
    (folder / "CARD.md").write_text(said, encoding="utf-8")
    return model
