"""What a prompt attaches to a model while it paints: LoRAs by their tags, learned words by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..adapt import embedding, layouts
from ..adapt.lora import LoRA
from ..adapt.tags import KINDS, pick
from ..errors import UnknownName
from ..nets.clip import CLIPText
from ..nets.mmdit import MMDiT
from ..prompt.grammar import Tag, parse
from ..prompt.towers import Text
from ..request.request import Resolved
from ..store import library
from ..weights import store
from ..weights.layouts import ldm, sd3

#: How many names of tensors a warning lists.
LISTED = 3
#: How many LoRAs a model keeps.
KEPT = 8


@dataclass(frozen=True)
class Attached:
    """What is attached: the text that knows the learned words, the tags that were acted on or warned of, and what is to
    be said."""

    text: Text
    tags: tuple[Tag, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()


@contextmanager
def attaching(request: Resolved, adapters: Adapters, text: Text) -> Iterator[Attached]:
    """Within the context what the prompts ask for is attached to the networks; after it every bit is what it was.

    Args:
        adapters: of the model's networks.
        text: of the model.

    Raises:
        InvalidFile: a LoRA that does not fit; where the request is strict, also one with tensors that change nothing
            here.
        UnknownName: where the request is strict, a LoRA that is not there; else it is warned of.
    """
    tags = tuple(
        tag for tag in (*parse(request.prompt).tags, *parse(request.negative, compose=False).tags) if tag.kind in KINDS
    )
    nets, warnings = adapters.nets, list[str]()
    files: list[tuple[str, int]] = []
    words = list(learned_words(f"{request.prompt}\n{request.negative}", nets, files, warnings))
    if not tags and not words:
        yield Attached(text, warnings=tuple(warnings))
        return
    with ExitStack() as stack:
        if words:
            vocabulary = embedding.Vocabulary(tuple(words))
            text = text.with_words(vocabulary.ids)
            for role in words[0].vectors:
                stack.callback(vocabulary.on(role).attach(nets[role]))
        known = library.loras() if tags else {}
        for tag in tags:
            try:
                path = pick(known, tag.name, "LoRA")
            except UnknownName as error:
                if request.strict:
                    raise
                why = str(error) if known else "no LoRA lies in the folders of models."
                warnings.append(f"{tag.text} was ignored: {why}")
                continue
            lora = adapters.lora(path, request.strict)
            files.append((str(path), path.stat().st_mtime_ns))
            for role in lora.deltas:
                stack.callback(lora.on(role, tag.unet if role == "denoiser" else tag.te).attach(nets[role]))
            if lora.unused:
                shown = ", ".join(lora.unused[:LISTED]) + (", …" if len(lora.unused) > LISTED else "")
                warnings.append(
                    f"{path.name}: {len(lora.unused)} of its tensors change nothing in this model and were "
                    f"ignored: {shown}."
                )
        yield Attached(text, tags, tuple(warnings), tuple(files))


class Adapters:
    """The LoRAs that were read for one model's networks; the latest few are kept."""

    def __init__(self, nets: Mapping[str, nn.Module]):
        self.nets = nets
        self.read: dict[tuple[Path, int, bool], LoRA] = {}

    def lora(self, path: Path, strict: bool) -> LoRA:
        """A file's changes of these networks; read again when the file changes."""
        key = (path, path.stat().st_mtime_ns, strict)
        if key not in self.read:
            if len(self.read) >= KEPT:
                del self.read[next(iter(self.read))]
            maps = (sd3.mmdit,) if isinstance(self.nets["denoiser"], MMDiT) else (ldm.unet,)
            metadata = store.header(path).metadata
            self.read[key] = layouts.read(
                store.read(path), self.nets, name=path.name, metadata=metadata, maps=maps, strict=strict
            )
        return self.read[key]


def learned_words(
    said: str, nets: Mapping[str, nn.Module], files: list[tuple[str, int]], warnings: list[str]
) -> Iterator[embedding.LearnedWord]:
    """The learned words of the user's folders that stand in a text and were learned for this model; of others it
    warns."""
    widths = {role: net.config.hidden_size for role, net in nets.items() if isinstance(net, CLIPText)}
    for name, path in library.embeddings().items():
        if "/" in name or not re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", said, re.IGNORECASE):
            continue
        word = embedding.read(store.read(path), name)
        if {role: vectors.shape[1] for role, vectors in word.vectors.items()} != widths:
            warnings.append(f"the learned word {name!r} was made for another model, and was read as plain text.")
            continue
        files.append((str(path), path.stat().st_mtime_ns))
        yield word
