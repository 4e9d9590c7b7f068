"""What a family of networks is: how a file shows that it holds one, what its shapes say of the config, where its
tensors lie.

Nothing here imports torch before a network is built.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidFile, UnknownName
from .facts import Facts, Shapes
from .formats.format import Header
from .layouts.keymap import Cut, KeyMap, Rule, Source

if TYPE_CHECKING:
    from torch import nn

#: Metadata keys of our own files: the family's name, and the config as JSON.
FAMILY_KEY, CONFIG_KEY = "danqing.family", "danqing.config"
Classes = tuple[Callable[[Any], "nn.Module"], type]
#: A dataclass whose fields have defaults; each network has its own.
Config = Any


class Family(NamedTuple):
    """One network in one layout.

    Args:
        name: of the network.
        layout: of the names.
        detect: whether a file with these keys holds it.
        infer: shapes in our layout -> what they say of the config.
        classes: () -> the network's class and its config's.
        keymap: shapes as in the file -> the map to our layout.
        part: which of several networks of a file it is: "denoiser", "codec", "text", "text_2", ...; "" where it is the
            file.
    """

    name: str
    layout: str
    detect: Callable[[Collection[str]], bool]
    infer: Callable[[Shapes], Facts]
    classes: Callable[[], Classes]
    keymap: Callable[[Shapes], KeyMap]
    part: str = ""

    @property
    def whole(self) -> bool:
        """Whether such a file holds this network and nothing else."""
        return not self.part

    def sources(self, header: Header) -> dict[str, Source]:
        """Name in our layout -> where in the file it lies, of every tensor of this network.

        Raises:
            InvalidFile: the names contradict each other.
        """
        try:
            return self.keymap(header.shapes).sources(header.tensors)
        except (InvalidFile, LookupError, ValueError, ZeroDivisionError) as error:
            raise InvalidFile(f"{header.path} looks like {self.title}, but its names do not add up: {error}") from None

    def shapes(self, header: Header) -> dict[str, tuple[int, ...]]:
        """Name in our layout -> shape, of every tensor of this network.

        Raises:
            InvalidFile: the names contradict each other, or a tensor does not divide into those that it should hold.
        """
        try:
            return {
                name: source.shape(header.tensors[source.name].shape) for name, source in self.sources(header).items()
            }
        except ValueError as error:
            raise InvalidFile(f"{header.path} looks like {self.title}, but its shapes do not add up: {error}") from None

    def facts(self, header: Header) -> Facts:
        """What the file's shapes say of the config.

        Raises:
            InvalidFile: a tensor that the family cannot do without is missing or has another number of axes.
        """
        shapes = self.shapes(header)
        try:
            return self.infer(shapes)
        except (LookupError, ValueError, ZeroDivisionError) as error:
            raise InvalidFile(
                f"{header.path} looks like {self.title}, but a tensor that tells its shape is missing or odd: {error}"
            ) from None

    def config(self, header: Header, stated: Mapping[str, Any] | None = None) -> Config:
        """The config: what the shapes tell, then what ``stated`` and then the file's metadata say, then what is usual.

        Raises:
            InvalidFile: a statement contradicts the shapes, names no field or has the wrong type; or a field is known
                from nowhere.
        """
        settled = self.settle(header, stated)
        for name, why in settled.unknown.items():
            raise InvalidFile(
                f"{header.path} ({self.title}): {name} cannot be told from the shapes ({why}), and the file does not "
                f"say it. State it: config={{{name!r}: ...}}"
            )
        return construct(self.classes()[1], settled.values, f"{header.path} ({self.title})")

    def settle(self, header: Header, stated: Mapping[str, Any] | None = None) -> Settled:
        """What the file and the statement settle of the config; needs no torch.

        Raises:
            InvalidFile: the statement, or the file's own, contradicts the shapes.
        """
        said = {**stated_by(header), **(stated or {})}
        return settle(self.facts(header), said, f"{header.path} ({self.title})")

    def build(self, config: Config) -> nn.Module:
        """The network, its tensors on torch's default device."""
        return self.classes()[0](config)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} in the layout of {self.layout}"


