"""Laws of grids: each picture is the one that its options paint alone, and a stopped grid goes on."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danqing.errors import InvalidFile
from danqing.pictures import read
from danqing.pictures.carried import carried_by, recorded
from danqing.pictures.grid import labelled


@pytest.fixture
def grid(run, tiny):
    return lambda *args: run("grid", *args, "--model", str(tiny))


def files(folder):
    return sorted(name for name in os.listdir(folder) if name[0].isdigit())


def test_each_picture_is_the_one_painted_alone_and_replays(grid, run, tiny):
    code, out, _ = grid("a fox", "--x", "steps=1,2", "--y", "replace=fox,cat", "--seed", "3", "-o", "g")
    assert code == 0 and files("g") == ["1-1-fox.png", "2-2-fox.png", "3-1-cat.png", "4-2-cat.png"]
    assert Path("g/grid.png").exists() and out.splitlines()[-1] == "g/grid.png"
    assert run("paint", "a cat", "--steps", "2", "--seed", "3", "--model", str(tiny), "-o", "alone.png")[0] == 0
    assert Image.open("alone.png").tobytes() == Image.open("g/4-2-cat.png").tobytes()
    assert run("replay", "g/4-2-cat.png")[0] == 0


def test_the_sheets_record_holds_every_request_and_is_not_replayed(grid):
    grid("a fox", "--x", "steps=1,2", "--z", "seed=4,5", "-o", "g")
    for n, seed in ((1, 4), (2, 5)):
        said = carried_by(f"g/grid-{n}.png").record["grid"]
        assert [each["request"]["seed"] for each in said] == [seed, seed]
        assert all(Path("g", each["file"]).exists() for each in said)
    with pytest.raises(InvalidFile, match="beside it"):
        recorded("g/grid-1.png")


def test_what_was_stopped_goes_on_with_its_seed_and_paints_only_what_is_missing(grid):
    assert grid("a fox", "--x", "steps=1,2,3", "-o", "g")[0] == 0
    before = {name: Path("g", name).read_bytes() for name in files("g")}
    times = {name: os.stat(Path("g", name)).st_mtime_ns for name in files("g")}
    os.unlink("g/2-2.png")
    code, out, err = grid("a fox", "--x", "steps=1,2,3", "-o", "g")
    assert code == 0 and out.split() == ["g/2-2.png", "g/grid.png"] and "2 of 3 pictures are there" in err
    assert {name: Path("g", name).read_bytes() for name in files("g")} == before
    assert all(os.stat(Path("g", name)).st_mtime_ns == times[name] for name in ("1-1.png", "3-3.png"))


def test_another_grid_in_the_folder_is_refused_and_painted_by_force(grid):
    grid("a fox", "--x", "steps=1,2", "-o", "g")
    before = Path("g/1-1.png").read_bytes()
    code, _, err = grid("an owl", "--x", "steps=1,2", "-o", "g")
    assert code == 2 and "another grid" in err and Path("g/1-1.png").read_bytes() == before
    assert grid("an owl", "--x", "steps=1,2", "-o", "g", "--force")[0] == 0
    assert Path("g/1-1.png").read_bytes() != before


def test_counting_paints_nothing(grid):
    code, out, _ = grid("a fox", "--x", "steps=2,3", "--y", "seed=1..3", "--count-only", "-o", "g")
    assert code == 0 and out.startswith("6 pictures, about ") and not Path("g").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--x", "stps=1"], "'steps'"),
        (["--x", "steps=0,1"], "steps"),
        (["--x", "steps=1,2", "--y", "seed=1..2000"], "4,000 pictures"),
        (["--x", "steps=1", "-o", "file.txt"], "is a file"),
    ],
)
def test_bad_axes_and_far_too_many_pictures_are_refused_before_anything_is_painted(grid, args, message):
    Path("file.txt").write_text("x")
    code, _, err = grid("a fox", *args)
    assert code == 2 and message in err and os.listdir() == ["file.txt"]


def test_one_that_cannot_be_painted_leaves_its_cell_empty(grid):
    code, _, err = grid("a fox", "--x", "steps=1,2", "--y", "model=nowhere,danqing-none", "-o", "g")
    assert code == 2 and "nowhere" in err and not files("g")


def test_a_sheet_shows_each_picture_whole_in_its_place_and_never_more_pixels_than_are_read():
    colours = ["red", "green", "blue", "black"]
    pictures = [Image.new("RGB", (40, 30), colour) for colour in colours]
    sheet, scale = labelled(pictures, ["a", "b"], ["c", "d"], "title")
    found, levels = [], np.asarray(sheet).reshape(-1, 3)
    for picture in pictures:
        wanted = np.asarray(picture)[0, 0]
        found.append(int((levels == wanted).all(1).sum()))
    assert scale == 1 and found[:3] == [1200] * 3 and found[3] >= 1200
    large = [Image.new("RGB", (4000, 3000), "red")] * 9
    sheet, scale = labelled(large, ["a", "b", "c"], ["", "", ""])
    assert scale < 1 and sheet.width * sheet.height <= read.MAX_PIXELS
    assert labelled([None, pictures[0]], ["猫", "x" * 500], [""])[0].width < 400
