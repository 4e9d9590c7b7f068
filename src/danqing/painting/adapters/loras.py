"""LoRAs and their kin, by the tags of a prompt: ``<lora:name:strength>``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from ...adapt import layouts
from ...adapt.lora import LoRA
from ...adapt.tags import KINDS, pick
from ...errors import UnknownName
from ...nets.mmdit import MMDiT
from ...request.request import Resolved
from ...store import library
from ...weights import store
from ...weights.layouts import ldm, sd3
from .attachment import Asked, Attached, Attachment, Target, Warn, tags_of

#: How many names of tensors a warning lists.
LISTED = 3


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The file of every tag, from the user's folders of models."""
    tags = tags_of(request, KINDS)
    known = library.loras() if tags else {}
    for tag in tags:
        try:
            path = pick(known, tag.name, "LoRA")
        except UnknownName as error:
            if request.strict:
                raise
            why = str(error) if known else "no LoRA lies in the folders of models."
            warn(f"{tag.text} was ignored: {why}")
            continue
        yield Asked(path, path.name, tag)


def read(asked: Asked, target: Target, strict: bool) -> LoRA:
    """A file's changes of the networks.

    Raises:
        InvalidFile: it does not fit; where ``strict``, also tensors that change nothing here.
    """
    nets, metadata = target.nets, store.header(asked.path).metadata
    maps = (sd3.mmdit,) if isinstance(nets["denoiser"], MMDiT) else (ldm.unet,)
    return layouts.read(store.read(asked.path), nets, name=asked.name, metadata=metadata, maps=maps, strict=strict)


def attach(attached: Attached, found: Iterable[tuple[Asked, LoRA]], target: Target, warn: Warn) -> Attached:
    """Every LoRA at its tag's strengths; what of it changes nothing is warned of."""
    for (path, name, tag), lora in found:
        strengths = {role: tag.unet if role == "denoiser" else tag.te for role in lora.deltas}
        on = (partial(lora.on(role, w).attach, target.nets[role]) for role, w in strengths.items())
        attached = attached.add(path, *on)
        if lora.unused:
            listed = ", ".join(lora.unused[:LISTED]) + (", …" if len(lora.unused) > LISTED else "")
            warn(f"{name}: {len(lora.unused)} of its tensors change nothing in this model and were ignored: {listed}.")
    return attached


LORAS = Attachment(
    find=find,
    read=read,
    attach=attach,
    does="LoRAs, LoHa, LoKr and their kin, by the tags of a prompt.",
    tags=KINDS,
    hashes=("Lora hashes", library.tensors_digest),
)
