"""Laws of files and folders in the making: whole or not at all."""

import os

import pytest

from danqing import atomic
from danqing.errors import InvalidFile


def test_a_folder_is_replaced_by_a_whole_one_alone(tmp_path):
    folder = tmp_path / "models" / "mine"
    with atomic.folder(folder, parents=True) as beside:
        (beside / "model.json").write_text('{"danqing": 1}')
        (beside / "old").touch()
        assert not folder.exists()
    with pytest.raises(RuntimeError), atomic.folder(folder) as beside:
        (beside / "new").touch()
        raise RuntimeError
    assert sorted(os.listdir(folder)) == ["model.json", "old"]
    with atomic.folder(folder) as beside:
        (beside / "new").touch()
    assert os.listdir(folder) == ["new"] and os.listdir(tmp_path / "models") == ["mine"]


def test_a_place_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(InvalidFile, match="cannot write"), atomic.folder(tmp_path / "no" / "mine"):
        raise AssertionError("entered")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_is_replaced_by_a_whole_one_alone(tmp_path, old):
    path = tmp_path / "x"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(RuntimeError), atomic.writing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == ({} if old is None else {"x": old})
    atomic.write(path, b"new")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"x": b"new"}
