"""Laws of the hints: invariances, one-pixel lines at every size, names, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from danqing.errors import InvalidInput, UnknownName
from danqing.hint import lines
from danqing.hint.fit import Mode, fitted, mode_of
from danqing.hint.names import NETWORKS, OTHERS
from danqing.hint.records import HINTS, hint
from danqing.inputs.records import parameters
from danqing.painting.adapters.hinting import hinted

#: Those that a picture alone is enough for.
ALONE = [name for name in HINTS if name != "pose"]
LINES = [name for name, kind in HINTS.items() if kind.made == "lines"]
MODES: tuple[Mode, ...] = ("fit", "fill", "stretch")


def scene(size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A body with parts on a light ground, a little noise over all."""
    image = Image.new("RGB", (384, 320), (235, 240, 250))
    draw = ImageDraw.Draw(image)
    draw.ellipse((90, 60, 300, 270), fill=(220, 90, 30), outline=(40, 20, 10), width=8)
    draw.rectangle((150, 120, 210, 180), fill=(30, 60, 160))
    draw.line((20, 300, 360, 30), fill=(20, 90, 30), width=6)
    levels = np.asarray(image, np.int16) + np.random.default_rng(0).integers(-3, 4, (320, 384, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)


def levels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, np.int16)


def minimal(image: Image.Image) -> bool:
    """Whether no pixel of the lines can go without parting or shortening one."""
    mask = np.asarray(image.convert("L")) > 127
    return bool(np.array_equal(lines.thinned(mask), mask))


# ---- each --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (41, 1), (64, 48)])
def test_a_hint_has_its_pictures_size_and_is_drawn_the_same_again(name: str, size: tuple[int, int]) -> None:
    for picture in (scene(size), Image.new("RGBA", size, (10, 200, 30, 90))):
        first, again = hinted(picture, name), hinted(picture, name)
        assert first.size == size and first.mode == ("RGBA" if name == "inpaint" else "RGB")
        assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("name", ["edges", "soft-edge", "line-art", "scribble", "straight", "depth:model=given"])
