"""What a weights file is, from its header alone and without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import store
from .families.adapters import ip_adapter
from .family import FAMILY_KEY, Family
from .formats.format import Header
from .kinds import TASKS, UNETS, published_kind
from .published import PUBLISHED
from .registry import candidates

UNUSED = "This kind of file is recognised, but not loaded"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `identify` found; `dataclasses.asdict` makes it JSON.

    Args:
        path: of the file.
        family: "unet", "autoencoder-kl", ...; "checkpoint" for a file of several networks; "lora", ...; "unknown".
        variant: of the family, e.g. "SD1.x inpainting".
        layout: of the names.
        loadable: whether `danqing.weights.load` loads it (or its parts, one at a time).
        note: what is missing to load it, or how to.
        parts: of a file of several networks, those that can be loaded: part -> family.
        parameters: how many numbers its tensors hold.
        tensors: how many tensors.
        dtypes: the format's type names -> how many numbers, the most common first.
        size: bytes of the file.
        config: fields that the shapes or the metadata tell, for a single network.
        assumed: fields of ``config`` that are taken from the family's published models.
        unknown: fields that must be stated to load it, and why.
        metadata: the file's own strings.
    """

    path: str
    family: str
    variant: str
    layout: str
    loadable: bool
    note: str
    parts: Mapping[str, str]
    parameters: int
    tensors: int
    dtypes: Mapping[str, int]
    size: int
    config: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


def identify(path: str | os.PathLike[str]) -> Report:
    """Say what a file is without loading it.

    Raises:
        InvalidFile: as for `danqing.weights.store.header`; a file of ours whose metadata cannot be right.
    """
    header = store.header(path)
    found = candidates(header)
    parts = {family.part: family.name for family in found if family.part}
    whole = [family for family in found if family.whole]
    if whole:
        return describe_network(header, whole[0], parts)
    note = f"Load one network at a time, by its part: {', '.join(parts)}" if parts else UNUSED
    shapes = header.shapes
    if kind := published_kind(shapes):
        return report(header, "checkpoint", " ".join(filter(None, kind)), "single file", note, parts)
    for published in PUBLISHED:
        if published.detect(shapes):
            return report(header, published.family, published.variant, published.layout, note, parts)
    if parts:
        return report(header, "checkpoint", "", "single file", note, parts)
    return report(header, "unknown", "", "", "Its names are of no layout that is known here", parts)


def report(
    header: Header,
    family: str,
    variant: str,
    layout: str,
    note: str,
    parts: Mapping[str, str],
    **more: Any,
) -> Report:
    """A report with what every header tells; ``more`` is what is said of a network that is the whole file."""
    return Report(
        path=str(header.path),
        family=family,
        variant=variant,
        layout=layout,
        loadable=bool(parts or more),
        note=note,
        parts=parts,
        parameters=header.parameters,
        tensors=len(header.tensors),
        dtypes=header.dtypes,
        size=header.size,
        metadata=header.metadata,
        **more,
    )


def describe_network(header: Header, family: Family, parts: Mapping[str, str]) -> Report:
    """The report of a file that is one network."""
    settled = family.settle(header)
    note = f"To load it, state what its shapes do not tell: {', '.join(settled.unknown)}" if settled.unknown else ""
    usual = "danqing" if FAMILY_KEY in header.metadata else "unpublished shape"
    title = variant(family.name, settled.values) or usual
    more = {"config": settled.values, "assumed": settled.assumed, "unknown": settled.unknown}
    return report(header, family.name, title, family.layout, note, parts, **more)


