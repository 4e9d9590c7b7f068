"""What finds faces, their points, and whose they are: our own layout of face-api.js's networks."""

from __future__ import annotations

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network


def face_finder_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.face_finder.FaceFinderConfig`, all of it."""
    layers = range(count(shapes, "layers.{}.1.weight"))
    widths = shapes["conv_in.weight"][0], *(shapes[f"layers.{i}.1.weight"][0] for i in layers)
    return Facts(inferred={"widths": widths})


def face_landmarks_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.face_landmarks.FaceLandmarksConfig`; each block halves a grid that ends in 7×7."""
    widths = tuple(shapes[f"blocks.{i}.more.0.1.weight"][0] for i in range(count(shapes, "blocks.{}.more.0.1.weight")))
    return Facts(inferred={"widths": widths}, assumed={"size": 7 * 2 ** len(widths)})


def face_recogniser_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.face_recogniser.FaceRecogniserConfig`."""
    ends = [shapes[f"blocks.{i}.conv2.conv.weight"][0] for i in range(count(shapes, "blocks.{}.conv2.conv.weight"))][
        :-1
    ]
    widths = tuple(dict.fromkeys(ends))
    told = {"widths": widths, "depths": tuple(map(ends.count, widths)), "numbers": shapes["linear.weight"][0]}
    return Facts(inferred=told, assumed={"size": 150})


FACE_FINDER = Family(
    "face-finder",
    "danqing",
    has("conv_in.weight", "layers.0.0.weight", "layers.0.1.weight", "conv_out.weight"),
    face_finder_facts,
    network("face_finder.FaceFinder"),
    fixed(),
)

FACE_LANDMARKS = Family(
    "face-landmarks",
    "danqing",
    has("blocks.0.first.weight", "blocks.0.more.0.1.weight", "linear.weight"),
    face_landmarks_facts,
    network("face_landmarks.FaceLandmarks"),
    fixed(),
)

FACE_RECOGNISER = Family(
    "face-recogniser",
    "danqing",
    has("conv_in.conv.weight", "blocks.0.conv1.conv.weight", "linear.weight"),
    face_recogniser_facts,
    network("face_recogniser.FaceRecogniser"),
    fixed(),
)
