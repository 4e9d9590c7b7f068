"""Laws of poses: points of OpenPose's JSON are drawn at their places in its colours; what is none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from danqing.errors import DanqingError, InvalidFile, InvalidInput
from danqing.hint import pose
from danqing.painting.adapters.hinting import hinted

BODY = [
    *((64, 20), (64, 40), (48, 40), (40, 60), (36, 80), (80, 40), (88, 60), (92, 80), (54, 80)),
    *((52, 100), (52, 120), (74, 80), (76, 100), (76, 120), (60, 16), (68, 16), (54, 18), (74, 18)),
]


def file(folder: Path, **changes: Any) -> Path:
    body = [number for x, y in BODY for number in (x, y, 1)]
    person = {"pose_keypoints_2d": body, **changes}
    path = folder / "pose.json"
    path.write_text(json.dumps({"people": [person], "canvas_width": 128, "canvas_height": 128}), "utf-8")
    return path


def drawn(path: Path, size: tuple[int, int] = (128, 128), more: str = "") -> np.ndarray[Any, Any]:
    return np.asarray(hinted(Image.new("RGB", size), f"pose:points={path}{more}"))


def test_every_point_has_its_colour_at_its_place(tmp_path: Path) -> None:
    found = drawn(file(tmp_path))
    for (x, y), colour in zip(BODY, pose.COLOURS, strict=True):
        assert found[y, x].tolist() == list(colour)


def test_limbs_are_darker_than_points_and_join_them(tmp_path: Path) -> None:
    found = drawn(file(tmp_path), (512, 512))
    for n, (a, b) in enumerate(pose.LIMBS[2:6], 2):
        x, y = ((BODY[a][i] + BODY[b][i]) * 2 for i in range(2))
        assert found[y, x].tolist() == [int(0.6 * level) for level in pose.COLOURS[n]]


def test_points_follow_the_size_of_the_picture(tmp_path: Path) -> None:
    small, large = drawn(file(tmp_path)), drawn(file(tmp_path), (256, 512))
    for x, y in BODY:
        assert large[4 * y, 2 * x].tolist() == small[y, x].tolist()


def test_what_is_not_seen_is_not_drawn(tmp_path: Path) -> None:
    body = [number for n, (x, y) in enumerate(BODY) for number in (x, y, int(n != 4))]
    found = drawn(file(tmp_path, pose_keypoints_2d=body))
    assert not found[80, 36].any() and found[60, 40].any()


def test_a_body_of_25_points_is_the_one_of_18(tmp_path: Path) -> None:
    points = [*BODY[:8], (64, 80), *BODY[8:], *[(0, 0)] * 6]
    more = [number for x, y in points for number in (x, y, int((x, y) != (0, 0)))]
    first = drawn(file(tmp_path))
    np.testing.assert_array_equal(drawn(file(tmp_path, pose_keypoints_2d=more)), first)


def test_fingers_are_drawn_where_they_are_asked_for(tmp_path: Path) -> None:
    hand = [number for n in range(21) for number in (100 + n, 100, 1)]
    path = file(tmp_path, hand_left_keypoints_2d=hand)
    assert drawn(path)[100, 110].tolist() == [0, 0, 255] and not drawn(path, more=":hands=false")[100, 110].any()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"people": 3}', '{"people": [{}]}', '{"people": [{"pose_keypoints_2d": [1, 2]}]}', "[" * 9999],
)
def test_what_is_no_file_of_points_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pose.json").write_text(text, "utf-8")
    with pytest.raises(InvalidFile, match="none of OpenPose's JSON"):
        drawn(tmp_path / "pose.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"cannot read .*gone\.json"):
        drawn(tmp_path / "gone.json")


def test_without_mediapipe_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pose, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"danqing\[pose\].*pose:points=pose.json"):
        hinted(Image.new("RGB", (8, 8)), "pose")
    monkeypatch.setattr(pose, "find_spec", lambda name: name)
    with pytest.raises(DanqingError, match=r"there is no file gone\.task"):
        hinted(Image.new("RGB", (8, 8)), "pose:model=gone.task")
