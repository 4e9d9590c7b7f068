"""Hints of poses: a person's limbs and fingers in the colours that ControlNets of OpenPose read."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InvalidFile, InvalidInput
from ..inputs.parse import json_of
from .base import Draw, Warn
from .drawn import Levels, visible

Array = NDArray[np.floating[Any]]
#: Pairs of OpenPose's 18 points (COCO): nose 0, neck 1, right arm 2 to 4, left arm 5 to 7, right leg 8 to 10, left leg
#: 11 to 13, eyes 14 and 15, ears 16 and 17.
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
#: Of point and limb n: the colours of the circle, a little more than 20 degrees apart.
COLOURS = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
#: Of a hand's 21 points: the wrist 0, then four of each finger from the thumb on.
BONES = tuple((0 if k == 0 else 4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in range(4))
#: Which of MediaPipe's 33 points are OpenPose's; the neck is between the shoulders, 11 and 12.
MEDIAPIPE = (0, 11, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
#: Which of OpenPose's 25 points (BODY_25) are the 18; the 8th is the middle of the hips.
BODY_25 = (*range(8), *range(9, 19))
#: How sure a point must be, and how wide limbs are drawn, of 512 px of the shorter side.
SURE, WIDE = 0.3, 4.0


@dataclass(frozen=True)
class Person:
    """Points as (x, y) in pixels, NaN where one is not seen.

    Args:
        body: (18, 2). hands: (21, 2) each.
    """

    body: Array
    hands: tuple[Array, ...] = ()


#: Levels (H, W, 3) -> who is there.
Find = Callable[[Levels], Sequence[Person]]


def drawer(points: str, model: str, hands: bool) -> Draw:
    """What draws poses: of a file of points, or of whom MediaPipe finds.

    Raises:
        InvalidFile: a file that is not there, or is none of points. InvalidInput: MediaPipe is not installed, or
            brings no networks and no file was named.
    """
    if points:
        people, size = read(Path(points))
        return lambda picture, warn: drawn(picture.size, scaled(people, size, picture.size), hands)
    find = finder(model)

    def draw(picture: Image.Image, warn: Warn) -> Image.Image:
        people = find(np.ascontiguousarray(visible(picture)))
        if not people:
            warn("no person was found: the hint is black. MediaPipe knows people on photographs, hardly drawn ones")
        return drawn(picture.size, people, hands)

    return draw


def drawn(size: tuple[int, int], people: Sequence[Person], hands: bool) -> Image.Image:
    """Limbs as ellipses of three fifths of their colour, points over them as discs, fingers as lines.

    Source: CMU-Perceptual-Computing-Lab/openpose and lllyasviel/ControlNet (annotator/openpose), sizes by 512 px.
    """
    sheet = np.zeros((size[1], size[0], 3), np.uint8)
    wide = max(1, round(WIDE * min(size) / 512))
    for person in people:
        for n, (a, b) in enumerate(LIMBS):
            if np.isfinite(ends := person.body[[a, b]]).all():
                (x, y), across = ends.mean(0), ends[0] - ends[1]
                angle = round(float(np.degrees(np.arctan2(across[1], across[0]))))
                reach = (max(1, round(float(np.hypot(*across)) / 2)), wide)
                shape = cv2.ellipse2Poly((round(float(x)), round(float(y))), reach, angle, 0, 360, 1)
                cv2.fillConvexPoly(sheet, np.array(shape), [int(0.6 * level) for level in COLOURS[n]])
        for n, point in enumerate(person.body):
            if np.isfinite(point).all():
                cv2.circle(sheet, (round(float(point[0])), round(float(point[1]))), wide, COLOURS[n], -1)
        for hand in person.hands if hands else ():
            for n, (a, b) in enumerate(BONES):
                if np.isfinite(hand[[a, b]]).all():
                    colour = [255 * level for level in colorsys.hsv_to_rgb(n / len(BONES), 1, 1)]
                    one, other = np.rint(hand[[a, b]]).astype(int).tolist()
                    cv2.line(sheet, one, other, colour, max(1, wide // 2))
            for point in hand[np.isfinite(hand).all(1)]:
                cv2.circle(sheet, np.rint(point).astype(int).tolist(), max(1, wide // 2), (0, 0, 255), -1)
    return Image.fromarray(sheet)


def scaled(people: Sequence[Person], own: tuple[float, float] | None, size: tuple[int, int]) -> list[Person]:
    """Points on a canvas of one size, on one of another."""
    factor = np.divide(size, own) if own else np.ones(2)
    return [Person(person.body * factor, tuple(hand * factor for hand in person.hands)) for person in people]


# ---- points of a file ----------------------------------------------------------------------------------------------


def read(path: Path) -> tuple[list[Person], tuple[float, float] | None]:
    """The people of OpenPose's JSON, and the size of its canvas where it says one.

    Raises:
        InvalidFile: it is not there, or holds no points.
    """
    try:
        found = json_of(path.expanduser().read_bytes())
        first = found[0] if isinstance(found, list) else found
        size = (float(first["canvas_width"]), float(first["canvas_height"])) if "canvas_width" in first else None
        if size and min(size) <= 0:
            raise ValueError("its canvas has no pixels")
        return list(_people(first["people"])), size
    except OSError as error:
        raise InvalidFile(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidFile(
            f"{path} is none of OpenPose's JSON ({error}); it reads"
            ' {"people": [{"pose_keypoints_2d": [x, y, 1, ...]}]}'
        ) from None


def _people(people: Any) -> Iterator[Person]:
    for one in people:
        body = _points(one["pose_keypoints_2d"])
        if len(body) not in (18, 25):
            raise ValueError(f"a body of {len(body)} points, where there should be 18 or 25")
        hands = (_points(one.get(f"hand_{side}_keypoints_2d") or ()) for side in ("left", "right"))
        whole = tuple(hand for hand in hands if len(hand) == 21)
        yield Person(body[list(BODY_25)] if len(body) == 25 else body, whole)


def _points(numbers: Any) -> Array:
    """x, y and how sure, one after the other -> (N, 2)."""
    table = np.array(numbers, float).reshape(-1, 3)
    return np.where(table[:, 2:] > 0, table[:, :2], np.nan)


# ---- points that MediaPipe finds -----------------------------------------------------------------------------------


def finder(model: str) -> Find:
    """By MediaPipe: with the networks that its package brings (up to 0.10.21), or with a file of its own,
    pose_landmarker or holistic_landmarker.

    Raises:
        InvalidInput: it is not installed, or no network is at hand. InvalidFile: there is no such file.
    """
    if find_spec("mediapipe") is None:
        raise InvalidInput(
            "pose: MediaPipe is not installed: run `pip install 'danqing[pose]'`, or give a file of OpenPose's points,"
            " pose:points=pose.json"
        )
    if model:
        if not Path(model).expanduser().is_file():
            raise InvalidFile(
                f"pose: there is no file {model}: name one of MediaPipe, for example pose_landmarker.task"
            )
        return _by_task(str(Path(model).expanduser()))
    mediapipe = import_module("mediapipe")
    if not hasattr(mediapipe, "solutions"):
        raise InvalidInput(
            f"pose: MediaPipe {mediapipe.__version__} brings no networks: name a file of its own,"
            " pose:model=pose_landmarker.task, or install the last release that does, mediapipe==0.10.21"
        )
    return _by_package(mediapipe)


def _by_package(mediapipe: Any) -> Find:
    def find(levels: Levels) -> list[Person]:
        with mediapipe.solutions.holistic.Holistic(static_image_mode=True) as network:
            said = network.process(levels)
        hands = (said.left_hand_landmarks, said.right_hand_landmarks)
        found = [hand.landmark for hand in hands if hand]
        return [_person(said.pose_landmarks.landmark, found, levels)] if said.pose_landmarks else []

    return find


def _by_task(path: str) -> Find:
    """Several people of pose_landmarker, without hands; one of holistic_landmarker, with them."""
    mediapipe = import_module("mediapipe")
    vision, base = mediapipe.tasks.vision, mediapipe.tasks.BaseOptions(model_asset_path=path)
    whole = "holistic" in Path(path).name

    def find(levels: Levels) -> list[Person]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=levels)
        try:
            if whole:
                with vision.HolisticLandmarker.create_from_options(
                    vision.HolisticLandmarkerOptions(base_options=base)
                ) as network:
                    said = network.detect(image)
                hands = [hand for hand in (said.left_hand_landmarks, said.right_hand_landmarks) if hand]
                return [_person(said.pose_landmarks, hands, levels)] if said.pose_landmarks else []
            options = vision.PoseLandmarkerOptions(base_options=base, num_poses=8)
            with vision.PoseLandmarker.create_from_options(options) as network:
                return [_person(points, (), levels) for points in network.detect(image).pose_landmarks]
        except (ValueError, RuntimeError, OSError) as error:
            raise InvalidFile(f"MediaPipe does not read {path} ({str(error).splitlines()[0]})") from None

    return find


def _person(body: Any, hands: Sequence[Any], levels: Levels) -> Person:
    """MediaPipe's points, from 0 to 1 along each side."""
    size = np.array([levels.shape[1], levels.shape[0]], float)

    def points(landmarks: Any) -> Array:
        return np.array([(one.x, one.y) for one in landmarks]) * size

    seen = np.array([one.visibility for one in body], float) > SURE
    every = np.where(seen[:, None], points(body), np.nan)
    found = every[list(MEDIAPIPE)]
    found[1] = every[[11, 12]].mean(0)
    return Person(found, tuple(map(points, hands)))