#: Family, variant, and the fields that tell it; the first that fits names the file.
VARIANTS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    *(
        (
            "unet",
            f"{model} {task}".rstrip(),
            {"in_channels": channels, "cross_attention_dim": width, "layers_per_block": 2},
        )
        for model, width in UNETS
        for channels, task in TASKS.items()
    ),
    ("controlnet", "SD1.x", {"cross_attention_dim": 768, "layers_per_block": 2, "pooled_channels": 0}),
    ("controlnet", "SD2.x", {"cross_attention_dim": 1024, "layers_per_block": 2, "pooled_channels": 0}),
    ("controlnet", "SDXL", {"block_out_channels": (320, 640, 1280), "pooled_channels": 2816}),
    ("controlnet-union", "SDXL", {"pooled_channels": 2816, "types": 6}),
    ("controlnet-union", "SDXL ProMax", {"pooled_channels": 2816, "types": 8}),
    ("controlnet-mmdit", "SD3 medium or SD3.5 medium", {"pooled_projection_dim": 2048, "num_attention_heads": 24}),
    ("controlnet-mmdit", "SD3.5 large", {"pooled_projection_dim": 2048, "num_attention_heads": 38}),
    ("autoencoder-kl", "SD1.x, SD2.x or SDXL", {"block_out_channels": (128, 256, 512, 512), "latent_channels": 4}),
    ("autoencoder-kl", "SD3 or FLUX", {"block_out_channels": (128, 256, 512, 512), "latent_channels": 16}),
    ("clip-text", "ViT-B", {"hidden_size": 512, "num_hidden_layers": 12}),
    ("clip-text", "ViT-L/14 (SD1.x, SDXL, SD3)", {"hidden_size": 768, "num_hidden_layers": 12}),
    ("clip-text", "ViT-H/14 less its last layer (SD2.x)", {"hidden_size": 1024, "num_hidden_layers": 23}),
    ("clip-text", "ViT-H/14", {"hidden_size": 1024, "num_hidden_layers": 24}),
    ("clip-text", "ViT-bigG/14 (SDXL, SD3)", {"hidden_size": 1280, "num_hidden_layers": 32}),
    ("clip-vision", "ViT-B/32", {"hidden_size": 768, "patch_size": 32}),
    ("clip-vision", "ViT-B/16", {"hidden_size": 768, "patch_size": 16}),
    ("clip-vision", "ViT-L/14", {"hidden_size": 1024, "patch_size": 14}),
    ("clip-vision", "ViT-H/14", {"hidden_size": 1280, "patch_size": 14}),
    ("clip-vision", "ViT-bigG/14", {"hidden_size": 1664, "patch_size": 14}),
    *(
        ("ip-adapter", f"{kind} for {model}", {"kind": kind, "width": width})
        for kind in ip_adapter.MARKS
        for model, width in UNETS
    ),
    ("ip-adapter", "PuLID 1 for SDXL", {"kind": "pulid", "width": 2048}),
    ("ip-adapter", "PuLID 1.1 for SDXL", {"kind": "pulid-resampler", "width": 2048}),
    ("eva-vision", "EVA02-CLIP-L-14-336", {"hidden_size": 1024, "image_size": 336}),
    ("t5", "1.1 XXL (SD3, FLUX)", {"d_model": 4096, "num_layers": 24}),
    ("mmdit", "SD3 medium", {"num_layers": 24, "qk_norm": False}),
    ("mmdit", "SD3.5 medium", {"num_layers": 24, "qk_norm": True, "dual_attention_layers": tuple(range(13))}),
    ("mmdit", "SD3.5 large", {"num_layers": 38}),
    ("rrdb", "ESRGAN ×4", {"blocks": 23, "ups": 2, "unshuffle": 1}),
    ("rrdb", "Real-ESRGAN ×4 for drawings", {"blocks": 6, "ups": 2, "unshuffle": 1}),
    ("rrdb", "Real-ESRGAN ×2", {"blocks": 23, "unshuffle": 2}),
    ("srvgg", "Real-ESRGAN ×4 for videos", {"convolutions": 16, "scale": 4}),
    ("srvgg", "Real-ESRGAN ×4, general", {"convolutions": 32, "scale": 4}),
)


def variant(family: str, config: Mapping[str, Any]) -> str:
    """The published model that a config is of, or ""."""
    if family == "clip":
        towers = (variant("clip-text", config["text"]), variant("clip-vision", config["vision"]))
        return towers[1] if all(towers) else ""
    for name, title, fields in VARIANTS:
        if name == family and all(config.get(key) == value for key, value in fields.items()):
            return title
    return ""
