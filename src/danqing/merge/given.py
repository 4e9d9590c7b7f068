"""What is merged: files of weights, and folders of models under the names of their single file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from ..errors import InvalidInput
from ..store import convert, library
from ..store.find import find
from ..store.tensors import Due, Reader, parts
from ..weights.formats.format import TORCH_NAMES, Header, Spec
from ..weights.kinds import published_kind
from ..weights.published import DIFFUSION, PUBLISHED
from .blocks import Blocks

#: A text encoder's names before transformers 4, and now.
OLD_TEXT = tuple(
    (f"cond_stage_model.transformer.{part}.", f"cond_stage_model.transformer.text_model.{part}.")
    for part in ("embeddings", "encoder", "final_layer_norm")
)
#: Where a denoiser reads the latent, and beside it what its task is about: the mask, the picture that is given.
ENTRY = DIFFUSION + "input_blocks.0.0.weight"
#: How many names a refusal lists.
LISTED = 4


@dataclass(frozen=True, kw_only=True)
class Given:
    """A file or a folder that takes part.

    Args:
        path: of it.
        tensors: by name, made when taken.
        metadata: the strings that whoever wrote it left.
        core: the file whose SHA-256 stands for it.
    """

    path: Path
    tensors: Mapping[str, Due] = field(repr=False)
    metadata: Mapping[str, str]
    core: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape."""
        return {name: due.shape for name, due in self.tensors.items()}

    @cached_property
    def header(self) -> Header:
        """As of a file that holds these tensors."""
        types = {name: TORCH_NAMES[str(due.dtype).removeprefix("torch.")] for name, due in self.tensors.items()}
        specs = {n: Spec(dtype=types[n], shape=shape, start=0, stop=0) for n, shape in self.shapes.items()}
        return Header(path=self.path, tensors=specs, metadata=self.metadata, size=0)

    @cached_property
    def kind(self) -> tuple[str, str] | None:
        """Model and task of a single file; None for any other."""
        return published_kind(self.shapes)

    @cached_property
    def what(self) -> str:
        """What it is, for people: "SD1.x inpainting", "lora SDXL"; "" where nothing is known."""
        if self.kind:
            return " ".join(filter(None, self.kind))
        found = next((one for one in PUBLISHED if one.detect(self.shapes)), None)
        return " ".join(filter(None, (found.family, found.variant))) if found else ""

    @property
    def is_lora(self) -> bool:
        return self.what.startswith("lora")

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks.among(self.tensors)

    @cached_property
    def sha256(self) -> str:
        return library.digest(self.core)

    def inside(self, name: str) -> bool:
        """Whether a tensor is of a network; in a whole model the rest is left over from its training."""
        due = self.tensors[name]
        if not due.dtype.is_floating_point or not due.numel() or name.endswith("position_ids"):
            return False
        return self.kind is None or (name.startswith(convert.INSIDE) and not name.startswith(convert.OUTSIDE))


def read(source: str | os.PathLike[str]) -> Given:
    """What is meant by a path, or by a name in the folders of models.

    Raises:
        UnknownName: there is none. InvalidFile: it is damaged or of no known format. InvalidInput: a folder of a model
            that has no single file.
    """
    path = convert.source_of(source)
    if path.is_dir():
        model = find(path.absolute())
        tensors, metadata = convert.outside(model, parts(model, None)[0])
        return Given(path=path, tensors=tensors, metadata=metadata, core=model.path(model.components[model.core].file))
    reader = Reader(path)
    head = reader.header
    dues = {
        name: Due(dtype=reader.dtype(name, None), shape=spec.shape, make=partial(reader.take, name))
        for name, spec in head.tensors.items()
    }
    said, marks, _ = convert.stated_of(head, "")
    return Given(path=path, tensors={**_now(dues), **marks}, metadata={**head.metadata, **said}, core=path)


def _now(tensors: Mapping[str, Due]) -> dict[str, Due]:
    """Tensors under the names of now; what stands under both is the one of now."""

    def name(old: str) -> str:
        start, new = next(((start, new) for start, new in OLD_TEXT if old.startswith(start)), ("", ""))
        return new + old.removeprefix(start)

    return {name(old): tensors.get(name(old), due) for old, due in tensors.items()}


def bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the ones at its end: a 1×1 convolution as the linear layer that it is."""
    kept = list(shape)
    while kept and kept[-1] == 1:
        kept.pop()
    return tuple(kept)


def same(name: str, a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether tensors of a name can be merged: where a denoiser is entered, one may read more than another."""
    if name == ENTRY and len(a) == len(b) == 4:
        return (a[0], *a[2:]) == (b[0], *b[2:])
    return bare(a) == bare(b)


def alike(given: Sequence[Given]) -> None:
    """Refuse files that are not of one family.

    Raises:
        InvalidInput: they have no tensor of one name in common, some differ in shape, or they are of two tasks; a LoRA,
            whose factors are not to be added.
    """
    first = given[0]
    for one in given:
        if one.is_lora:
            raise InvalidInput(
                f"{one.name} is a LoRA, whose factors cannot be mixed tensor by tensor: --method lora puts it into a "
                "checkpoint, --method resize changes its rank"
            )
    for other in given[1:]:
        shared = [name for name in first.tensors if name in other.tensors]
        odd = [name for name in shared if not same(name, first.shapes[name], other.shapes[name])]
        title = [f"{one.name}" + (f" ({one.what})" if one.what else "") for one in (first, other)]
        if odd or not any(first.inside(name) for name in shared) or _model(first) != _model(other):
            sizes = [f"{n}: {list(first.shapes[n])} and {list(other.shapes[n])}" for n in odd[:LISTED]]
            more = [f"and {len(odd) - LISTED} more"] if len(odd) > LISTED else []
            why = "\n  ".join(["differ in size:", *sizes, *more]) if odd else "have hardly a name in common"
            raise InvalidInput(
                f"{title[0]} and {title[1]} are not of one family, so that nothing was merged. Their tensors {why}"
            )
    tasks = {one.kind[1]: one.name for one in given if one.kind and one.kind[1]}
    if len(tasks) > 1:
        listed = " and ".join(f"{name} ({task})" for task, name in tasks.items())
        raise InvalidInput(
            f"{listed} are of two tasks, which one denoiser cannot have: merge one of them with a plain model"
        )


def _model(given: Given) -> str:
    return given.kind[0] if given.kind else ""
