"""What a picture's record asks for as options of a request: ours, A1111's, ComfyUI's, InvokeAI's, Fooocus', NovelAI's.

A1111's text is read here; the others' records by sd-parsers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidFile
from ..request import infotext
from ..request.request import fields, shorten
from ..request.spellings import sampler_of, spacing_of
from .carried import carried_by, recorded
from .read import data_of, opened

if TYPE_CHECKING:
    from sd_parsers.data import PromptInfo, Sampler

#: What of our own record says how a picture was made from another, not how it looks.
GIVEN = frozenset({"recipe", "image", "mask", "extend", "other", "between", "to", "precision", "engine", "quantise"})
#: Numbers by their names in the records that sd-parsers reads.
NUMBERS: Mapping[str, tuple[str, type]] = {
    "steps": ("steps", int),
    "cfg_scale": ("scale", float),
    "cfg_rescale_multiplier": ("rescale", float),
    "cfg_rescale": ("rescale", float),
    "seed": ("seed", int),
    "width": ("width", int),
    "height": ("height", int),
    "clip_skip": ("clip_skip", int),
}
#: How many things are named at most that could not be carried over.
NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Alike:
    """What a picture's record asks for.

    Args:
        program: whose record it is.
        options: of `Request`, by their flat names; "model" as that program calls it.
        left: what has no place here, "name: value".
    """

    program: str
    options: Mapping[str, Any]
    left: tuple[str, ...] = ()


def alike(source: str | os.PathLike[str]) -> Alike:
    """What the record in a picture asks for.

    Raises:
        InvalidFile: it is no picture, or carries no record that is known here.
    """
    carried = carried_by(source)
    if carried.record is not None:
        stated = recorded(source).stated()
        given = {name: value for name, value in stated.items() if name in GIVEN and value != fields()[name].default}
        return Alike(
            program="danqing",
            options={name: value for name, value in stated.items() if name not in GIVEN},
            left=tuple(f"{name}: {shorten(value)}" for name, value in given.items()),
        )
    text = carried.parameters or ""
    if text and not text.lstrip().startswith("{"):  # JSON there is Fooocus'
        found = infotext.read(text)
        options, ignored = infotext.request_of(found)
        model = {"model": found.settings["Model"]} if "Model" in found.settings else {}
        if "danqing" not in found.settings.get("Version", ""):
            options["like_noise"] = "a1111-cpu" if found.settings.get("RNG") == "CPU" else "a1111-gpu"
        return Alike(program="A1111", options={**options, **model}, left=tuple(ignored[:NAMED]))
    if (info := _parsed(source)) is None:
        raise InvalidFile(
            f"{os.fspath(source)} carries no record of danqing, A1111, ComfyUI, InvokeAI, Fooocus or NovelAI: its "
            "program wrote none, or it was taken out on the way; state what you know of it by options"
        )
    return _of(info)


def _parsed(source: str | os.PathLike[str]) -> PromptInfo | None:
    from sd_parsers import ParserManager

    data, name = data_of(source)
    with opened(data, name) as image:
        try:
            found = ParserManager().parse(image)
        except Exception:  # a stranger's JSON may be of any depth and shape
            return None
    return found if found is not None and found.samplers else None


def _of(info: PromptInfo) -> Alike:
    """The first sampler that has a prompt; others, and whatever else stands there, are left."""
    sampler = next((each for each in info.samplers if each.prompts), info.samplers[0])
    every = {**dict(_flat(info.metadata)), **sampler.parameters}
    options = dict(_options(sampler, every))
    if info.generator.value == "ComfyUI":
        options["like_noise"] = "comfy"
    used = {name for name, (own, _) in NUMBERS.items() if own in options} | {"scheduler"}
    left = [
        f"{name}: {shorten(value)}" for name, value in every.items() if name not in used and value not in ("", None)
    ]
    left = [f"another sampler: {each.name}" for each in info.samplers if each is not sampler] + left
    if "solver" not in options:
        left = [f"sampler: {shorten(sampler.name)}", *left]
    return Alike(program=info.generator.value, options=options, left=tuple(left[:NAMED]))


def _options(sampler: Sampler, every: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "prompt", ", ".join(str(each) for each in sampler.prompts)
    yield "negative", ", ".join(str(each) for each in sampler.negative_prompts)
    if sampler.model is not None and sampler.model.name:
        yield "model", str(sampler.model.name)
    solver, spacing = sampler_of(str(sampler.name))
    if solver:
        yield "solver", solver
    if found := spacing_of(str(every.get("scheduler", ""))) or spacing:
        yield "spacing", found
    for name, (own, kind) in NUMBERS.items():
        try:
            yield own, kind(float(every[name]) if kind is float else int(every[name]))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue


def _flat(metadata: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """What stands beside the samplers; of ComfyUI's nodes their fields."""
    for name, value in metadata.items():
        nodes = value if isinstance(value, list) else []
        if nodes and all(isinstance(node, dict) for node in nodes):
            for field, each in nodes[0].items():
                if field in NUMBERS:
                    yield field, each
            yield str(name), {field: each for field, each in nodes[0].items() if field not in (*NUMBERS, "id")} or ""
        else:
            yield str(name), value