def stated_by(header: Header) -> dict[str, Any]:
    """The config that a file of ours carries in its metadata; {} in any other."""
    try:
        config = json.loads(header.metadata.get(CONFIG_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{header.path} has no JSON in its metadata {CONFIG_KEY!r}: {error}") from None
    if not isinstance(config, dict):
        raise InvalidFile(f"{header.path} has no config in its metadata {CONFIG_KEY!r}, but {config!r:.50}")
    return config


class Settled(NamedTuple):
    """A config's fields as far as a file settles them; names of parts are dotted in the last two.

    Args:
        values: field -> value, of parts as mappings.
        assumed: fields that are as in the family's published models.
        unknown: fields that are known from nowhere, and why.
    """

    values: dict[str, Any]
    assumed: tuple[str, ...]
    unknown: dict[str, str]


def settle(facts: Facts, stated: Mapping[str, Any], where: str) -> Settled:
    """What is told, stated, assumed, in this order; a statement may repeat what is told, not alter it."""
    values: dict[str, Any] = {**facts.assumed, **facts.inferred}
    for name, value in stated.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        if name in facts.inferred and facts.inferred[name] != values[name]:
            raise InvalidFile(
                f"{where}: {name} is said to be {value!r:.50}, but the tensors' shapes say {facts.inferred[name]!r}"
            )
    assumed = tuple(name for name in facts.assumed if name not in stated)
    unknown = {name: why for name, why in facts.unknown.items() if name not in stated}
    for name, inner in facts.parts.items():
        said = stated.get(name, {})
        if not isinstance(said, Mapping):
            raise InvalidFile(f"{where}: {name} should be a config, but is {said!r:.50}")
        part = settle(inner, said, f"{where}, {name}")
        values[name] = part.values
        assumed += tuple(f"{name}.{key}" for key in part.assumed)
        unknown |= {f"{name}.{key}": why for key, why in part.unknown.items()}
    return Settled(values, assumed, unknown)


def construct(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """A config of these values, each checked against the type of the field's default."""
    usual = cls()
    fields = [field.name for field in dataclasses.fields(cls)]
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise InvalidFile(f"{where}: {UnknownName('config field', name, fields)}")
        default = getattr(usual, name)
        if dataclasses.is_dataclass(default):
            made[name] = construct(type(default), value, f"{where}, {name}")
        else:
            made[name] = checked(value, default, f"{where}: {name}")
    return cls(**made)


def checked(value: Any, default: Any, where: str) -> Any:
    """A stated value in the type of the field's default: a list as a tuple, a whole number as a float if need be.

    All whole numbers of a config count something, so that none is below zero.
    """
    real = isinstance(default, tuple) and any(isinstance(v, float) for v in default)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(value, list | tuple):
        value = tuple(value)
        if real and value and all(type(v) in (int, float) and math.isfinite(v) for v in value):
            return tuple(map(float, value))
        if not real and isinstance(default, tuple) and all(type(v) is int and v >= 0 for v in value):
            return value
    odd = type(value) is not type(default) or isinstance(default, tuple)
    if odd or (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and value < 0):
        raise InvalidFile(f"{where} should be like {default!r}, but is {value!r:.50}")
    return value


def has(*keys: str, no: Collection[str] = ()) -> Callable[[Collection[str]], bool]:
    """A test for a file with all of ``keys`` and without any whose name contains one of ``no``."""
    return lambda names: all(key in names for key in keys) and not any(part in name for part in no for name in names)


def inside(prefix: str, test: Callable[[Collection[str]], bool]) -> Callable[[Collection[str]], bool]:
    """The same test of the keys behind a prefix."""
    return lambda names: test({name.removeprefix(prefix) for name in names if name.startswith(prefix)})


def behind(prefix: str, keymap: Callable[[Shapes], KeyMap]) -> Callable[[Shapes], KeyMap]:
    """The same map of the keys behind a prefix; all other keys belong to other networks and are dropped."""

    def build(shapes: Shapes) -> KeyMap:
        own = keymap({name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)})
        return KeyMap((((prefix + "{key*}", "{key*}"), ("{other*}", None)), *own.stages), own.cuts)

    return build


def fixed(*stages: tuple[Rule, ...], cuts: tuple[Cut, ...] = ()) -> Callable[[Shapes], KeyMap]:
    """A map that depends on no shape."""
    keymap = KeyMap(stages, cuts)
    return lambda shapes: keymap


def placed(family: Family, part: str, prefix: str, **changes: Any) -> Family:
    """A family inside a file of several networks, its keys behind a prefix."""
    detect, keymap = inside(prefix, family.detect), behind(prefix, family.keymap)
    return family._replace(part=part, layout="a single file", detect=detect, keymap=keymap)._replace(**changes)


def network(name: str, config: str = "") -> Callable[[], Classes]:
    """The class of a network and of its config, imported when asked for.

    Args:
        name: "module.Class" in `danqing.nets`.
        config: the class of its config; "" for "ClassConfig".
    """
    module, cls = name.split(".")

    def classes() -> Classes:
        found = importlib.import_module(f"danqing.nets.{module}")
        return getattr(found, cls), getattr(found, config or f"{cls}Config")

    return classes
