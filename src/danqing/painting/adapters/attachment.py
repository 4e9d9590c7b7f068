"""What it takes for a kind of adapter to be asked for by a request: a record, `Attachment`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ...codec import Codec
from ...denoise import Denoiser
from ...errors import InvalidFile
from ...prompt.grammar import Tag, parse
from ...prompt.towers import Text
from ...request.request import Request, Resolved
from ...run.shared import Attach
from ..say import Say

#: The path of what lies in no file.
NO_FILE = Path()
#: Takes a sentence for the picture's warnings.
Warn = Callable[[str], None]


class Target(NamedTuple):
    """What adapters are made for: a model's networks by role, "denoiser", "text", "text_2" and "text_3", the denoiser,
    to which controls add residuals, and the codec."""

    nets: Mapping[str, nn.Module]
    denoiser: Denoiser
    codec: Codec


class Asked(NamedTuple):
    """A file that a request asks for: what it is called there, and how it is to be used, which its kind alone reads.

    A kind that reads no file asks for `NO_FILE`, by a name that tells all that is read.
    """

    path: Path
    name: str
    how: Any = None

    @property
    def time(self) -> int:
        """When the file was changed, in nanoseconds."""
        return 0 if self.path is NO_FILE else self.path.stat().st_mtime_ns


def tags_of(request: Resolved, kinds: Collection[str]) -> tuple[Tag, ...]:
    """The tags of some kinds, of the prompt and then of the negative prompt, and so of each region."""
    texts = dict.fromkeys(each for prompt, negative in request.texts for each in ((prompt, True), (negative, False)))
    every = (parse(text, compose=compose).tags for text, compose in texts)
    return tuple(tag for tags in every for tag in tags if tag.kind in kinds)


def by_file(group: str) -> Callable[[Resolved, Warn], Iterator[Asked]]:
    """What a group of fields asks for whose ``file`` names the adapter's file; how it is used is the group.

    Raises:
        InvalidFile: that file is not there.
    """

    def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
        how = request.group(group)
        if how.file and not Path(how.file).is_file():
            raise InvalidFile(f"{group}_file: {how.file} is no file: state the path of one that holds the adapter")
        if how.file:
            yield Asked(Path(how.file), Path(how.file).name, how)

    return find


@dataclass(frozen=True)
class Attached:
    """What a request asks for: the text that knows the learned words, the tags that were acted on or warned of, what is
    to be said, the files with their times, what puts the adapters on, and what makes, of a request at the size that is
    painted, a step that adds to what is said."""

    text: Text
    tags: tuple[Tag, ...] = ()
    warnings: tuple[str, ...] = ()
    files: tuple[tuple[str, int], ...] = ()
    on: tuple[Attach, ...] = ()
    say: tuple[Callable[[Resolved], Say], ...] = ()
    #: What A1111's text says of the files: its key -> a name -> a short hash.
    named: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    def add(self, path: Path, *on: Attach, say: Sequence[Callable[[Resolved], Say]] = ()) -> Attached:
        """One more file, what puts its adapter on, and what it has said."""
        files = (*self.files, (str(path), path.stat().st_mtime_ns))
        return replace(self, files=files, on=(*self.on, *on), say=(*self.say, *say))


@dataclass(frozen=True, kw_only=True, eq=False)
class Attachment:
    """A kind of adapter: a row of `adapters.ATTACHMENTS`.

    Args:
        find: (request, warn) -> what it asks for, in its order. What is not there is refused where the request is
            strict, by UnknownName, else warned of.
        read: (what is asked for, the target, strict) -> the adapter; the latest of each kind are kept.
        attach: (what the kinds before have asked for, each file with its adapter, the target, warn) -> the same with
            what this kind asks for.
        does: in one sentence.
        settle: (request, the denoiser's network, the model's name) -> the request, every choice of this kind made that
            its record is to hold. What cannot be is refused before anything is painted.
        tags: the kinds of tags of a prompt that it acts on.
        uses: the fields of a request that it reads, beside the prompts, by their flat names.
        hashes: the key of A1111's text under which its files are named, with what hashes one, of which twelve digits
            stand there.
        kept: how many of them a model keeps.
    """

    find: Callable[[Resolved, Warn], Iterator[Asked]]
    read: Callable[[Asked, Target, bool], Any]
    attach: Callable[[Attached, Iterable[tuple[Asked, Any]], Target, Warn], Attached]
    does: str
    settle: Callable[[Request, nn.Module, str], Request] = lambda request, net, model: request
    tags: Collection[str] = ()
    uses: Collection[str] = ()
    hashes: tuple[str, Callable[[Path], str]] | None = None
    kept: int = 8
