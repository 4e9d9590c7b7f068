"""A single file: its networks, and what it and the files beside it say of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import InvalidFile
from ...weights import kinds, store
from ...weights.facts import count
from ...weights.formats.format import Header
from ...weights.kinds import Kind
from ...weights.published import DIFFUSION, dim
from ..model import Component, Model
from .beside import Stated, autoencoder_of, config_of
from .fields import disagree
from .habits import HABITS, SIGMAS, STRENGTHS, Habit

#: What a single file that was made here says of its networks' configs, as JSON: part -> fields.
CONFIGS_KEY = "danqing.configs"
OPEN_LAYERS = "cond_stage_model.model.transformer.resblocks.{}.ln_1.weight"
#: A text encoder by its name now, and by that of before.
TEXT = "cond_stage_model.transformer.{}embeddings.token_embedding.weight"


def read(path: Path) -> tuple[Model, str, tuple[str, ...]]:
    """What a single file holds, the model that it is of, and the parts that this needs.

    Raises:
        InvalidFile: it is damaged, or of no model that is known here.
    """
    header = store.header(path)
    kind, said = kinds.kind(header), config_of(path)
    habit = HABITS[kind.model]
    sources = dict(kind.predictions) | ({said.source: said.prediction} if said.prediction else {})
    prediction = next(iter(sources.values()), kind.usual)
    pieces = vocabulary(path.parent)
    known = [part for part in (*habit.needs, *habit.optional) if part != "text_3" or pieces]
    parts = {
        part: Component(family=family.name, file=path.name, part=family.part)
        for part, family in kind.networks.items()
        if part in known
    }
    parts, warnings = _beside(path, parts, habit)
    configs = _configs(header, habit, said)
    warnings += [*disagree("what the denoiser predicts", sources, prediction), *_odd(header, kind), *said.warnings]
    defaults = dict(habit.defaults)
    if kind.model == "SD2.x":
        # OpenCLIP's file holds the last layer, which SD2 was trained without.
        defaults |= {"clip_skip": 2 if count(header.tensors, OPEN_LAYERS) == 24 else 1}
    model = Model(
        folder=path.parent,
        source=str(path),
        name=path.name.removesuffix(path.suffix),
        components={part: _stated(one, configs.get(part, {})) for part, one in parts.items()},
        tokenizer=pieces,
        schedule=_schedule(kind, habit, said, prediction),
        prediction=prediction,
        text={"kind": habit.text},
        task=kind.task,
        multiple=habit.multiple,
        summary=f"{' '.join(filter(None, (kind.model, kind.task)))}, a single file",
        licence=header.metadata.get("modelspec.license", "as its author says"),
        defaults=defaults | STRENGTHS.get(kind.task, {}),
        warnings=tuple(warnings),
    )
    return model, kind.model, habit.needs


def said_beside(path: Path) -> bool:
    """Whether a config beside a single file says something of it."""
    return bool(config_of(path).source)


def _stated(part: Component, config: Mapping[str, Any]) -> Component:
    return Component(family=part.family, file=part.file, part=part.part, config={**part.config, **config})


def _beside(path: Path, parts: Mapping[str, Component], habit: Habit) -> tuple[dict[str, Component], list[str]]:
    """The networks with the autoencoder that lies beside the file by its name, and what is to be said of it."""
    file = autoencoder_of(path)
    if file is None:
        return dict(parts), []
    own = "codec" in parts
    said = f"the autoencoder of {file.name} is used instead of that of {path.name} itself, as it lies beside it."
    beside = Component(family="autoencoder-kl", file=file.name, config=habit.codec)
    return {**parts, "codec": beside}, [said] if own else []


def _schedule(kind: Kind, habit: Habit, said: Stated, prediction: str) -> dict[str, Any]:
    if prediction.startswith("edm"):
        return dict(SIGMAS)
    stated = said.schedule if habit.schedule["kind"] != "flow" else {}
    return {**habit.schedule, **stated, **({"zero_snr": True} if kind.zero_snr else {})}


def _configs(header: Header, habit: Habit, said: Stated) -> dict[str, dict[str, Any]]:
    """Fields of the networks' configs by part: as the .yaml beside says, then as the file itself does."""
    beside: dict[str, dict[str, Any]] = {"codec": {**said.codec, **_normal(header)}, "denoiser": _heads(header, said)}
    own = _own(header)
    return {part: {**beside.get(part, {}), **own.get(part, {})} for part in (*beside, *own)}


def _own(header: Header) -> dict[str, dict[str, Any]]:
    try:
        said = json.loads(header.metadata.get(CONFIGS_KEY, "{}"))
        return {str(part): dict(config) for part, config in said.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFile(
            f"{header.path} has no configs in its metadata {CONFIGS_KEY!r}: {error}. Convert it anew"
        ) from None


def _normal(header: Header) -> dict[str, Any]:
    """Mean and deviation of the latent's channels, which a file of Playground 2.5 holds as tensors, and their scale."""
    names = ("edm_mean", "edm_std")
    if not all(name in header.tensors and header.tensors[name].count <= 64 for name in names):
        return {}
    mean, std = (store.read(header.path, [name])[name].flatten().tolist() for name in names)
    return {"scaling_factor": 0.5, "latents_mean": mean, "latents_std": std}


def _heads(header: Header, said: Stated) -> dict[str, Any]:
    """Heads a level, where a .yaml says them: so many in each, or as many as have its width."""
    number, width = said.heads
    levels = [dim(header.shapes, name, 0) for name in _first(header.shapes)]
    if not levels or not (number or width) or not all(width and n % width == 0 for n in levels if not number):
        return {}
    return {"attention_heads": [number or n // width for n in levels]}


def _first(names: Mapping[str, Any]) -> Iterator[str]:
    """The first convolution of each level of a UNet in a single file: those behind a change of resolution."""
    block = DIFFUSION + "input_blocks.{}.0.{}"
    at = 1
    while block.format(at, "in_layers.2.weight") in names:
        yield block.format(at, "in_layers.2.weight")
        while block.format(at, "in_layers.2.weight") in names:
            at += 1
        at += 1  # the change of resolution


def _odd(header: Header, kind: Kind) -> Iterable[str]:
    """What a file says or holds that is not used as it stands."""
    said = header.metadata.get("modelspec.prediction_type", "")
    if said and not kind.model.startswith("SD3") and said.lower() not in kinds.PREDICTIONS:
        yield f"{header.path.name} says that it predicts {said[:40]!r}, which is no word known here; it is not read."
    if {TEXT.format(""), TEXT.format("text_model.")} <= header.tensors.keys():
        yield (
            f"{header.path.name} holds its text encoder under two names, as merges of old files do: the one of "
            "text_model is used."
        )


def vocabulary(folder: Path) -> dict[str, str]:
    """Where T5's vocabulary lies in a model's folder; {} where it does not, and then its T5 is not loaded."""
    for name in ("tokenizer_3/tokenizer.json", "tokenizer_3/spiece.model", "spiece.model"):
        if (folder / name).is_file():
            return {"file": name}
    return {}
