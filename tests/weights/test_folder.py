"""Laws of folders in the making: whole or not at all."""

import os

import pytest

from danqing.errors import InvalidFile
from danqing.weights.folder import whole


def test_a_folder_is_replaced_by_a_whole_one_alone(tmp_path):
    folder = tmp_path / "models" / "mine"
    with whole(folder, parents=True) as beside:
        (beside / "model.json").write_text('{"danqing": 1}')
        (beside / "old").touch()
        assert not folder.exists()
    with pytest.raises(RuntimeError), whole(folder) as beside:
        (beside / "new").touch()
        raise RuntimeError
    assert sorted(os.listdir(folder)) == ["model.json", "old"]
    with whole(folder) as beside:
        (beside / "new").touch()
    assert os.listdir(folder) == ["new"] and os.listdir(tmp_path / "models") == ["mine"]


def test_a_place_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(InvalidFile, match="cannot write"), whole(tmp_path / "no" / "mine"):
        raise AssertionError("entered")
    assert os.listdir(tmp_path) == []
