"""Regions by a request: their words, their places, and what goes with them."""

import numpy as np
import pytest
from PIL import Image

import danqing
from danqing.errors import DanqingError, InvalidInput, UnknownName
from danqing.request.region import PLACES, Region
from danqing.request.request import Request
from danqing.store.replayed import request_of

OPTIONS = {"steps": 3, "seed": 1, "precision": "fp32"}


@pytest.fixture
def paint(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    Image.fromarray(mask).save("left.png")
    Image.new("L", (32, 32), 255).save("white.png")

    def paint(prompt, *regions, **options):
        return danqing.paint(prompt, model=str(tiny), regions=list(regions) or None, **{**OPTIONS, **options})

    return paint


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a.frames, b.frames, strict=True))


@pytest.mark.parametrize("view", ["box", "whole"])
@pytest.mark.parametrize("place", ["whole", "0,0,1,1", "white.png", "white.png,weight=3"])
def test_one_region_over_all_is_the_plain_prompt_byte_for_byte(paint, place, view):
    plain = paint("a red fox", negative="a cat")
    assert same(paint("a tree", f"{place},view={view}: a red fox", negative="a cat"), plain)
    assert same(paint("a tree", f"{place},view={view},negative=a cat: a red fox", negative="blue"), plain)


def test_a_weight_of_0_is_no_region_and_is_said(paint):
    free = paint("a tree", "left,weight=0: a red fox")
    assert same(free, paint("a tree")) and free.warnings == ("region 1 changes nothing: its weight is 0.",)


@pytest.mark.parametrize("place", ["left", "0, 0, 0.5, 1", "left.png"])
def test_a_region_has_words_of_its_own_and_leaves_no_trace(paint, place):
    plain = paint("a tree")
    one, other = paint("a tree", f"{place}: a red fox"), paint("a tree", f"{place}: a blue cat")
    assert not same(one, plain) and not same(one, other) and same(paint("a tree"), plain)
    assert not same(one, paint("a tree", f"{place},negative=blue: a red fox"))
    assert not same(one, paint("a tree", f"{place},weight=0.5: a red fox"))
    alone, seeing = (paint("a tree", f"{place},view={view}: a red fox", width=64) for view in ("box", "whole"))
    assert not same(alone, seeing)


def test_one_step_changes_nothing_outside_a_region_that_sees_all(paint, painter):
    """In latents; what is decoded reaches over the rim."""

    def last(*regions):
        return next(iter(painter.states(Request(prompt="a tree", regions=regions, **{**OPTIONS, "steps": 1})))).x0

    with_it, without = last("left,soft=0,view=whole: a red fox"), last()
    half = without.shape[-1] // 2
    assert (with_it[..., half:] == without[..., half:]).all() and (with_it[..., :half] != without[..., :half]).any()


def test_each_picture_of_a_count_has_its_regions(paint, tiny):
    request = paint("a tree", "left: a red fox").request
    first, second = danqing.paint_all([request, request.but(index=1)])
    assert same(second, paint("a tree", "left: a red fox", index=1)) and not same(second, paint("a tree", index=1))
    assert same(first, paint("a tree", "left: a red fox"))


@pytest.mark.parametrize("more", [{"width": 64, "tile": 32}, {"hires": 2}, {"frames": 2}, {"panorama": True}], ids=str)
def test_regions_go_with_tiles_second_passes_clips_and_panoramas(paint, more):
    regions = "left: a red fox", "right,weight=2: a blue cat"
    assert not same(paint("a tree", *regions, **more), paint("a tree", **more))
    assert same(paint("a tree", "whole: a red fox", **more), paint("a red fox", **more))


def test_text_of_any_length_and_that_changes_over_the_steps_stays_its_own(paint):
    long = "a red fox, a blue cat to the left of a tree, " * 6 + "a fox"
    assert same(paint("a tree", f"whole: {long}"), paint(long))
    assert same(paint("a tree", "whole: [a cat:a red fox:0.4] AND a tree"), paint("[a cat:a red fox:0.4] AND a tree"))


@pytest.mark.parametrize("options", [{"pag": 3.0}, {"apg": 0.0}, {"cfgpp": 0.5}, {"zero_star": True}], ids=str)
def test_every_way_of_guidance_acts_in_a_region(paint, options):
    assert same(paint("a tree", "whole: a red fox", **options), paint("a red fox", **options))


def test_regions_go_where_a_picture_is_painted_over(tiny, picture, mask):
    def edit(*regions, **more):
        given = {"model": str(tiny), "regions": list(regions) or None, "strength": 0.7, **OPTIONS, **more}
        return danqing.edit(picture, "a tree", **given)

    for more in ({}, {"mask": str(mask)}):
        assert not same(edit("left: a red fox", **more), edit(**more))
    with pytest.raises(InvalidInput, match="only_masked"):
        edit("left: a red fox", mask=str(mask), only_masked=True)


def test_a_region_is_in_the_record_and_comes_back(paint, tmp_path):
    painted = paint("a tree", "left.png,weight=0.5: a red fox", {"prompt": "a cat", "box": [0.5, 0, 1, 1], "soft": 0})
    path = painted.save(tmp_path / "x.png")
    request = request_of(path)
    assert request.regions[0].mask == str(tmp_path / "left.png") and "regions 0 mask" in painted.record
    moved = painted.request.regions[0].model_copy(update={"mask": request.regions[0].mask})
    assert request.regions == (moved, painted.request.regions[1])
    assert danqing.replay(path).exact


def test_a_mask_of_another_ratio_is_stretched_and_said(paint):
    Image.new("L", (64, 32), 255).save("wide.png")
    found = paint("a tree", "wide.png: a red fox")
    assert found.warnings == ("the mask of 64×32 of region 1 was stretched over the picture of 32×32.",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a red fox", "it is written PLACE"),
        ("0,0,2,1: a fox", "from 0 to 1"),
        ("0.5,0,0.2,1: a fox", "the first two below the others"),
        ("left,weight=1,weight=2: a fox", "twice"),
        ("left,weight=-1: a fox", "weight"),
        ({"prompt": "a fox"}, "neither a box nor a mask"),
        ({"prompt": "a fox", "box": [0, 0, 1, 1], "mask": "m.png"}, "a box and a mask"),
        ({"prompt": "a fox", "box": [0, 0, 1]}, "box"),
        ("left,wieght=1: a fox", "'weight'"),
        ("left,view=half: a fox", "whole"),
        ("gone.png: a fox", "gone.png"),
    ],
)
def test_what_is_no_region_is_refused_with_what_is_possible(paint, given, said):
    with pytest.raises(DanqingError, match=said):
        paint("a tree", given)


def test_a_place_is_written_by_name_numbers_or_file_and_words_hold_anything():
    def read(text):
        return Request(regions=text).regions[0]

    for name, box in PLACES.items():
        assert read(f"{name}: a").box == box
    assert read("0.5, 0,1,1,weight=0.8,negative=blue, green: a cat, (red:1.2)") == Region(
        prompt="a cat, (red:1.2)", negative="blue, green", weight=0.8, box=(0.5, 0, 1, 1)
    )
    assert read("C:\\masks\\m.png: a").mask == "C:\\masks\\m.png" and read("m.png:狐狸").prompt == "狐狸"
    assert read("data:image/png;base64,AAAA: a").mask == "data:image/png;base64,AAAA"
    with pytest.raises(UnknownName):
        read({"prompt": "a", "box": (0, 0, 1, 1), "place": "left"})
