"""Names that whatever held the network put a word of its own before: they are read without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from .formats.format import Header

#: What DataParallel, trainers of a GAN and torch.compile put before every name.
WRAPS = ("module.", "generator.", "net_g.", "_orig_mod.")
#: What Lightning and trainers put before some names of a single file, and how these read without it.
INSIDE: Mapping[str, str] = {
    "model.model.diffusion_model.": "model.diffusion_model.",
    "model.first_stage_model.": "first_stage_model.",
    "model.cond_stage_model.": "cond_stage_model.",
    "model.conditioner.": "conditioner.",
    "model_ema.diffusion_model.": "model.diffusion_model.",
}


def bare(names: Collection[str]) -> dict[str, str]:
    """Each name without what was put before it; as it is where another tensor has the name already."""
    found = {name: name for name in names}
    while len(names) > 1 and (wrap := next((w for w in WRAPS if all(n.startswith(w) for n in found.values())), "")):
        found = {name: short.removeprefix(wrap) for name, short in found.items()}
    for start, short in INSIDE.items():
        if not any(name.startswith(short) for name in found.values()):
            found = {name: short + b.removeprefix(start) if b.startswith(start) else b for name, b in found.items()}
    return found if len(set(found.values())) == len(found) else {name: name for name in names}


def unwrapped(header: Header) -> Header:
    """A file's header with bare names."""
    names = bare(header.tensors)
    return replace(header, tensors={names[name]: spec for name, spec in header.tensors.items()})
