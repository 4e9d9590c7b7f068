"""Laws of sheets: every prompt has its cell and its file, all have one seed, and what is transparent stays so."""

import os

import numpy as np
import pytest
from PIL import Image

from danqing.errors import DanqingError
from danqing.painting.loaded import LoadedModel
from danqing.pictures import sheet
from danqing.pictures.carried import recorded


@pytest.fixture
def run(run, tiny):
    """The same on the tiny model in fp32."""
    return lambda *args: run(*args, "--model", str(tiny), "--precision", "fp32")


def test_every_prompt_has_a_file_in_the_style_and_a_cell_of_the_sheet(run):
    code, out, _ = run(
        "sheet", "fox", "cat", "owl", "--style", "3d style", "--seed", "5", "--columns", "2", "--gap", "4", "-o", "set/"
    )
    names = ["set/fox-3d-style.png", "set/cat-3d-style.png", "set/owl-3d-style.png"]
    assert code == 0 and out.split() == [*names, "set/sheet.png"]
    sheet = Image.open("set/sheet.png")
    assert sheet.size == (2 * 36 + 4, 2 * 36 + 4)
    for n, name in enumerate(names):
        left, top = 4 + n % 2 * 36, 4 + n // 2 * 36
        assert sheet.crop((left, top, left + 32, top + 32)).tobytes() == Image.open(name).tobytes()
        request = recorded(name)
        assert (request.seed, request.prompt) == (5, f"{('fox', 'cat', 'owl')[n]}, 3d style")
    levels = np.asarray(sheet)
    assert (levels[:4] == 255).all() and (levels[40:, 40:] == 255).all()


def test_prompts_come_from_a_file_and_share_a_seed_that_is_drawn(run):
    with open("subjects.txt", "w", encoding="utf-8") as file:
        file.write("# animals\n\n狐狸\n  cat  \n")
    code, out, _ = run("sheet", "owl", "--from", "subjects.txt", "-o", "set/")
    assert code == 0 and [name.split("/")[1] for name in out.split()] == ["owl.png", "狐狸.png", "cat.png", "sheet.png"]
    assert len({recorded(f"set/{name}.png").seed for name in ("owl", "狐狸", "cat")}) == 1


def test_a_sheet_of_transparent_pictures_is_transparent(tmp_path):
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    clear.putpixel((3, 3), (10, 20, 30, 255))
    path = sheet.write([clear, Image.new("RGB", (8, 8), "blue")], tmp_path / "sheet.png", columns=2, gap=2)
    made = Image.open(path)
    assert made.mode == "RGBA" and made.getpixel((5, 5)) == (10, 20, 30, 255) and made.getpixel((0, 0))[3] == 0
    assert made.crop((2, 2, 10, 10)).tobytes() == clear.tobytes() and made.getpixel((12, 2)) == (0, 0, 255, 255)


def test_transparent_makes_the_cut_out_the_first_finish(run):
    code, _, _ = run("paint", "a fox", "--seed", "1", "--finish", "levels:gamma=1.2", "--transparent", "-o", "x.png")
    assert code == 0 and [record.name for record in recorded("x.png").finish] == ["cut-out", "levels"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "subjects"),
        (["--from", "gone.txt"], "gone.txt"),
        (["fox", "--columns", "0"], "columns"),
        (["fox", "--gap", "-1"], "--gap"),
        (["fox", "--seed", "x"], "seed"),
        (["--from", "bytes.txt"], "UTF-8"),
        (["--from", "empty.txt"], "subjects"),
    ],
)
def test_bad_input_is_told_with_code_2_and_paints_nothing(run, args, told):
    for name, data in (("bytes.txt", b"\xff\xfe\xfd"), ("empty.txt", b"# nothing\n")):
        with open(name, "wb") as file:
            file.write(data)
    code, out, err = run("sheet", *args, "-o", "set/")
    assert (
        code == 2
        and told in err
        and out == ""
        and not any(name.endswith(".png") for _, _, names in os.walk(".") for name in names)
    )


def test_a_picture_that_fails_costs_its_cell_alone(run, monkeypatch):
    real = LoadedModel.states

    def states(self, request):
        if request.prompt == "cat":
            raise DanqingError("not finite")
        yield from real(self, request)

    monkeypatch.setattr(LoadedModel, "states", states)
    code, out, err = run("sheet", "fox", "cat", "owl", "--seed", "5", "-o", "set/")
    assert code == 1 and out.split() == ["set/fox.png", "set/owl.png", "set/sheet.png"] and "not finite" in err
