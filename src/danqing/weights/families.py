"""Every network that a file can hold, and how to tell: one explicit tuple, `FAMILIES`.

A family stands in it once a layout: its own (that of diffusers and transformers), and those of other published files.
Nothing here imports torch before a network is built.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidFile, UnknownName
from . import infer
from .infer import Facts, Shapes
from .keymap import KeyMap
from .maps import ldm
from .store import Header

if TYPE_CHECKING:
    from torch import nn

    from ..nets.autoencoder_kl import AutoencoderKLConfig
    from ..nets.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
    from ..nets.mmdit import MMDiTConfig
    from ..nets.unet import UNetConfig

    Config = UNetConfig | AutoencoderKLConfig | CLIPConfig | CLIPTextConfig | CLIPVisionConfig | MMDiTConfig

#: Metadata keys of our own files: the family's name, and the config as JSON.
FAMILY_KEY, CONFIG_KEY = "danqing.family", "danqing.config"
Classes = tuple[Callable[[Any], "nn.Module"], type]


class Family(NamedTuple):
    """One network in one layout.

    Args:
        name: of the network.
        layout: of the names.
        detect: whether a file with these keys holds it.
        infer: shapes in our layout -> what they say of the config.
        classes: () -> the network's class and its config's.
        keymap: shapes as in the file -> the map to our layout.
        whole: the file holds this network and nothing else.
    """

    name: str
    layout: str
    detect: Callable[[Collection[str]], bool]
    infer: Callable[[Shapes], Facts]
    classes: Callable[[], Classes]
    keymap: Callable[[Shapes], KeyMap]
    whole: bool = True

    def names(self, header: Header) -> dict[str, str]:
        """Name in the file -> name in our layout, of every tensor of this network."""
        try:
            return self.keymap(header.shapes).names(header.tensors)
        except (LookupError, ValueError, ZeroDivisionError) as error:
            raise InvalidFile(f"{header.path} looks like {self.title}, but its names do not add up: {error}") from None

    def facts(self, header: Header) -> Facts:
        """What the file's shapes say of the config.

        Raises:
            InvalidFile: a tensor that the family cannot do without is missing or has another number of axes.
        """
        shapes = {new: header.tensors[old].shape for old, new in self.names(header).items()}
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
        said = {**said_by(header), **(stated or {})}
        return settle(self.facts(header), said, f"{header.path} ({self.title})")

    def build(self, config: Config) -> nn.Module:
        """The network, its tensors on torch's default device."""
        return self.classes()[0](config)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name} in the layout of {self.layout}"


def said_by(header: Header) -> dict[str, Any]:
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
    values: dict[str, Any] = {**facts.assumed, **facts.told}
    for name, value in stated.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        if name in facts.told and facts.told[name] != values[name]:
            raise InvalidFile(f"{where}: {name} is said to be {value!r:.50}, but the tensors' shapes say {facts.told[name]!r}")
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
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(value, list | tuple):
        value = tuple(value)
        if isinstance(default, tuple) and all(type(v) is int and v >= 0 for v in value):
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
        own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        return KeyMap((((prefix + "{key*}", "{key*}"), ("{other*}", None)), *keymap(own).stages))

    return build


def fixed(*stages: tuple[tuple[str, str | None], ...]) -> Callable[[Shapes], KeyMap]:
    """A map that depends on no shape."""
    keymap = KeyMap(stages)
    return lambda shapes: keymap


def part(family: Family, layout: str, prefix: str, **changes: Any) -> Family:
    """A family inside a file of several networks, its keys behind a prefix."""
    detect, keymap = inside(prefix, family.detect), behind(prefix, family.keymap)
    return family._replace(layout=layout, detect=detect, keymap=keymap, whole=False, **changes)


def sdxl_autoencoder(shapes: Shapes) -> Facts:
    """The autoencoder of a file that is known to be SDXL's."""
    facts = infer.autoencoder_kl(shapes)
    return dataclasses.replace(facts, assumed={**facts.assumed, "scaling_factor": 0.13025})


