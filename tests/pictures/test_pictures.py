"""Laws of pictures in and out of files."""

import contextlib
import errno
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.pictures import encode, files, read
from danqing.pictures.carried import carried_by
from danqing.pictures.picture import Picture, record_of
from danqing.request import infotext
from danqing.request.request import Request

PROMPTS = [
    "",
    "a red fox",
    "一只红色的狐狸，<b>&\"'",
    "Negative prompt: x\nSteps: 1, Sampler: x, Seed: 3",
    "a" * 20_000,
    "\x00\x01\ufffe",
]


def noise(width=24, height=16, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    return Image.frombytes(mode, (width, height), rng.integers(0, 256, width * height * len(mode), np.uint8).tobytes())


def painted(prompt="a red fox", **options):
    request = Request(prompt=prompt, seed=3, **options).resolve()
    return Picture(frames=(noise(),), request=request, warnings=("cut",), record={"danqing": "0", "sha256": "ab" * 32})


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_file_carries_its_request_and_its_a1111_text(tmp_path, suffix, prompt):
    picture = painted(prompt, negative=prompt[:100])
    path = picture.save(tmp_path / f"x{suffix}")
    carried = carried_by(path)
    assert carried.record is not None and carried.parameters is not None
    assert Request(**carried.record["request"]) == picture.request
    assert carried.record["warnings"] == ["cut"]
    found = infotext.read(carried.parameters)
    assert (found.prompt, found.negative) == (picture.request.prompt, picture.request.negative)


def test_a_record_too_long_for_a_jpeg_lies_beside_it(tmp_path):
    picture = painted(recipe="image2image", image=encode.data_uri(noise(200, 200)))
    path = picture.save(tmp_path / "x.jpg")
    assert Request(**carried_by(path).record["request"]) == picture.request
    assert files.record_beside(path).exists()
    assert not files.record_beside(painted().save(tmp_path / "y.jpg")).exists()


def test_a_record_beside_a_jpeg_takes_no_other_files_place(tmp_path):
    (tmp_path / "x.jpg.json").write_text("of another program")
    path = painted(recipe="image2image", image=encode.data_uri(noise(200, 200))).save(tmp_path / "x.jpg")
    assert path.name == "x-2.jpg" and files.record_beside(path).exists()
    assert (tmp_path / "x.jpg.json").read_text() == "of another program"


def test_a_png_is_lossless_and_the_same_picture_gives_the_same_file(tmp_path):
    one, two = painted().save(tmp_path / "a.png"), painted().save(tmp_path / "b.png")
    assert one.read_bytes() == two.read_bytes()
    assert read.picture(one).tobytes() == noise().tobytes()


def test_a_notebook_shows_the_bytes_of_the_file(tmp_path):
    still = painted()
    clip = Picture(frames=(noise(), noise(seed=1)), request=still.request)
    for picture in (still, clip):
        assert picture._repr_png_() == picture.save(tmp_path / "x.png", overwrite=True).read_bytes()


def test_show_opens_the_picture_in_the_systems_viewer(monkeypatch):
    seen = []
    monkeypatch.setattr(Image.Image, "show", lambda image: seen.append(image))
    picture = painted()
    picture.show()
    assert seen == [picture.image]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_picture_is_told_in_a_line_that_names_its_words_seed_and_model(prompt):
    told = repr(painted(prompt, model="m" * 500))
    assert len(told) < 250 and told.isprintable() and "24×16" in told and "seed 3" in told and "m" * 60 in told
    assert prompt[:5] in told or not prompt[:5].isprintable()


def test_an_existing_file_is_kept_and_the_new_one_numbered(tmp_path):
    (tmp_path / "x.png").write_bytes(b"precious")
    assert [painted().save(tmp_path / "x.png").name for _ in range(2)] == ["x-2.png", "x-3.png"]
    assert (tmp_path / "x.png").read_bytes() == b"precious"
    assert painted().save(tmp_path / "x.png", overwrite=True).name == "x.png"
    assert sorted(os.listdir(tmp_path)) == ["x-2.png", "x-3.png", "x.png"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch, number, step):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    class Full(io.BytesIO):
        write = fails

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fails)
    else:
        monkeypatch.setattr(Path, "open", lambda path, mode: Full())
    with pytest.raises(InvalidFile, match="full" if number != errno.EIO else "cannot write"):
        painted().save(tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


def test_an_interrupt_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        painted().save(tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


def test_a_read_only_or_missing_folder_is_refused_before_and_while_writing(tmp_path, monkeypatch):
    with pytest.raises(InvalidFile, match="no folder"):
        files.writable(tmp_path / "nowhere" / "x.png")
    with pytest.raises(InvalidFile, match="no folder"):
        painted().save(tmp_path / "nowhere" / "x.png")

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InvalidFile, match=r"(?s)Permission denied.*-o"):
        files.writable(tmp_path / "x.png")
    with pytest.raises(InvalidFile, match="Permission denied"):
        painted().save(tmp_path / "x.png")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "x\0.png"])
