"""Laws of `danqing hint`: one file a picture, named, sized and refused as everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from danqing.cli.app import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (90, 160), "white")
    ImageDraw.Draw(image).ellipse((20, 50, 70, 100), fill="navy")
    image.save("a.png")
    image.save("b.jpg")


def test_each_picture_has_its_hint_beside_it_and_none_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    main(["hint", "edges", "a.png", "b.jpg"])
    main(["hint", "edges", "a.png"])
    main(["hint", "edges", "a.png", "--force"])
    said = capsys.readouterr().out.split()
    assert said == ["a-edges.png", "b-edges.png", "a-edges-2.png", "a-edges.png"]
    assert Path("a-edges.png").read_bytes() == Path("a-edges-2.png").read_bytes()


def test_a_hint_of_another_ratio_keeps_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    main(["hint", "edges", "a.png", "--width", "320", "--height", "180", "-o", "wide.png", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == "wide.png" and told["hint"]["name"] == "edges"
    wide = Image.open("wide.png")
    left, top, right, bottom = wide.getbbox() or (0, 0, 0, 0)
    assert wide.size == (320, 180) and abs((right - left) - (bottom - top)) <= 2
    main(["hint", "edges", "a.png", "--width", "45", "-o", "small.png"])
    assert Image.open("small.png").size == (45, 80)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["cany", "a.png"], "Did you mean 'canny'"),
        (["edges:low=x", "a.png"], "edges: low: 'x' was given"),
        (["edges", "gone.png"], "there is no file 'gone.png'"),
        (["edges", "a.png", "--mode", "fil"], "unknown mode 'fil'"),
        (["edges", "a.png", "-o", "x.svg"], "hints are pixels"),
        (["depth:model=gone", "a.png"], "unknown network of a hint 'gone'"),
        (["edges", "a.png", "-o", "{who}.png"], "unknown field of a file name 'who'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["hint", *args])
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert {path.name for path in Path.cwd().iterdir()} == {"a.png", "b.jpg"}


def test_a_bad_picture_is_told_and_takes_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.png").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        main(["hint", "tile", "bad.png", "a.png"])
    assert "bad.png" in capsys.readouterr().err and Path("a-tile.png").is_file()


def test_what_a_hint_has_to_say_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    main(["hint", "softedge_hed", "a.png"])
    main(["hint", "inpaint", "a.png"])
    said = capsys.readouterr().err
    assert "soft-edge stands for it" in said and "nothing of the picture is transparent" in said
