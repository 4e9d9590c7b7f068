"""The networks of face analysis against face-api.js: what it makes of a pattern, recorded by record_face_api.js."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from danqing import installed
from danqing.identity import analysis
from danqing.nets.face_finder import FaceFinder, FaceFinderConfig
from danqing.nets.face_landmarks import FaceLandmarks, FaceLandmarksConfig
from danqing.nets.face_recogniser import FaceRecogniser, FaceRecogniserConfig
from danqing.weights import store
from danqing.weights.formats.safe import STEPS_KEY
from danqing.weights.load import load

FIXTURE = Path(__file__).parent / "fixtures" / "face_api.npz"
#: The network's file, the side that it is shown, and how far its answer may be from face-api.js's, in float32.
NETWORKS = {"finder": (96, 1e-4), "landmarks": (112, 1e-6), "recogniser": (150, 1e-6)}


def pattern(side: int) -> torch.Tensor:
    """That of record_face_api.js, (1, 3, side, side) in [0, 1]."""
    y, x, c = np.mgrid[0:side, 0:side, 0:3]
    levels = (3 * x * x + 5 * y * y + 7 * x * y + 90 * c + 11 * (x // 4) * (y // 3)) // 16 % 256
    return torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255


def network(name: str) -> Any:
    return load(installed.require(analysis.FOLDER, f"{name}.safetensors"))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_network_that_ships_says_what_face_api_says(name: str) -> None:
    side, tolerance = NETWORKS[name]
    said = network(name)(pattern(side))[0]
    said = said.permute(2, 3, 0, 1) if name == "finder" else said
    torch.testing.assert_close(said, torch.from_numpy(np.load(FIXTURE)[name]), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_in_steps_are_what_their_whole_numbers_say(name: str, tmp_path: Path) -> None:
    """As TensorFlow.js reads them: in float64, then rounded once."""
    path = installed.require(analysis.FOLDER, f"{name}.safetensors")
    header, data = store.header(path), path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    steps, read = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][STEPS_KEY]), store.read(path)
    assert steps and STEPS_KEY not in header.metadata and header.size < 7e6
    for key, (step, low) in steps.items():
        spec = header.tensors[key]
        held = np.frombuffer(data[8 + length + spec.start : 8 + length + spec.stop], np.uint8)
        assert spec.dtype == "F32"
        np.testing.assert_array_equal(read[key].numpy().ravel(), (low + step * held.astype(np.float64)).astype("f4"))
    store.write(tmp_path / "whole.safetensors", read, header.metadata)
    again = store.read(tmp_path / "whole.safetensors")
    assert all(torch.equal(again[key], tensor) for key, tensor in read.items())


# The layers, by what TensorFlow's definitions say ---------------------------------------------------------------------


def same(x: torch.Tensor, kernel: int, stride: int, value: float = 0.0) -> torch.Tensor:
    """Padded as TensorFlow's "same": ``(ceil(n / s) - 1) s + k - n`` in all, the smaller half before."""
    for axis in (2, 3):
        n = x.shape[axis]
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        pads = [0, 0, 0, 0]
        pads[2 * (3 - axis)], pads[2 * (3 - axis) + 1] = total // 2, total - total // 2
        x = F.pad(x, pads, value=value)
    return x


@pytest.mark.parametrize("side", [64, 96, 160])
@torch.no_grad()
def test_the_finder_pools_as_tensorflow_does(side: int) -> None:
    torch.manual_seed(0)
    net = FaceFinder(FaceFinderConfig(widths=(4, 6, 8, 8, 8, 8))).double()
    pictures = torch.rand(2, 3, side, side, dtype=torch.float64)
    x = F.leaky_relu(net.conv_in(pictures - pictures.new_tensor((117.001, 114.697, 97.404))[:, None, None] / 255), 0.1)
    for layer in net.layers:
        x = F.leaky_relu(layer(F.max_pool2d(same(x, 2, 2, float("-inf")), 2, 2)), 0.1)
    want = net.conv_out(F.max_pool2d(same(x, 2, 1, float("-inf")), 2, 1))
    torch.testing.assert_close(net(pictures).flatten(1, 2), want, rtol=0, atol=1e-12)
    assert net(pictures).shape == (2, 5, 5, side // 32, side // 32)


@torch.no_grad()
def test_a_recogniser_of_any_depth_brings_both_sides_of_a_sum_to_one_shape() -> None:
    torch.manual_seed(0)
    for size in (75, 86, 97, 150):
        net = FaceRecogniser(FaceRecogniserConfig(widths=(4, 6, 8), depths=(1, 2, 1), numbers=5, size=size))
        assert net(torch.rand(2, 3, size, size)).shape == (2, 5)


@torch.no_grad()
def test_landmarks_are_told_of_faces_one_by_one() -> None:
    torch.manual_seed(0)
    net = FaceLandmarks(FaceLandmarksConfig(widths=(4, 6), size=28)).double()
    faces = torch.rand(3, 3, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(net(faces), torch.cat([net(face[None]) for face in faces]), rtol=0, atol=1e-12)


if __name__ == "__main__":
    said = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    shapes = {"finder": (3, 3, 5, 5), "landmarks": (68, 2), "recogniser": (128,)}
    arrays: Any = {name: np.float32(said[name]).reshape(shape) for name, shape in shapes.items()}
    np.savez_compressed(FIXTURE, **arrays)