def _unet() -> Classes:
    from ..nets.unet import UNet, UNetConfig

    return UNet, UNetConfig


def _drafted_unet() -> Classes:
    from ..nets.drafted import DraftedUNet, DraftedUNetConfig

    return DraftedUNet, DraftedUNetConfig


def _autoencoder_kl() -> Classes:
    from ..nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig

    return AutoencoderKL, AutoencoderKLConfig


def _clip() -> Classes:
    from ..nets.clip import CLIP, CLIPConfig

    return CLIP, CLIPConfig


def _clip_text() -> Classes:
    from ..nets.clip import CLIPText, CLIPTextConfig

    return CLIPText, CLIPTextConfig


def _clip_vision() -> Classes:
    from ..nets.clip import CLIPVision, CLIPVisionConfig

    return CLIPVision, CLIPVisionConfig


def _mmdit() -> Classes:
    from ..nets.mmdit import MMDiT, MMDiTConfig

    return MMDiT, MMDiTConfig


#: Old files hold the numbers 0, 1, 2, ... as a tensor.
POSITIONS = (("{tower}.embeddings.position_ids", None),)
#: The names of the autoencoder's attention before diffusers 0.17.
ATTENTION = tuple(
    (f"{{side}}.mid_block.attentions.{{i}}.{old}.{{end}}", f"{{side}}.mid_block.attentions.{{i}}.{new}.{{end}}")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)
TEXT_KEY = "text_model.embeddings.token_embedding.weight"
IMAGE_KEY = "vision_model.embeddings.patch_embedding.weight"

UNET = Family(
    "unet",
    "diffusers",
    has(
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.resnets.0.time_emb_proj.weight",
        no=("controlnet_", "motion_modules", "lora", "draft."),
    ),
    infer.unet,
    _unet,
    fixed(),
)
DRAFTED_UNET = Family("drafted-unet", "danqing", has("conv_in.weight", "draft.linear.weight"), infer.drafted_unet, _drafted_unet, fixed())
UNET_LDM = UNET._replace(
    layout="LDM",
    detect=has("input_blocks.0.0.weight", "time_embed.0.weight", "output_blocks.0.0.in_layers.0.weight", no=("lora",)),
    keymap=ldm.unet,
)
AUTOENCODER_KL = Family(
    "autoencoder-kl",
    "diffusers",
    has("encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight", no=("time_conv",)),
    infer.autoencoder_kl,
    _autoencoder_kl,
    fixed(ATTENTION),
)
AUTOENCODER_LDM = AUTOENCODER_KL._replace(
    layout="LDM",
    detect=has("encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight", no=("quantize.", "time_")),
    keymap=lambda shapes: KeyMap(((("loss.{key*}", None),), *ldm.autoencoder(shapes).stages)),
)
CLIP = Family("clip", "transformers", has(TEXT_KEY, IMAGE_KEY), infer.clip, _clip, fixed(POSITIONS))
CLIP_TEXT = Family("clip-text", "transformers", has(TEXT_KEY, no=("vision_model.",)), infer.clip_text, _clip_text, fixed(POSITIONS))
CLIP_VISION = Family(
    "clip-vision",
    "transformers",
    has(IMAGE_KEY, no=("text_model.",)),
    infer.clip_vision,
    _clip_vision,
    fixed(POSITIONS),
)
MMDIT = Family(
    "mmdit",
    "diffusers",
    has(
        "pos_embed.proj.weight",
        "time_text_embed.text_embedder.linear_1.weight",
        "context_embedder.weight",
        no=("lora",),
    ),
    infer.mmdit,
    _mmdit,
    fixed(),
)

