"""The fields of a request without their groups: how the command line, `danqing.paint`, a model's defaults and A1111's
text name them. The one place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .groups import GROUPS, Group

#: Where a field's own name says too little outside its group.
NAMED: Mapping[tuple[str, str], str] = {
    ("tiling", "size"): "tile",
    ("edit", "blur"): "mask_blur",
    ("hires", "factor"): "hires",
    ("hires", "steps"): "hires_steps",
    ("hires", "strength"): "hires_strength",
    ("hires", "by"): "hires_by",
    ("refiner", "model"): "refiner",
    ("refiner", "at"): "refiner_at",
}
#: The group and the field of each flat name; a field that is in no group is its own.
PLACES: Mapping[str, tuple[str, str]] = {
    NAMED.get((group, field), field): (group, field) for group, kind in GROUPS.items() for field in kind.model_fields
}
NAMES: Mapping[tuple[str, str], str] = {place: name for name, place in PLACES.items()}


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their flat names or in groups, in groups alone; None states nothing and is left out."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, Group) or (name in GROUPS and isinstance(value, Mapping)):
            inner = stated(value) if isinstance(value, Group) else value
            found.setdefault(name, {}).update({field: each for field, each in inner.items() if each is not None})
        elif name in PLACES:
            group, field = PLACES[name]
            found.setdefault(group, {})[field] = value
        else:
            found[name] = value
    return found


def stated(group: Group) -> dict[str, Any]:
    """The fields that are stated, those of groups within by their flat names, in the order of declaration."""
    found: dict[str, Any] = {}
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, Group):
            found |= {NAMES[name, field]: each for field, each in stated(value).items()}
        elif name in group.model_fields_set:
            found[name] = value
    return found


def picked(data: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """Of nested data what stands at these places."""
    return {
        name: {field: data[name][field] for field in inner} if name in GROUPS else data[name]
        for name, inner in places.items()
    }