@pytest.mark.parametrize("level", [0, 90, 255])
def test_an_even_picture_has_no_lines_and_nothing_near(name: str, level: int) -> None:
    found = levels(hinted(Image.new("RGB", (70, 50), (level, level // 2, 255 - level)), name))
    assert found.max() <= 1


@pytest.mark.parametrize(
    "name", ["edges", "soft-edge", "line-art", "scribble", "tile:factor=1", "blur:radius=2", "grey"]
)
def test_the_hint_of_a_moved_picture_is_the_moved_hint(name: str) -> None:
    board = Image.new("RGB", (200, 200), (235, 240, 250))
    here, there = board.copy(), board.copy()
    body = scene().crop((20, 10, 90, 75))
    here.paste(body, (60, 60))
    there.paste(body, (69, 53))
    moved = np.roll(levels(hinted(here, name)), (-7, 9), (0, 1))
    np.testing.assert_array_equal(moved, levels(hinted(there, name)))
    assert moved.std() > 0


@pytest.mark.parametrize("name", ["edges", "soft-edge", "grey", "threshold", "blur", "depth"])
def test_the_hint_of_a_mirrored_picture_is_the_mirrored_hint(name: str) -> None:
    picture = scene()
    straight, mirrored = (
        levels(hinted(image, name)) for image in (picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    share = np.abs(straight[:, ::-1] - mirrored).max(-1) > 2
    assert share.mean() < (
        0.04 if name == "edges" else 0.001
    )  # of two equal pixels of an edge Canny keeps the left one


@pytest.mark.parametrize("name", ALONE)
def test_what_is_wholly_transparent_has_no_colour_of_its_own(name: str) -> None:
    clear = np.asarray(Image.new("L", (96, 80), 0)).copy()
    clear[20:60, 30:70] = 255
    one, other = (
        np.dstack([np.where(clear[..., None] > 0, np.asarray(scene()), hidden), clear]) for hidden in (0, 255)
    )
    first, second = (hinted(Image.fromarray(image.astype(np.uint8)), name) for image in (one, other))
    np.testing.assert_array_equal(levels(first), levels(second))


# ---- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(96, 80), (160, 50), (33, 120), (7, 5), (1, 9)])
def test_lines_are_one_pixel_wide_at_every_size(name: str, mode: Mode, size: tuple[int, int]) -> None:
    picture = hinted(scene(), "edges") if name == "drawn-lines" else scene()
    found = hinted(picture, name, size, mode)
    assert found.size == size and minimal(found)
    assert set(np.unique(levels(found))) <= {0, 255}


@pytest.mark.parametrize("size", [(48, 40), (31, 27), (12, 10)])
def test_a_finished_line_that_shrinks_is_neither_lost_nor_wide(size: tuple[int, int]) -> None:
    drawing = Image.new("L", (384, 320))
    ImageDraw.Draw(drawing).ellipse((40, 30, 340, 290), outline=255)
    drawing = Image.fromarray(lines.white(lines.thinned(np.asarray(drawing) > 0)))
    small = np.asarray(fitted(drawing.convert("RGB"), size, made="lines").convert("L"))
    parts, _ = cv2.connectedComponents(small, connectivity=8)
    ground, _ = cv2.connectedComponents(255 - small, connectivity=4)
    assert (parts, ground) == (2, 3)  # one closed line: a ground inside and one outside
    assert minimal(Image.fromarray(small))


def test_a_thick_finished_line_stays_thick() -> None:
    drawing = Image.new("RGB", (200, 200))
    ImageDraw.Draw(drawing).rectangle((20, 90, 179, 109), fill="white")
    small = levels(fitted(drawing, (100, 100), made="lines"))
    assert (small[:, 50, 0] > 127).sum() == 10


@pytest.mark.parametrize("mode", ["fit", "fill"])
@pytest.mark.parametrize("size", [(160, 90), (90, 160)])
def test_a_circle_of_another_ratio_stays_round(mode: Mode, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", (180, 320), "white")
    ImageDraw.Draw(picture).ellipse((60, 130, 120, 190), fill="black")
    seen = np.asarray(hinted(picture, "edges", size, mode).convert("L")) > 0
    rows, columns = np.nonzero(seen)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    middle = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
    assert np.abs(middle - (np.array(size) - 1) / 2).max() < 1.5


def test_what_is_beside_a_fitted_hint_is_no_edge_of_it() -> None:
    picture = Image.new("RGB", (40, 80), (30, 60, 90))
    assert not levels(hinted(picture, "edges", (160, 80))).any()
    beside = levels(hinted(picture, "blur", (160, 80)))
    assert (beside == beside[0, 0]).all()
    np.testing.assert_array_equal(levels(hinted(picture, "normal", (160, 80)))[0, 0], (128, 128, 255))


def test_a_map_of_colours_gets_no_new_ones() -> None:
    colours = Image.new("RGB", (90, 60), (10, 20, 30))
    ImageDraw.Draw(colours).ellipse((10, 5, 70, 55), fill=(200, 30, 40))
    for mode in MODES:
        found = hinted(colours, "segmentation", (61, 77), mode).getcolors()
        assert {colour for _, colour in found} <= {(10, 20, 30), (200, 30, 40), (0, 0, 0)}


# ---- one by one ----------------------------------------------------------------------------------------------------


def test_thinning_keeps_what_is_joined_and_what_is_enclosed() -> None:
    def parts(mask: np.ndarray[Any, Any], connectivity: int) -> int:
        return cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)[0]

    draw = np.random.default_rng(1)
    for _ in range(20):
        noise = cv2.GaussianBlur(draw.random((60, 70), np.float32), (0, 0), 2.5)
        mask = np.pad(noise > np.median(noise), 1)
        thin = lines.thinned(mask)
        assert not (thin & ~mask).any()
        assert (parts(thin, 8), parts(~thin, 4)) == (parts(mask, 8), parts(~mask, 4))
        np.testing.assert_array_equal(lines.thinned(thin), thin)


def test_thinning_leaves_the_middle_of_a_bar() -> None:
    bar = np.zeros((40, 60), bool)
    bar[16:25, 5:55] = True
    thin = lines.thinned(bar)
    assert (thin[:, 15:45].sum(0) == 1).all() and thin[20, 15:45].all()


@pytest.mark.parametrize("of", ["luminance", "intensity"])
def test_grey_of_grey_is_itself(of: str) -> None:
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(3, 0)).convert("RGB")
    assert hinted(every, f"grey:of={of}").tobytes() == every.tobytes()


@pytest.mark.parametrize("block", [1, 7, 16, 200])
def test_a_grid_of_a_grid_is_itself(block: int) -> None:
    once = hinted(scene(), f"colour-grid:block={block}")
    assert hinted(once, f"colour-grid:block={block}").tobytes() == once.tobytes()


def test_a_tile_of_a_tile_is_nearly_itself() -> None:
    once = hinted(scene((256, 256)), "tile")
    again = levels(hinted(once, "tile"))
    assert np.abs(again - levels(once)).mean() < 0.15 * np.abs(levels(once) - levels(scene((256, 256)))).mean() + 1


@pytest.mark.parametrize("form", ["picture", "bands"])
@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_palette_holds_its_colours(form: str, count: int) -> None:
    found = hinted(scene(), f"palette:colours={count}:form={form}").getcolors()
    assert found is not None and len(found) == count
    flat = Image.new("RGB", (50, 20), (1, 2, 3))
    flat.paste((200, 100, 50), (0, 0, 10, 20))
    kept = hinted(flat, f"palette:colours={count + 1}")
    assert kept.tobytes() == flat.tobytes()


def test_a_band_is_as_wide_as_its_colour_is_common() -> None:
    flat = Image.new("RGB", (100, 20), (1, 2, 3))
    flat.paste((200, 100, 50), (0, 0, 30, 20))
    found = levels(hinted(flat, "palette:form=bands"))
    assert (found[:, :65] == (1, 2, 3)).all() and (found[:, 75:] == (200, 100, 50)).all()


def test_shuffle_moves_colours_and_makes_none_up() -> None:
    flat = Image.new("RGB", (64, 64), (9, 8, 7))
    assert hinted(flat, "shuffle").tobytes() == flat.tobytes()
    one, other = hinted(scene(), "shuffle:seed=1"), hinted(scene(), "shuffle:seed=2")
    assert one.tobytes() != other.tobytes()


def test_dark_lines_on_light_are_turned_and_that_is_said() -> None:
    drawing = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(drawing).line((5, 5, 70, 50), fill="black")
    said: list[str] = []
    found = hinted(drawing, "drawn-lines", warn=said.append)
    assert len(said) == 1 and "turned" in said[0] and levels(found).mean() < 127
    assert hinted(found, "drawn-lines", warn=said.append).tobytes() == found.tobytes() and len(said) == 1


def test_the_body_of_a_transparent_picture_is_its_segment() -> None:
    picture = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    picture.paste((10, 90, 30, 255), (10, 5, 30, 25))
    found = levels(hinted(picture, "segmentation"))
    assert found[15, 20].tolist() == [255] * 3 and found.sum() == 255 * 3 * 20 * 20
    open_ = levels(hinted(picture, "inpaint"))
    assert open_[0, 0].tolist() == [0, 0, 0, 0] and open_[15, 20].tolist() == [10, 90, 30, 255]


def test_what_a_hint_cannot_use_is_said() -> None:
    for name in ("segmentation", "inpaint"):
        said: list[str] = []
        hinted(scene(), name, warn=said.append)
        assert len(said) == 1


# ---- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ("canny", "edges"),
        ("lineart_standard (from white bg & black line)", "line-art"),
        ("Scribble_HED", "scribble"),
        ("tile_resample", "tile"),
        ("depth_anything_v2", "depth"),
        ("openpose_full", "pose"),
        ("inpaint_only", "inpaint"),
        ("softedge hed", "soft-edge"),
        ("t2ia_color_grid", "colour-grid"),
        ("invert (from white bg & black line)", "drawn-lines"),
        ("none", "given"),
    ],
)
def test_names_of_others_are_understood(other: str, ours: str) -> None:
    assert hint(other) == HINTS[ours]()


def test_where_a_network_is_meant_that_does_not_ship_it_is_said() -> None:
    for name in OTHERS:
        said: list[str] = []
        assert isinstance(hint(name, said.append), HINTS[OTHERS[name][0]])
        assert len(said) == (name in NETWORKS)
    assert hint("recolor_intensity:gamma=2") == hint("grey:of=intensity:gamma=2")


def test_every_name_of_ours_is_no_other_name() -> None:
    assert not {*HINTS} & {*OTHERS}


def test_an_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown hint 'cany'.* Did you mean 'canny'"):
        hint("cany")
    with pytest.raises(UnknownName, match="unknown mode 'fil'.*'fill'"):
        mode_of("fil")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("edges:lo=5", "unknown parameter of edges 'lo'.*low"),
        ("edges:low", "'low' lacks its value"),
        ("edges:low=x", "edges: low: 'x' was given; possible is a number"),
        ("edges:low=300", "low 300 must not be above high 200"),
        ("palette:colours=0", "palette: colours: '0' was given; possible is a whole number from 1 to 256"),
        ("palette:form=round", "unknown form 'round'"),
        ("tile:factor=0", "tile: factor: '0' was given"),
        ("soft-edge:width=nan", "width: 'nan' was given"),
        ("depth:model=", "'model' lacks its value"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_possible(given: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        hint(given)


def test_a_network_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown network of a hint 'gone'.*danqing-depth"):
        hinted(scene(), "depth:model=gone")
    with pytest.raises(InvalidInput, match="possible are 1 pixel or more"):
        hinted(scene(), "edges", (0, 5))


@pytest.mark.parametrize("name", HINTS)
def test_a_record_comes_back_from_its_json(name: str) -> None:
    record = HINTS[name]()
    assert HINTS[name](**record.model_dump()) == record and hash(record) == hash(HINTS[name]())
    assert all(info.description for info in parameters(HINTS[name]).values())


def test_the_table_costs_no_torch_and_no_opencv() -> None:
    code = "import sys, danqing.hint.records as r; r.hint('canny'); print({'torch', 'cv2', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_most_hints_are_drawn_without_torch(tmp_path: Path) -> None:
    scene().save(tmp_path / "in.png")
    code = (
        "import sys; from danqing.cli.app import main; main(['hint', 'canny', 'in.png']); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.split() == ["in-edges.png", "False"] and (tmp_path / "in-edges.png").is_file()
