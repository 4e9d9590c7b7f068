"""Laws of face analysis: what is found moves with the picture, whatever its size, and tells one person from another."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image

import danqing
from danqing import installed
from danqing.errors import InvalidInput
from danqing.finish.align import applied
from danqing.identity import analysis
from danqing.identity.analysis import Known, _together
from danqing.identity.points import five, seen, upright
from danqing.measure import identity
from danqing.measure.identity import ONE_PERSON, retrieved
from danqing.nets.face_finder import SHAPES, boxes


@lru_cache(maxsize=1)
def portrait() -> np.ndarray:
    """A photograph of one face, (300, 256, 3)."""
    return np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg")).convert("RGB").resize((256, 300)))


@lru_cache(maxsize=1)
def known() -> Known:
    (one,) = analysis.shipped().faces(portrait())
    return one


def eyes(points: np.ndarray) -> float:
    return float(np.hypot(*(points[1] - points[0])))


def test_a_face_is_found_with_its_points_where_they_are() -> None:
    """Where people see them in this picture, to a tenth of the distance between the eyes."""
    seen_there = np.array([(109, 93), (152, 92), (131, 118), (115, 139), (152, 138)])
    marks = known().face.landmarks
    assert np.hypot(*(marks - seen_there).T).max() < 0.12 * eyes(marks)
    left, upper, right, lower = known().face.box
    assert ((known().points >= (left - 9, upper - 9)) & (known().points <= (right + 9, lower + 25))).all()
    np.testing.assert_allclose(five(known().points), marks, atol=1e-9)


@pytest.mark.parametrize(("scale", "angle", "shift"), [(0.5, 0, (0, 0)), (1.0, 25, (40, -20))])
def test_a_face_moves_with_its_picture_and_stays_the_same_person(scale: float, angle: float, shift) -> None:
    matrix = cv2.getRotationMatrix2D((128, 150), angle, scale)
    matrix[:, 2] += shift
    moved = cv2.warpAffine(portrait(), matrix, (340, 380), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    (other,) = analysis.shipped().faces(moved)
    marks = other.face.landmarks
    assert np.hypot(*(marks - applied(matrix, known().face.landmarks)).T).mean() < 0.12 * eyes(marks)
    assert float((other.numbers - known().numbers).norm()) < 0.45 < ONE_PERSON


def test_several_faces_are_found_the_largest_first() -> None:
    small = cv2.resize(portrait(), (128, 150), interpolation=cv2.INTER_AREA)
    sheet = np.full((300, 420, 3), 200, np.uint8)
    sheet[:, :256], sheet[60:210, 280:408] = portrait(), small
    first, second = analysis.shipped().faces(sheet)
    assert first.points[:, 0].max() < 256 < second.points[:, 0].min()
    assert float((first.numbers - second.numbers).norm()) < 0.45


def test_looks_at_one_place_are_one_face_and_a_weak_look_alone_is_none() -> None:
    box = np.array([10.0, 10, 30, 30])
    sure, far = (0.9, *box), (0.95, *(box + 100))
    near = (0.5, *(box + 2))
    (found,) = _together(np.array([near, sure]))
    assert found[0] == 0.9
    np.testing.assert_allclose(found[1], (0.5 * (box + 2) + 0.9 * box) / 1.4)
    assert len(list(_together(np.array([sure, far])))) == 2
    assert not list(_together(np.array([(0.7, *box)]))) and not list(_together(np.empty((0, 5))))


def test_boxes_of_a_network_that_says_nothing_are_the_shapes_in_the_middle_of_the_cells() -> None:
    places, sure = boxes(torch.zeros(5, 5, 2, 3))
    assert places.shape == (30, 4) and (sure == 0.5).all()
    for n, (width, height) in enumerate(SHAPES):
        left, upper, right, lower = places.unflatten(0, (5, 2, 3))[n, 1, 2]
        torch.testing.assert_close(torch.stack([right - left, lower - upper]), torch.tensor([width, height]))
        torch.testing.assert_close(torch.stack([left + right, upper + lower]) / 2, torch.tensor([2.5, 1.5]))


def test_a_square_holds_what_it_is_told_and_the_eyes_are_level_in_it() -> None:
    box = np.array([20.0, 30, 60, 50])
    corners = np.array([(20, 40), (60, 40)])
    np.testing.assert_allclose(applied(seen(box, 80), corners), [(-0.5, 39.5), (79.5, 39.5)])
    points = known().points
    there = applied(upright(points, 0.0, 112), points)
    assert abs(five(there)[0, 1] - five(there)[1, 1]) < 1e-9
    assert np.isclose((there.max(0) - there.min(0)).max(), 112)
    np.testing.assert_allclose((there.max(0) + there.min(0)) / 2, (55.5, 55.5))


def test_the_python_face_finds_and_compares_faces(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(portrait()).save(path)
    (found,) = danqing.find_faces(path)
    np.testing.assert_array_equal(found.points, known().points)
    faces = {1.0: known(), 0.7: analysis.shipped().faces((portrait() * 0.7).astype(np.uint8))[0], 0.0: None}
    monkeypatch.setattr(identity, "find_faces", lambda given: [one] if (one := faces[given]) else [])
    assert danqing.face_distance(1.0, 1.0) == 0 < danqing.face_distance(1.0, 0.7) < 0.3
    with pytest.raises(InvalidInput, match="no face was found in picture 2 of 2"):
        danqing.face_distance(1.0, 0.0)


def test_what_is_not_installed_is_asked_for_when_it_is_used(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(installed, "folders", lambda: [tmp_path])
    analysis.shipped.cache_clear()
    with pytest.raises(InvalidInput, match="pip install danqing-identity"):
        danqing.find_faces(Image.fromarray(portrait()))


def test_retrieval_counts_whose_nearest_is_the_right_one() -> None:
    gallery = torch.eye(4)
    queries = gallery[[0, 1, 2, 2]] + 0.1
    assert retrieved(queries, gallery, [0, 1, 2, 2]) == 1 and retrieved(queries, gallery, [0, 1, 2, 3]) == 0.75
    with pytest.raises(InvalidInput, match="4 queries and 3 answers"):
        retrieved(queries, gallery, [0, 1, 2])
