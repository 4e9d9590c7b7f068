"""The kinds of adapters that requests ask for, one explicit table, `ATTACHMENTS`, and those read for one model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...prompt.towers import Text
from ...request.request import Resolved
from ...tables import Table
from ..latest import Latest
from .attachment import Asked, Attached, Attachment, Target, tags_of
from .control import CONTROL
from .faces.kept import FACES
from .ip_adapters import IP_ADAPTERS
from .loras import LORAS
from .reference import REFERENCES
from .t2i import T2I
from .words import WORDS

#: In the order in which they are attached.
ATTACHMENTS: Table[Attachment] = Table(
    "adapter",
    {
        "words": WORDS,
        "loras": LORAS,
        "controls": CONTROL,
        "t2i": T2I,
        "ip-adapters": IP_ADAPTERS,
        "faces": FACES,
        "references": REFERENCES,
    },
    kind="painting.adapters.attachment:Attachment",
    columns={
        "tags": lambda row: ", ".join(f"`<{tag}:…>`" for tag in row.tags),
        "fields": lambda row: ", ".join(f"`{name}`" for name in row.uses),
        "what it does": lambda row: row.does,
    },
)


class Adapters:
    """What was read for one model; read again when a file changes."""

    def __init__(self, target: Target):
        self.target = target
        self._read: dict[Attachment, Latest[tuple[Asked, int, bool], Any]] = {}

    def asked(self, request: Resolved, text: Text) -> Attached:
        """What a request asks for, ready to be put on.

        Args:
            text: of the model.

        Raises:
            InvalidFile: an adapter that does not fit. UnknownName: where the request is strict, one that is not there.
        """
        warnings, kinds = list[str](), ATTACHMENTS.usable().values()
        attached = Attached(text, tags_of(request, {tag for kind in kinds for tag in kind.tags}))
        for kind in kinds:
            asked = tuple(kind.find(request, warnings.append))
            found = ((one, self._adapter(kind, one, request.strict)) for one in asked)
            attached = kind.attach(attached, found, self.target, warnings.append)
            if kind.hashes and asked:
                key, hashed = kind.hashes
                names = {Path(one.name).stem: hashed(one.path)[:12] for one in asked}
                attached = replace(attached, named={**attached.named, key: names})
        return replace(attached, warnings=tuple(warnings))

    def _adapter(self, kind: Attachment, asked: Asked, strict: bool) -> Any:
        key = (asked._replace(how=None), asked.time, strict)
        return self._read.setdefault(kind, Latest(kind.kept)).get(key, lambda: kind.read(asked, self.target, strict))
