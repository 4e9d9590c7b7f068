"""What was painted is not lost: where it cannot be written as asked for, it is written otherwise."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import DanqingError, InvalidFile
from .picture import Picture


def save(picture: Picture, path: Path, *, overwrite: bool = False) -> tuple[Path, DanqingError | None]:
    """Write a picture to its place; where that fails, as PNG beside, by a short name there, or among the temporary
    files.

    Returns:
        the path written, and why it is another than was asked for.

    Raises:
        InvalidFile: it can be written nowhere.
    """
    short = f"picture-{picture.request.seed}-{picture.request.index}.png"
    reason: Exception | None = None
    for place in dict.fromkeys((path, _as_png(path), path.parent / short, Path(tempfile.gettempdir()) / short)):
        try:
            written = picture.save(place, overwrite=overwrite and place == path)
        except Exception as error:  # an encoder may raise anything, and hours of painting hang on it
            reason = reason or error
            continue
        return written, None if reason is None else InvalidFile(f"{reason}. It was written to {written} instead")
    raise reason if isinstance(reason, DanqingError) else InvalidFile(f"cannot write {path}: {reason}")


def _as_png(path: Path) -> Path:
    return path.with_suffix(".png") if path.name else path
