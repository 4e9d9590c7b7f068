"""What an adapter is told of a face: whose it is, by the recogniser that it was trained with, and where it lies.

Nothing here is needed, nor looked for, before an adapter that reads faces is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from .... import installed
from ....errors import InvalidFile, InvalidInput
from ....finish.faces import Face
from ....identity import analysis
from ....identity.arcface import ArcFace, aligned
from ....nets.ip_adapter import IPAdapterConfig
from ....store import settings

#: The folder of models in which ComfyUI keeps recognisers of faces.
FOLDER = "insightface"
#: The side of the face that an image tower is shown, in pixels.
SHOWN = 224
#: How many numbers the recogniser that ships says of a face.
OURS = 128


class Usual(NamedTuple):
    """A recogniser by which published adapters were trained, and the package of insightface's that has it."""

    file: str
    package: str


def usual(config: IPAdapterConfig) -> Usual:
    """That of an adapter: a resampler of faces is InstantID's."""
    return Usual("glintr100.onnx", "antelopev2") if config.kind == "plus" else Usual("w600k_r50.onnx", "buffalo_l")


class Seen(NamedTuple):
    """What is read of a face: the recogniser's numbers, (1, F), the face upright, for an image tower, and where it
    lies."""

    numbers: Tensor
    crop: Image.Image
    face: Face


def missing(config: IPAdapterConfig, given: str) -> list[str]:
    """The parts that are not there of what reads faces for an adapter, each with where to get it."""
    parts = list[str]()
    if config.face != OURS or given:
        if recogniser(config, given) is None:
            file, package = usual(config)
            parts.append(
                f"the recogniser of faces {given or file} of insightface's package {package} (whose weights may be "
                f"used for non-commercial research alone) in a folder {FOLDER} of your models or stated by its path"
            )
        if not find_spec("onnxruntime"):
            parts.append("what runs it: pip install 'danqing[onnx]'")
    if not all(installed.path(analysis.FOLDER, file) for file in analysis.FILES):
        parts.append(f"the networks that find faces: {installed.missing(analysis.FOLDER)}")
    return parts


def require(config: IPAdapterConfig, given: str, adapter: str) -> Path:
    """The file of the recogniser of an adapter.

    Args:
        given: its path; "" for the first of its usual name in the folders of models, or the one that ships.

    Raises:
        InvalidFile: what reads faces is not all there; the one error names each part, and where to get it.
    """
    path = recogniser(config, given)
    if (parts := missing(config, given)) or path is None:
        raise InvalidFile(f"{adapter} reads faces, and these parts are missing: {'; '.join(parts)}")
    return path


def recogniser(config: IPAdapterConfig, given: str) -> Path | None:
    """The same, None where it is not there."""
    if config.face == OURS and not given:
        return installed.path(analysis.FOLDER, analysis.FILES[-1])
    path = Path(os.path.expanduser(given)) if given else next(_usual(usual(config).file), None)
    return path if path is not None and path.is_file() else None


def _usual(file: str) -> Iterator[Path]:
    for root in settings.read().models:
        for base in (root, root / "models"):
            yield from sorted((base / FOLDER).rglob(file))


def _recogniser(path: Path) -> analysis.Recognises:
    """What a file holds, ours or another; read again where its time changes."""
    ours = path == installed.path(analysis.FOLDER, analysis.FILES[-1])
    return analysis.shipped() if ours else _arcface(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _arcface(path: Path, stamp: int) -> ArcFace:
    return ArcFace(path)


def chosen(image: Image.Image, number: int, warn: Callable[[str], object]) -> Face:
    """A face of an RGB picture.

    Args:
        number: which, 1 the largest; 0 for that one too, of several of which it warns.

    Raises:
        InvalidInput: there is none, or not so many.
    """
    faces = analysis.largest_first(analysis.shipped().detect(np.asarray(image)))
    if not faces:
        raise InvalidInput(
            f"no face was found in the picture of {image.width}×{image.height}, and the adapter reads faces: give one "
            "that shows a face from the front, at least a twentieth as wide as the picture"
        )
    if number > len(faces):
        raise InvalidInput(
            f"face {number} was asked for; the picture of {image.width}×{image.height} shows {len(faces)}, and 1 is "
            "the largest"
        )
    if not number and len(faces) > 1:
        warn(f"a picture shows {len(faces)} faces, of which the largest was read.")
    return faces[max(number, 1) - 1]


def seen(image: Image.Image, face: Face, file: Path, width: int) -> Seen:
    """What is read of a face of an RGB picture.

    Args:
        file: of the recogniser; so many numbers are read of it.

    Raises:
        InvalidFile: it says another count of numbers.
    """
    picture = np.asarray(image)
    numbers = _recogniser(file).numbers(picture, face)
    if numbers.shape[1] != width:
        raise InvalidFile(f"{file} says {numbers.shape[1]} numbers of a face, and the adapter reads {width}")
    return Seen(numbers, Image.fromarray(aligned(picture, face.landmarks, SHOWN)), face)
