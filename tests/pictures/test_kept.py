"""Laws of what was painted: no name, format, folder or stream costs it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

import danqing
from danqing.errors import DanqingError, InvalidFile, InvalidInput
from danqing.pictures import encode, files, kept, read
from danqing.pictures.carried import carried_by
from danqing.pictures.paths import pictures
from danqing.pictures.picture import Picture
from danqing.request.request import Request


def painted(size=(24, 16), **record):
    request = Request(prompt="a fox", seed=3).resolve()
    return Picture(frames=(Image.new("RGB", size, "teal"),), request=request, record=record)


def test_a_picture_that_can_be_written_as_asked_for_is(tmp_path):
    assert kept.save(painted(), tmp_path / "x.jpg") == (tmp_path / "x.jpg", None)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_what_a_format_cannot_hold_is_refused_by_name_and_kept_as_png(tmp_path, suffix):
    wide = painted((66_000, 1))
    with pytest.raises(InvalidInput, match="66000×1"):
        wide.save(tmp_path / f"x{suffix}")
    written, amiss = kept.save(wide, tmp_path / f"x{suffix}")
    assert written == tmp_path / "x.png" and "66000×1" in str(amiss) and str(written) in str(amiss)
    assert carried_by(written).record["request"]["prompt"] == "a fox"


def test_the_sides_that_formats_are_said_to_hold_are_those_that_their_libraries_write():
    for kind, most in encode.SIDES.items():
        encode.to_bytes(Image.new("RGB", (most, 1)), {"format": kind, "quality": 1})
        with pytest.raises(Exception, match=r"encod|large|dimension|exceed|broken"):
            encode.to_bytes(Image.new("RGB", (most + 36, 1)), {"format": kind, "quality": 1})


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png"])
def test_a_name_that_cannot_be_becomes_a_short_one_beside(tmp_path, name):
    written, amiss = kept.save(painted(), tmp_path / name)
    assert written == tmp_path / "picture-3-0.png" and isinstance(amiss, InvalidFile)


def test_a_folder_that_is_gone_leaves_the_picture_among_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written, amiss = kept.save(painted(), tmp_path / "gone" / "x.png")
    assert written.parent == tmp_path and "gone" in str(amiss)


def test_an_encoder_that_fails_in_its_own_way_costs_nothing(tmp_path, monkeypatch):
    def fails(image, encoding, *more, **metadata):
        if encoding["format"] != "PNG":
            raise ValueError("encoding error 6")
        return real(image, encoding, *more, **metadata)

    real = encode.to_bytes
    monkeypatch.setattr("danqing.pictures.picture.to_bytes", fails)
    written, amiss = kept.save(painted(), tmp_path / "x.webp")
    assert written.suffix == ".png" and "encoding error 6" in str(amiss)


def test_a_name_of_a_file_that_is_no_unicode_goes_into_every_format(tmp_path):
    odd = painted(file="loras/\udcd5\udcd5.safetensors")
    for suffix in (".png", ".jpg", ".webp", ".svg"):
        assert carried_by(odd.save(tmp_path / f"x{suffix}")).record["record"]["file"] == odd.record["file"]


def test_pictures_that_differ_keep_names_that_differ(tmp_path):
    long = "holiday_in_the_Mountains (2026), final_cut_frame_"
    names = [f"{long}{number:04}" for number in (1, 2, 10)]
    assert [files.stem(f"in/{name}.png") for name in names] == names
    stems = {files.stem("一" * 90 + f"{number}.png") for number in range(3)}
    assert len(stems) == 3 and all(len(stem.encode()) < 240 for stem in stems)
    assert files.stem("data:image/png;base64,AAAA/BBBB") == "picture"


def test_of_a_folder_hidden_files_are_no_pictures_and_unread_formats_are_counted(tmp_path):
    for name in ("a.png", "._a.png", ".b.jpg", "c.jxl", "d.jxl", "notes.txt"):
        (tmp_path / name).touch()
    told = []
    assert pictures([str(tmp_path)], told.append) == [tmp_path / "a.png"]
    (said,) = told
    assert "2 of .jxl" in said
    assert pictures([str(tmp_path / "._a.png")]) == [tmp_path / "._a.png"]


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "formats", lambda: ("PNG",))
    (tmp_path / "x.heic").write_bytes((Path(__file__).parent / "given" / "two-colours.heic").read_bytes())
    with pytest.raises(InvalidFile, match=r"danqing\[heic\]"):
        read.picture(tmp_path / "x.heic")


@pytest.mark.posix
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_picture(tmp_path, closed):
    painted().save(tmp_path / "x.png")
    environment = {**os.environ, "PYTHONPATH": str(Path(danqing.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = f"{sys.executable} -m danqing tone x.png --exposure 0.1 -o y.png {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr + done.stdout
    assert read.picture(tmp_path / "y.png").size == (24, 16)
    assert b"Traceback" not in (tmp_path / "y.png").read_bytes()


def test_a_picture_that_can_be_written_nowhere_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DanqingError, match="no folder"):
        kept.save(painted(), tmp_path / "gone" / "x.png")