#: Networks in the order in which a file is asked for them.
FAMILIES: tuple[Family, ...] = (
    UNET,
    DRAFTED_UNET,
    AUTOENCODER_KL,
    CLIP,
    CLIP_TEXT,
    CLIP_VISION,
    MMDIT,
    UNET_LDM,
    AUTOENCODER_LDM,
    # The towers as transformers 5 writes them when they have no projection.
    CLIP_TEXT._replace(
        layout="transformers 5",
        detect=has("embeddings.token_embedding.weight", "final_layer_norm.weight"),
        keymap=fixed((("{key*}", "text_model.{key*}"),), POSITIONS),
    ),
    CLIP_VISION._replace(
        layout="transformers 5",
        detect=has("embeddings.patch_embedding.weight", "pre_layrnorm.weight"),
        keymap=fixed((("{key*}", "vision_model.{key*}"),), POSITIONS),
    ),
    # One tower of a whole CLIP.
    CLIP_TEXT._replace(
        layout="a whole CLIP",
        detect=CLIP.detect,
        keymap=fixed((("vision_model.{key*}", None), ("visual_projection.{end}", None), ("logit_scale", None)), POSITIONS),
        whole=False,
    ),
    CLIP_VISION._replace(
        layout="a whole CLIP",
        detect=CLIP.detect,
        keymap=fixed((("text_model.{key*}", None), ("text_projection.{end}", None), ("logit_scale", None)), POSITIONS),
        whole=False,
    ),
    # The networks of a single file.
    part(UNET_LDM, "a single file", "model.diffusion_model."),
    part(AUTOENCODER_LDM, "a single file of SDXL", "first_stage_model.", infer=sdxl_autoencoder)._replace(
        detect=lambda keys: (
            inside("first_stage_model.", AUTOENCODER_LDM.detect)(keys) and any(name.startswith("conditioner.embedders.") for name in keys)
        )
    ),
    part(AUTOENCODER_LDM, "a single file", "first_stage_model."),
    part(CLIP_TEXT, "a single file", "cond_stage_model.transformer."),
    part(CLIP_TEXT, "a single file of SDXL", "conditioner.embedders.0.transformer."),
)
NAMES = tuple(dict.fromkeys(family.name for family in FAMILIES))


def candidates(header: Header) -> list[Family]:
    """The networks in a file, each in the first layout that fits; a network that is all of the file stands alone.

    Raises:
        InvalidFile: the file is ours, of a family that is not known here.
    """
    said = header.metadata.get(FAMILY_KEY)
    if said is not None and said not in NAMES:
        unknown = UnknownName("family", said, NAMES)
        raise InvalidFile(f"{header.path} was written by another version of danqing: {unknown}")
    found = [family for family in FAMILIES if family.detect(header.tensors)]
    first = {family.name: family for family in reversed(found)}
    return [family for family in found if first[family.name] is family]


def find(header: Header, name: str | None = None) -> Family:
    """The family of a file, or the one named among those of its networks.

    Raises:
        UnknownName: ``name`` is no family.
        InvalidFile: the file holds no network of a family, not the one named, or several and none was named.
    """
    if name is not None and name not in NAMES:
        raise UnknownName("family", name, NAMES)
    found = candidates(header)
    wanted = [f for f in found if f.name == name] if name else [f for f in found if f.whole] or found
    if len(wanted) == 1 or (wanted and wanted[0].whole):
        return wanted[0]
    if wanted:
        names = ", ".join(family.name for family in wanted)
        raise InvalidFile(f"{header.path} holds several networks: name one of {names} as the family")
    if found:
        names = ", ".join(family.name for family in found)
        raise InvalidFile(f"{header.path} holds no {name}, but {names}")
    raise InvalidFile(
        f"{header.path} holds no network that is known here (it starts with the tensors {some(header.tensors)}). "
        f"Known are {', '.join(NAMES)}; `danqing inspect` says what else a file may be"
    )


def of(module: nn.Module) -> Family:
    """The family whose network a module is.

    Raises:
        UnknownName: it is none.
    """
    for family in FAMILIES:
        if family.whole and type(module) is family.classes()[0]:
            return family
    raise UnknownName("network", type(module).__name__, NAMES)


def some(names: Collection[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(repr(name) for name in list(names)[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
