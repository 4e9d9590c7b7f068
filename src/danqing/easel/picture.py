"""A painted picture with everything that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from PIL.Image import Image

    from .request import Request


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a recipe yields last.

    Args:
        image: RGB, H × W.
        request: resolved; painting it again on the same machine gives the same bytes.
        warnings: whatever was cut, ignored or tried again, in words.
        record: the machine, the precision, the versions and the model's hashes: what tells a changed result from
            another machine.
        timings: seconds by stage; not written into files, so that the same request gives the same file.
    """

    image: Image
    request: Request
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int = 95) -> Path:
        """Write PNG, JPEG or WebP by the suffix, with the request inside; an existing file is kept and the name
        numbered.

        Raises:
            InvalidInput: another suffix. InvalidFile: the folder cannot be written, or the disk is full; nothing is
                left behind.
        """
        from .files import write

        return write(self, Path(path), overwrite=overwrite, quality=quality)
