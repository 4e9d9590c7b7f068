"""Laws of hints of faces: points where they are, in InstantID's colours, and what joins them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from danqing.finish.faces import Face
from danqing.hint.face import COLOURS, NOSE, dotted, drawn
from danqing.identity import analysis
from danqing.painting.adapters.hinting import hinted

FIVE = np.array([(300, 400), (700, 380), (520, 600), (340, 760), (690, 740)], float)


def test_points_have_their_colours_and_sizes_and_what_joins_them_three_fifths() -> None:
    sheet = np.asarray(drawn((1024, 1024), [FIVE]), int)
    for n, colour in enumerate(COLOURS):
        x, y = FIVE[n].astype(int)
        rows, columns = np.nonzero((sheet == colour).all(2))
        near = (abs(rows - y) <= 12) & (abs(columns - x) <= 12)
        assert near.sum() == pytest.approx(np.pi * 10**2, rel=0.1) and near.all()
        assert columns.max() - columns.min() == rows.max() - rows.min() == 20
        if n != NOSE:
            x, y = ((FIVE[n] + FIVE[NOSE]) / 2).astype(int)
            assert (sheet[y, x] == [int(0.6 * level) for level in colour]).all()
            across = FIVE[n] - FIVE[NOSE]
            side = np.array([-across[1], across[0]]) / np.hypot(*across)
            there = [sheet[tuple(np.rint([y, x] + side[::-1] * step).astype(int))].any() for step in (3, 6)]
            assert there == [True, False]


@pytest.mark.parametrize("size", [(512, 512), (512, 700), (64, 48), (8, 8)])
def test_sizes_follow_the_shorter_side(size: tuple[int, int]) -> None:
    scale = min(size) / 1024
    sheet = np.asarray(drawn(size, [FIVE * scale]), int)
    red = (sheet == COLOURS[0]).all(2)
    assert red.any(0).sum() == 2 * max(1, round(10 * scale)) + 1 and sheet.shape == (*size[::-1], 3)
    assert not np.asarray(drawn(size, [])).any()


def test_points_beyond_the_picture_are_left_out() -> None:
    assert not np.asarray(drawn((64, 64), [FIVE + 5000])).any()
    assert np.asarray(dotted((64, 64), [np.array([(5.0, 5.0), (-90.0, 3.0)])])).any()


def test_a_hint_shows_the_largest_face_or_every_one(monkeypatch) -> None:
    faces = [Face((0, 0, 20, 20), FIVE / 32, 0.9), Face((0, 0, 40, 40), FIVE / 16, 0.8)]
    monkeypatch.setattr(analysis.Analysis, "detect", lambda self, picture: faces)
    monkeypatch.setattr(analysis.Analysis, "points", lambda self, picture, face: face.landmarks)
    picture = Image.new("RGB", (64, 64), "white")
    one, both, dots = (hinted(picture, kind) for kind in ("face", "face:every=true", "openpose_faceonly"))
    assert one.tobytes() == drawn((64, 64), [faces[1].landmarks]).tobytes()
    assert both.tobytes() == drawn((64, 64), [faces[1].landmarks, faces[0].landmarks]).tobytes()
    assert dots.tobytes() == dotted((64, 64), [faces[1].landmarks]).tobytes()
    assert {*np.unique(np.asarray(dots))} == {0, 255}


def test_a_picture_without_a_face_is_black_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr(analysis.Analysis, "detect", lambda self, picture: [])
    said: list[str] = []
    hint = hinted(Image.new("RGB", (64, 64), "white"), "face", warn=said.append)
    assert not np.asarray(hint).any() and said[0].startswith("no face was found")
