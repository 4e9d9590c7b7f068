"""What travels to another machine and back: weights in 8 bits, pictures as WebP, and folders that miss no file.

A matrix or a convolution is kept as `danqing.run.quantise` keeps one, with a scale for each output; what has fewer axes
in bf16.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from danqing.errors import InvalidFile
from danqing.weights import store
from danqing.weights.bits import Rows

MIB = 1 << 20
MANIFEST = "manifest.json"
SCALE = ".scale"


def narrowed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in 8 bits and their scales, by name; those with fewer than two axes in bf16."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            made[name] = tensor.bfloat16()
            continue
        made[name], made[name + SCALE] = Rows.of(tensor.detach())
    return made


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `narrowed` made, as fp32."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not name.endswith(SCALE):
            scale = tensors.get(name + SCALE)
            made[name] = tensor.float() if scale is None else Rows(tensor, scale).dense(torch.float32)
    return made


def pieces(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Tensors in parts of at most ``limit`` bytes each, in their order; their headers take some more.

    Raises:
        InvalidFile: a single one is larger.
    """
    made: list[dict[str, Tensor]] = [{}]
    room = limit
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > limit:
            raise InvalidFile(f"{name} has {size} bytes, and a piece holds {limit}: allow larger pieces")
        if size > room:
            made.append({})
            room = limit
        made[-1][name] = tensor
        room -= size
    return made


def webp(picture: np.ndarray, quality: int) -> bytes:
    """A picture, (H, W, 3) or with opacity (H, W, 4) of bytes, as a WebP file of a quality of 0 to 100."""
    coded = io.BytesIO()
    # Opacity without loss takes as many bytes as all colours, and at 10 it is within 4 levels of 255.
    Image.fromarray(picture).save(coded, "WEBP", quality=quality, alpha_quality=10)
    return coded.getvalue()


def write_pictures(path: Path, pictures: Iterable[np.ndarray], quality: int) -> None:
    """Write pictures as WebP into a zip file, in their order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, picture in enumerate(pictures):
            archive.writestr(zipfile.ZipInfo(f"{index:05}.webp"), webp(picture, quality))


def read_pictures(path: Path) -> list[np.ndarray]:
    """The pictures of such a file, in their order, with opacity where one has it; white where nothing is drawn, since
    WebP keeps no colour there."""
    made = []
    with zipfile.ZipFile(path) as archive:
        opened = [Image.open(io.BytesIO(archive.read(name))) for name in sorted(archive.namelist())]
    mode = "RGBA" if any(picture.mode == "RGBA" for picture in opened) else "RGB"  # WebP drops what is opaque wholly
    for picture in opened:
        levels = np.array(picture.convert(mode))
        if mode == "RGBA":
            levels[levels[..., 3] == 0, :3] = 255
        made.append(levels)
    return made


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the folder's manifest: what is said about it, and the SHA-256 of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): store.sha256(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps({**about, "files": hashes}, indent=1) + "\n", encoding="utf-8")


def unsealed(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says, of which every file is as it was sealed; others may have come.

    Raises:
        InvalidFile: there is no manifest, a file is missing, or one is not what it was.
    """
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        hashes = said["files"]
    except (OSError, ValueError, KeyError):
        raise InvalidFile(f"{folder} holds no {MANIFEST} of a packed folder: name the folder that was packed") from None
    if lost := [name for name in hashes if not (folder / name).is_file()]:
        raise InvalidFile(f"{folder} has lost {listed(lost)}: copy the whole folder anew")
    if damaged := [name for name, known in hashes.items() if store.sha256(folder / name) != known]:
        raise InvalidFile(f"{folder} holds {listed(damaged)} otherwise than packed: copy the whole folder anew")
    return said


def listed(names: Sequence[str]) -> str:
    """A few of the names, and how many there are more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
