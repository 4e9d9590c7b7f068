"""The networks of face analysis, from face-api.js's package: its numbers, to the bit, in our layout.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python -m experiments.face_api package/model -o zoo/identity/danqing_models/face-analysis

Its manifests name each tensor with its shape and, where it is held in steps of 8 bits, the step and the lowest number;
kernels are (height, width, in, out). The tensors stand in the order in which the networks have them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from danqing.nets.face_finder import FaceFinder, FaceFinderConfig
from danqing.nets.face_landmarks import FaceLandmarks, FaceLandmarksConfig
from danqing.nets.face_recogniser import FaceRecogniser, FaceRecogniserConfig
from danqing.weights import store
from danqing.weights.family import CONFIG_KEY, FAMILY_KEY
from danqing.weights.formats.safe import STEPS_KEY
from danqing.weights.registry import of

#: Our file -> the package's name, and the network.
NETWORKS = {
    "finder": ("tiny_face_detector_model", lambda: FaceFinder(FaceFinderConfig())),
    "landmarks": ("face_landmark_68_model", lambda: FaceLandmarks(FaceLandmarksConfig())),
    "recogniser": ("face_recognition_model", lambda: FaceRecogniser(FaceRecogniserConfig())),
}
SOURCE = "npm @vladmandic/face-api 1.7.15"


class Held(NamedTuple):
    """A tensor of the package as it is held.

    Args:
        numbers: of uint8 in steps, else of float32.
        steps: (step, low), or None.
    """

    numbers: np.ndarray
    steps: tuple[float, float] | None


def held(folder: Path, name: str) -> list[Held]:
    """The tensors of a network, in the order of its manifest."""
    (group,) = json.loads((folder / f"{name}-weights_manifest.json").read_text(encoding="utf-8"))
    data, place, found = b"".join((folder / path).read_bytes() for path in group["paths"]), 0, list[Held]()
    for entry in group["weights"]:
        how = entry.get("quantization")
        kind = np.dtype(np.uint8 if how else np.float32)
        count = int(np.prod(entry["shape"]))
        numbers = np.frombuffer(data, kind, count, place).reshape(entry["shape"])
        place += numbers.nbytes
        found.append(Held(numbers, (how["scale"], how["min"]) if how else None))
    assert place == len(data), f"{name}: {len(data) - place} bytes are left"
    return found


def turned(numbers: np.ndarray, shape: torch.Size) -> Tensor:
    """A tensor in our order of axes: kernels (out, in, height, width), matrices (out, in)."""
    tensor = torch.from_numpy(numbers.copy())
    if tensor.ndim == 4:
        tensor = tensor.permute(2, 3, 0, 1) if tensor.shape[3] == 1 and shape[1] == 1 else tensor.permute(3, 2, 0, 1)
    return (tensor.T if tensor.ndim == 2 else tensor).reshape(shape).contiguous()


def convert(folder: Path, name: str, net: nn.Module, path: Path) -> Path:
    """Write a network's file."""
    tensors, steps = dict[str, Tensor](), dict[str, tuple[float, float]]()
    for (own, like), each in zip(net.named_parameters(), held(folder, name), strict=True):
        tensors[own] = turned(each.numbers, like.shape)
        if each.steps:
            steps[own] = each.steps
    said = {
        FAMILY_KEY: of(net).name,
        CONFIG_KEY: json.dumps(asdict(net.config), sort_keys=True),  # type: ignore[call-overload]
        STEPS_KEY: json.dumps(steps, sort_keys=True),
        "source": SOURCE,
        "licence": "MIT",
    }
    return store.write(path, tensors, said)


def main() -> None:
    reads = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reads.add_argument("model", type=Path, help="the folder model of the unpacked package")
    reads.add_argument("-o", "--out", type=Path, required=True, help="the folder to write into")
    given = reads.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, (theirs, make) in NETWORKS.items():
        path = convert(given.model, theirs, make(), given.out / f"{name}.safetensors")
        print(f"| {path.name} | `{store.sha256(path)}` |")


if __name__ == "__main__":
    main()
