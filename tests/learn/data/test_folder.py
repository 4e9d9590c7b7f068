"""Laws of pictures from a folder: any kind of picture becomes a square, what is none is listed, and a step is a
function of its index."""

import numpy as np
import pytest
import torch
from PIL import Image

from danqing.errors import InvalidFile, InvalidInput
from danqing.learn.data.folder import Folder, read

RED = (200, 30, 40)


def save(path, size=(20, 14), mode="RGB", colour=RED, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode, palette=Image.Palette.ADAPTIVE).save(path, **options)


@pytest.fixture
def pictures(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.JPG", (300, 40), quality=95)
    save(tmp_path / "deep" / "c.webp", (5, 9), lossless=True)
    save(tmp_path / "d.gif", (16, 16), "P")
    save(tmp_path / "e.tiff", (8, 30), "CMYK")
    save(tmp_path / "f.bmp", (17, 17))
    (tmp_path / "a.txt").write_text("a caption beside its picture")
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    return tmp_path


def test_pictures_of_all_sizes_and_formats_become_squares_of_their_colours(pictures):
    folder = Folder(pictures, size=12, batch=6)
    batch = folder(0)
    assert len(folder) == 6 and not folder.skipped and batch.shape == (6, 3, 12, 12)
    expected = torch.tensor(RED).view(1, 3, 1, 1) / 127.5 - 1
    assert (batch - expected).abs().max() < 0.1  # CMYK and JPEG round


def test_a_batch_is_a_function_of_its_index(pictures):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)).save(pictures / "z.png")
    one, two, other = (Folder(pictures, size=8, batch=3, seed=seed) for seed in (1, 1, 2))
    forwards, backwards = [one(i) for i in range(5)], [two(i) for i in reversed(range(5))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert any(not torch.equal(a, other(i)) for i, a in enumerate(forwards))


def test_a_picture_without_a_mirror_is_one_of_its_own_crops(tmp_path):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (8, 11, 3), dtype=np.uint8)
    Image.fromarray(whole).save(tmp_path / "a.png")
    folder = Folder(tmp_path, size=8, batch=1, mirror=False)
    crops = [((folder(i)[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy() for i in range(20)]
    possible = [whole[:, x : x + 8] for x in range(4)]
    found = {next(x for x, window in enumerate(possible) if np.array_equal(crop, window)) for crop in crops}
    assert found == {0, 1, 2, 3}


def test_transparency_is_over_white_sixteen_bits_are_not_clipped_and_cameras_are_turned_upright(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((4, 4), 128 * 256, np.uint16)).save(tmp_path / "deep.png")
    turned = Image.new("RGB", (8, 4), "black")
    turned.paste("white", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: rows are columns
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.asarray(read(tmp_path / "clear.png", 4)).min() == 255
    assert set(np.unique(np.asarray(read(tmp_path / "deep.png", 4)))) == {128}
    upright = np.asarray(read(tmp_path / "turned.png", 4))
    assert upright.shape == (8, 4, 3) and upright[:4].min() == 255 and upright[4:].max() == 0


def test_what_is_no_whole_picture_is_listed_and_skipped(pictures):
    Image.effect_noise((64, 64), 50).save(pictures / "whole.jpg")
    whole = (pictures / "whole.jpg").read_bytes()
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (pictures / "page.png").write_text("<html>not found</html>")
    (pictures / "empty.webp").touch()
    folder = Folder(pictures, size=8, batch=4)
    assert len(folder) == 7 and [path.name for path, _ in folder.skipped] == ["cut.jpg", "empty.webp", "page.png"]
    assert (
        "7 pictures, 3 files skipped" in folder.notes[0]
        and "cut.jpg" in folder.notes[1]
        and "truncated" in folder.notes[1]
    )


def test_a_long_list_of_skipped_files_is_cut_with_its_count(pictures):
    for i in range(25):
        (pictures / f"bad{i:02}.png").touch()
    notes = Folder(pictures, size=8, batch=1).notes
    assert len(notes) == 22 and notes[-1] == "and 5 more"


def test_too_few_pictures_are_refused_with_the_remedy(pictures, tmp_path):
    with pytest.raises(InvalidFile, match="holds 6 pictures: too few for a batch of 7; .* at most 6"):
        Folder(pictures, size=8, batch=7)
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidFile, match="holds no picture"):
        Folder(tmp_path / "none", size=8, batch=1)
    (tmp_path / "none" / "bad.png").touch()
    with pytest.raises(InvalidFile, match="1 files that cannot be read"):
        Folder(tmp_path / "none", size=8, batch=1)
    with pytest.raises(InvalidFile, match="no folder"):
        Folder(tmp_path / "gone", size=8, batch=1)
    with pytest.raises(InvalidInput, match="from 1"):
        Folder(pictures, size=0, batch=1)


def test_a_picture_that_goes_away_in_mid_training_is_named(pictures):
    folder = Folder(pictures, size=8, batch=6)
    (pictures / "f.bmp").unlink()
    with pytest.raises(InvalidFile, match=r"f\.bmp: No such file"):
        folder(0)
