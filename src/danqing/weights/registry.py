"""Every network that a file can hold, and how to tell: one explicit table, `FAMILIES`.

A family stands in it once a layout: its own (that of diffusers and transformers), and those of other published files.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import InvalidFile, UnknownName
from ..tables import Table
from .families import (
    autoencoder_kl,
    biggan,
    clip,
    cyclegan,
    depth,
    esrgan,
    faces,
    gfpgan,
    mmdit,
    pixel_unet,
    pixelcnn,
    single_file,
    stylegan2,
    t5,
    unet,
    vae,
)
from .families.adapters import controlnet, controlnet_mmdit, ip_adapter, pulid, t2i_adapter
from .family import FAMILY_KEY, Family
from .formats.format import Header

if TYPE_CHECKING:
    from torch import nn

#: Ours, in the order in which a file is asked for them.
_OURS: tuple[Family, ...] = (
    unet.UNET,
    unet.DRAFTED_UNET,
    unet.RESIDUAL_UNET,
    autoencoder_kl.AUTOENCODER_KL,
    clip.CLIP,
    clip.CLIP_TEXT,
    clip.CLIP_VISION,
    clip.IMAGE_TOWER,
    clip.EVA,
    clip.EVA_OF_CLIP,
    mmdit.MMDIT,
    t5.T5,
    vae.VAE,
    pixelcnn.PIXELCNN,
    pixel_unet.PIXEL_UNET,
    pixel_unet.SCORE_UNET,
    unet.UNET_LDM,
    controlnet.CONTROLNET,
    controlnet.CONTROLNET_UNION,
    controlnet.CONTROLNET_BARE,
    controlnet_mmdit.CONTROLNET_MMDIT,
    controlnet_mmdit.CONTROLNET_MMDIT_SD3,
    t2i_adapter.T2I_ADAPTER,
    t2i_adapter.T2I_ADAPTER_FULL,
    t2i_adapter.T2I_ADAPTER_LIGHT,
    controlnet.CONTROLNET_LDM,
    autoencoder_kl.AUTOENCODER_LDM,
    mmdit.MMDIT_SD3,
    clip.CLIP_TEXT_5,
    clip.CLIP_VISION_5,
    clip.CLIP_TEXT_OPEN,
    clip.CLIP_TEXT_OF_CLIP,
    clip.CLIP_VISION_OF_CLIP,
    clip.CLIP_TEXT_OF_OPENCLIP,
    *single_file.SINGLE_FILE,
    stylegan2.STYLEGAN2,
    stylegan2.STYLEGAN2_DISCRIMINATOR,
    biggan.BIGGAN,
    biggan.BIGGAN_DISCRIMINATOR,
    cyclegan.CYCLEGAN,
    cyclegan.PATCHGAN,
    esrgan.RRDB,
    esrgan.RRDB_BSRGAN,
    esrgan.RRDB_ESRGAN,
    esrgan.SRVGG,
    gfpgan.GFPGAN,
    gfpgan.RESTORER,
    ip_adapter.IP_ADAPTER,
    pulid.PULID,
    pulid.PULID_RESAMPLER,
    depth.DEPTH_ANYTHING,
    depth.DEPTH_ANYTHING_PUBLISHED,
    depth.DEPTH_UNET,
    faces.FACE_FINDER,
    faces.FACE_LANDMARKS,
    faces.FACE_RECOGNISER,
)
#: By family, layout and part.
FAMILIES: Table[Family] = Table(
    "family",
    {" ".join(filter(None, (family.name, family.layout, family.part))): family for family in _OURS},
    kind="weights.family:Family",
    columns={
        "network": lambda family: family.name,
        "layout": lambda family: family.layout,
        "part of a file": lambda family: family.part,
    },
)


def names() -> list[str]:
    """Of every network, once."""
    return list(dict.fromkeys(family.name for family in FAMILIES.usable().values()))


def candidates(header: Header) -> list[Family]:
    """The networks in a file, each in the first layout that fits; a network that is all of the file has no part.

    Raises:
        InvalidFile: the file is ours, of a family that is not known here.
    """
    said = header.metadata.get(FAMILY_KEY)
    if said is not None and said not in names():
        unknown = UnknownName("family", said, names())
        raise InvalidFile(f"{header.path} was written by another version of danqing: {unknown}")
    found = [family for family in FAMILIES.known().values() if family.detect(header.tensors)]
    found = found or [family for family in FAMILIES.usable().values() if family.detect(header.tensors)]
    first = {(family.name, family.part): family for family in reversed(found)}
    return [family for family in found if first[family.name, family.part] is family]


def find(header: Header, name: str | None = None, part: str | None = None) -> Family:
    """The family of a file, or the one of its networks that is named by family, by part, or by both.

    Raises:
        UnknownName: ``name`` is no family.
        InvalidFile: the file holds no network of a family, not the one named, or several that could be meant.
    """
    if name is not None and name not in names():
        raise UnknownName("family", name, names())
    found = candidates(header)
    if not found:
        raise InvalidFile(
            f"{header.path} holds no network that is known here (it starts with the tensors {some(header.tensors)}). "
            f"Known are {', '.join(names())}; `danqing inspect` says what else a file may be"
        )
    wanted = [family for family in found if name in (None, family.name) and part in (None, family.part)]
    wanted = [family for family in wanted if family.whole] or wanted
    if not wanted:
        asked = " as ".join(filter(None, (name, part and f"the part {part!r}")))
        raise InvalidFile(f"{header.path} holds no {asked}, but {listed(found)}")
    if len(wanted) > 1 and not wanted[0].whole:
        raise InvalidFile(f"{header.path} holds several networks: name one by its part, of {listed(wanted)}")
    return wanted[0]


def listed(families: Collection[Family]) -> str:
    """The networks of a file, by part and family."""
    return ", ".join(f"{family.part} ({family.name})" if family.part else family.name for family in families)


def of(module: nn.Module) -> Family:
    """The family whose network a module is.

    Raises:
        UnknownName: it is none.
    """
    for family in FAMILIES.usable().values():
        if family.whole and type(module) is family.classes()[0]:
            return family
    raise UnknownName("network", type(module).__name__, names())


def some(names: Collection[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(repr(name) for name in list(names)[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