def test_a_name_that_no_file_can_have_is_refused_before_and_while_writing(tmp_path, name):
    for write in (files.writable, painted().save):
        with pytest.raises(InvalidFile, match=r"too long|null"):
            write(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("quality", [0, 101, -3, "high", 9.5, None])
def test_a_quality_outside_its_domain_is_refused(tmp_path, quality):
    with pytest.raises(InvalidInput, match="1 to 100"):
        painted().save(tmp_path / "x.jpg", quality=quality)
    assert os.listdir(tmp_path) == []


def test_an_unknown_suffix_offers_the_known_ones(tmp_path):
    with pytest.raises(UnknownName, match=".png"):
        painted().save(tmp_path / "x.pgn")


def bomb(width, height):
    """A PNG of a few bytes that claims width × height."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8001, 12_000, 60_000])
def test_a_picture_bomb_is_refused_undecoded(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    with pytest.raises(InvalidFile, match="million"):
        read.picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_picture_is_refused_at_any_length(tmp_path, kind):
    buffer = io.BytesIO()
    noise(64, 64).save(buffer, kind)
    whole = buffer.getvalue()
    for part in np.linspace(0, len(whole) * 0.9, 12).astype(int):
        (tmp_path / "x").write_bytes(whole[:part])
        with pytest.raises(InvalidFile, match=r"truncated|not a picture"):
            read.picture(tmp_path / "x")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_never_raises_anything_else(tmp_path, data):
    path = painted().save(tmp_path / f"x{data.draw(st.sampled_from(['.png', '.jpg', '.webp']))}", overwrite=True)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    for look in (read.picture, carried_by):
        with contextlib.suppress(InvalidFile):
            look(path)


@pytest.mark.parametrize("source", ["gone.png", "", "data:image/png;base64,***", "data:image/png;base64,AAAA", "x\0y"])
def test_what_is_no_picture_file_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidFile):
        read.picture(source)


@pytest.mark.posix
def test_what_is_no_file_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for source in (tmp_path, tmp_path / "pipe.png", "/dev/zero"):  # reading either of the last two would never end
        with pytest.raises(InvalidFile, match="device or a pipe"):
            read.picture(source)


def test_a_folder_that_nobody_may_list_is_no_other_error(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(InvalidFile, match="no file"):
        read.picture(tmp_path / "fox.png")


def test_a_mistyped_file_offers_its_neighbour(tmp_path):
    noise().save(tmp_path / "fox.png")
    with pytest.raises(InvalidFile, match="fox.png"):
        read.picture(tmp_path / "fxo.png")


def test_a_picture_turned_by_exif_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(24, 16).save(tmp_path / "x.png", exif=exif)
    assert read.picture(tmp_path / "x.png").size == (16, 24)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "x.png")
    levels = np.asarray(read.picture(tmp_path / "x.png").convert("L")).ravel().astype(int)
    assert np.all(np.abs(levels - np.linspace(0, 255, 64)) <= 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_read_as_colour(tmp_path, mode):
    noise().convert("RGBA" if mode == "LA" else "RGB").convert(mode).save(
        tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    )
    found = read.picture(next(tmp_path.iterdir()))
    assert found.mode in ("RGB", "RGBA") and found.size == (24, 16)


def test_transparency_shows_white_and_is_the_mask_where_none_is_given():
    image = noise(mode="RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert set(read.over_white(image).get_flattened_data()) == {(255, 255, 255)}
    assert read.mask(None, image).getextrema() == (255, 255)


def test_a_mask_that_does_not_fit_or_masks_nothing_is_refused(tmp_path):
    Image.new("L", (10, 20), 255).save(tmp_path / "other.png")
    Image.new("L", (24, 16), 0).save(tmp_path / "black.png")
    with pytest.raises(InvalidInput, match="10×20.*24×16"):
        read.mask(str(tmp_path / "other.png"), noise())
    with pytest.raises(InvalidInput, match="black"):
        read.mask(str(tmp_path / "black.png"), noise())
    with pytest.raises(InvalidInput, match="no mask"):
        read.mask(None, noise())


def test_a_record_that_is_not_json_counts_as_none(tmp_path):
    from PIL import PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("danqing", "{")
    noise().save(tmp_path / "x.png", pnginfo=chunks)
    assert carried_by(tmp_path / "x.png").record is None


def test_names_are_filled_from_the_request_alone():
    assert files.fill("{prompt}-{seed}.png", {"prompt": files.slug("A Red, Fox!/../"), "seed": 3}) == "a-red-fox-3.png"
    assert files.slug("一只狐狸 3d") == "一只狐狸-3d" and files.slug("///") == "picture"
    with pytest.raises(UnknownName, match="seed"):
        files.fill("{sed}.png", {"seed": 3})


def test_the_record_is_plain_json(tmp_path):
    picture = painted()
    assert json.loads(json.dumps(record_of(picture, {"format": "PNG"})))["request"]["prompt"] == "a red fox"
