"""The fields of a request without their groups: how the command line, `danqing.paint`, a model's defaults and A1111's
text name them. The one place that knows both, and the groups of other packages: `GROUPS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from pydantic.fields import FieldInfo

from ..errors import InvalidInput
from ..tables import Table
from . import groups
from .groups import Group

#: Where a field's own name says too little outside its group.
NAMED: Mapping[tuple[str, str], str] = {
    ("tiling", "size"): "tile",
    ("edit", "blur"): "mask_blur",
    ("edit", "grow"): "mask_grow",
    ("hires", "factor"): "hires",
    ("hires", "steps"): "hires_steps",
    ("hires", "strength"): "hires_strength",
    ("hires", "by"): "hires_by",
    ("variation", "seed"): "variation_seed",
    ("variation", "strength"): "variation_strength",
    ("variation", "like"): "like_noise",
    ("refiner", "model"): "refiner",
    ("refiner", "at"): "refiner_at",
}
#: Ours, by their names in a request.
OWN: Mapping[str, type[Group]] = {
    "composition": groups.Composition,
    "tiling": groups.Tiling,
    "sampling": groups.Sampling,
    "guidance": groups.Guidance,
    "acceleration": groups.Acceleration,
    "variation": groups.Variation,
    "edit": groups.Edit,
    "hires": groups.Hires,
    "refiner": groups.Refiner,
    "text": groups.Text,
    "typed": groups.Typed,
    "override": groups.Override,
    "generating": groups.Generating,
    "interpolation": groups.Interpolation,
    "translation": groups.Translation,
}


#: The fields that are in no group.
ALONE = frozenset(
    ("recipe", "model", "prompt", "negative", "style", "seed", "index", "width", "height", "frames", "image", "finish")
) | {"strict", "precision", "engine", "quantise", "controls", "image_prompts", "faces", "references", "regions"}


def _clear(name: str, group: type[Group]) -> None:
    """Refuse a group whose name, or a field's, is another field's."""
    own = {name, *(_flat(name, field) for field in group.model_fields)}
    if taken := own & {*ALONE, *_places(tuple(GROUPS.known().items()))}:
        raise InvalidInput(f"{min(taken)!r} is a field already: rename it")


#: Every group; the field ``size`` of another package's group ``toy`` is ``toy_size``.
GROUPS: Table[type[Group]] = Table("fields", OWN, kind="request.groups:Group", check=_clear)


def _flat(group: str, field: str) -> str:
    return NAMED.get((group, field), field if group in OWN else f"{group}_{field}")


def places() -> Mapping[str, tuple[str, str]]:
    """The group and the field of each flat name; a field that is in no group is its own."""
    return _places(tuple(GROUPS.usable().items()))


@lru_cache(maxsize=8)
def _places(every: tuple[tuple[str, type[Group]], ...]) -> Mapping[str, tuple[str, str]]:
    return {_flat(group, field): (group, field) for group, kind in every for field in kind.model_fields}


def name_of(group: str, field: str = "") -> str:
    """The flat name of a field of a group; of a field that is in none, its own."""
    return _flat(group, field) if group in GROUPS and field else group


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their flat names or in groups, in groups alone; None states nothing and is left out."""
    found: dict[str, Any] = {}
    where = places()
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, Group) or (name in GROUPS and isinstance(value, Mapping)):
            inner = stated(value) if isinstance(value, Group) else cast("Mapping[str, Any]", value)
            found.setdefault(name, {}).update({field: each for field, each in inner.items() if each is not None})
        elif name in where:
            group, field = where[name]
            if isinstance(inner := found.setdefault(group, {}), dict):  # what else a group is given, is refused as such
                inner[field] = value
        else:
            found[name] = value
    return found


def stated(group: Group) -> dict[str, Any]:
    """The fields that are stated, those of groups within by their flat names, in the order of declaration."""
    found: dict[str, Any] = {}
    for name in (*type(group).model_fields, *(group.model_extra or ())):
        value = getattr(group, name)
        if isinstance(value, Group):
            found |= {_flat(name, field): each for field, each in stated(value).items()}
        elif name in group.model_fields_set:
            found[name] = value
    return found


def picked(data: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """Of nested data what stands at these places."""
    return {
        name: {field: data[name][field] for field in inner} if name in GROUPS else data[name]
        for name, inner in places.items()
    }


def own_fields(request: type[Group]) -> dict[str, FieldInfo]:
    """Our own fields of a request by their flat names, in the order of declaration."""
    found: dict[str, FieldInfo] = {}
    for name, info in request.model_fields.items():
        if name in OWN:
            found |= {_flat(name, field): each for field, each in OWN[name].model_fields.items()}
        else:
            found[name] = info
    return found


def other_fields() -> dict[str, FieldInfo]:
    """The fields of other packages by their flat names."""
    others = {name: group for name, group in GROUPS.usable().items() if name not in OWN}
    return {_flat(name, field): info for name, g in others.items() for field, info in g.model_fields.items()}
