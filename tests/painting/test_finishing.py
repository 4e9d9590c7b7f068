"""Laws of finishing: a chain is what its parts are one after another, is part of the record, and leaves what was given
as it was."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.finish.records import finishing
from danqing.finish.upscalers import OURS
from danqing.finish.upscalers import find as upscaler
from danqing.nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig
from danqing.painting.load import load
from danqing.pictures import carried
from danqing.pictures.carried import Carried, carried_by, recorded
from danqing.request.request import Request
from danqing.store import shipped
from danqing.store.find import find
from danqing.weights import store
from danqing.weights.load import load as network
from danqing.weights.load import save

TONES = [{"name": "levels", "gamma": 1.4}, {"name": "clahe", "clip": 3.0}]


@pytest.fixture(scope="session")
def enlarger(tmp_path_factory):
    """The file of an enlarger of random weights, twice as large."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("enlarger") / "two.safetensors"
    save(SRVGGNetCompact(SRVGGNetCompactConfig(channels=4, convolutions=1, scale=2)), path)
    return str(path)


def finish(image, chain, **options):
    return next(
        danqing.paint_all(
            [Request(recipe="finish", model="none", image=str(image), finish=chain, **options)], device="cpu"
        )
    )


def test_a_chain_is_the_same_as_words_as_names_and_as_json():
    said = Request(finish="enlarge:scale=2.5, tone,levels:black=0.1:gamma=1.2").finish
    assert said == (finishing("enlarge", scale=2.5), finishing("clahe"), finishing("levels", black=0.1, gamma=1.2))
    assert Request(finish=["enlarge:scale=2.5", "tone", {"name": "levels", "black": 0.1, "gamma": 1.2}]).finish == said
    assert Request.parse(Request(finish=said).json_text()).finish == said
    assert Request(finish="none").finish == Request(finish="").finish == () and "finish" not in Request().stated()


@pytest.mark.parametrize(
    ("chain", "kind", "told"),
    [
        ("enlrge", UnknownName, "'enlarge'"),
        ("enlarge:scale=0", InvalidInput, "scale"),
        ("enlarge:scale=100", InvalidInput, "scale"),
        ("enlarge:sclae=2", UnknownName, "'scale'"),
        ("enlarge:scale", InvalidInput, "lacks its value"),
        (7, InvalidInput, "a chain of"),
        ([{"nome": "tone"}], InvalidInput, "a chain of"),
        ("levels:black=0.9:white=0.1", InvalidInput, "below white"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_with_what_can(chain, kind, told):
    with pytest.raises(kind, match=told):
        Request(finish=chain)


def test_a_painted_picture_is_the_plain_one_after_its_finishes(painter, enlarger):
    chain = [{"name": "enlarge", "model": enlarger, "precision": "fp32"}, *TONES]
    request = Request(model=painter.model.source, prompt="a red fox", seed=3)
    plain, whole = painter.paint(request), painter.paint(request.but(finish=chain))
    image = plain.image
    for record in Request(finish=chain).finish:
        image = record.make(network, "cpu")(image)
    assert whole.image.size == (64, 64) and whole.image.tobytes() == image.tobytes()
    assert whole.record["finish"].keys() == {enlarger} and "finish" in whole.timings and "finish" not in plain.record


def test_a_finish_computes_in_the_precision_of_the_request_and_the_record_says_which(painter, enlarger):
    request = painter.resolve(Request(model=painter.model.source, finish=f"enlarge:model={enlarger},tone"))
    assert request.precision == "fp32" and request.finish[0].precision == "fp32"
    assert (
        painter.resolve(request.but(finish=[{"name": "enlarge", "model": enlarger, "precision": "bf16"}]))
        .finish[0]
        .precision
        == "bf16"
    )


def test_an_enlarger_in_a_folder_of_models_is_found_by_its_name(picture, enlarger, tmp_path, monkeypatch):
    places = [tmp_path / "mine" / "upscale_models", tmp_path / "mine" / "anywhere"]
    for place in places:
        place.mkdir(parents=True)
    shutil.copy(enlarger, places[0] / "2x-mine.safetensors")
    shutil.copy(enlarger, places[1] / "2x-other.safetensors")
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "mine"))
    for name in ("2x-mine", "2x-other", "anywhere/2x-other"):
        assert finish(picture, f"enlarge:model={name}").image.size == (64, 64)
    with pytest.raises(UnknownName, match="2x-mine"):
        finish(picture, "enlarge:model=2x-mime")


def test_a_finish_that_cannot_be_is_refused_before_a_step_is_painted(painter, generators):
    chain = [{"name": "enlarge", "model": f"{generators['stylegan2']}/generator.safetensors"}]
    with pytest.raises(InvalidInput, match="enlarges no picture"):
        next(painter.states(Request(model=painter.model.source, finish=chain)))


def test_a_models_own_finish_is_a_default_that_none_undoes_and_inpainting_does_not_take(
    painter, picture, mask, monkeypatch
):
    defaults = {**painter.defaults, "finish": TONES}
    monkeypatch.setattr(type(painter), "defaults", property(lambda self: defaults))
    request = Request(model=painter.model.source, seed=1)
    assert len(painter.resolve(request).finish) == 2 and painter.resolve(request.but(finish="none")).finish == ()
    assert painter.resolve(request.but(recipe="inpaint", image=str(picture), mask=str(mask))).finish == ()


def test_a_finished_picture_replays_from_its_file(picture, tmp_path, enlarger):
    path = finish(picture, [{"name": "enlarge", "model": enlarger, "scale": 1.5}, *TONES], precision="fp32").save(
        tmp_path / "done.png"
    )
    assert danqing.replay(path).exact and recorded(path).finish[1:] == Request(finish=TONES).finish


def test_a_record_of_before_there_were_finishes_has_none(painter, tmp_path, monkeypatch):
    path = painter.paint(Request(model=painter.model.source, seed=1)).save(tmp_path / "old.png")
    record = dict(carried_by(path).record)
    del record["request"]["finish"]
    monkeypatch.setattr(carried, "carried_by", lambda path: Carried(record=record, parameters=None, format="PNG"))
    assert recorded(path).finish == ()


def test_no_model_gives_any_picture_as_it_is_and_leaves_its_file_alone(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    levels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    deep = levels[..., 0].astype(np.uint16) * 257
    for name, image in {
        "rgba": Image.fromarray(levels),
        "grey": Image.fromarray(levels[..., 0]),
        "deep": Image.fromarray(deep),
    }.items():
        path = tmp_path / f"{name}.png"
        image.save(path, icc_profile=profile)
        before = path.read_bytes()
        found = finish(path, "none").image
        assert found.mode == image.mode and found.tobytes() == image.tobytes() and found.info["icc_profile"] == profile
        written = finish(path, TONES).save(tmp_path / f"{name}-done.png")
        assert Image.open(written).mode == image.mode and Image.open(written).info["icc_profile"] == profile
        assert path.read_bytes() == before


def test_what_is_not_read_of_a_file_is_said(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (0, 99, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert "3 pictures, of which the first" in finish(tmp_path / "moving.gif", "none").warnings[0]
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4, 3), 30000, np.uint16))
    assert "16 bits a colour" in finish(tmp_path / "deep.png", "none").warnings[0]


def test_a_turned_picture_is_finished_upright(tmp_path):
    image, exif = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 9, 3), np.uint8)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert (
        finish(tmp_path / "turned.png", "none").image.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()
    )


def test_no_model_paints_nothing():
    with pytest.raises(InvalidInput, match="name a model"):
        load("none", "cpu").paint(Request(model="none", prompt="a fox"))
    with pytest.raises(InvalidInput, match="starts from a picture"):
        load("none", "cpu").paint(Request(model="none", recipe="finish"))


# ------------------------------------------------------------------------------------------------------------- commands


def test_a_folder_and_a_pattern_give_a_file_each_and_a_bad_picture_does_not_cost_the_others(run, picture, enlarger):
    os.mkdir("art")
    for name in ("a.png", "b.jpg", "c.tif"):
        Image.open(picture).crop((0, 0, 20, 10)).save(f"art/{name}")
    code, out, _ = run("enlarge", "art", "--model", enlarger, "-o", "large/")
    assert code == 0 and out.split() == [f"large/{name}-large.png" for name in "abc"]
    assert {Image.open(f"large/{name}").size for name in os.listdir("large")} == {(40, 20)}
    (picture.parent / "here/art/bad.png").write_bytes(b"no picture")
    code, out, err = run("tone", "art/*.png", "art/gone.png", "--json")
    assert code == 2 and [json.loads(line)["file"] for line in out.splitlines()] == ["a-tone.png"]
    assert (
        "bad.png is not a picture" in err
        and "gone.png" in err
        and sorted(os.listdir()) == ["a-tone.png", "art", "large"]
    )


def test_an_output_that_is_there_is_numbered_and_overwritten_only_when_asked(run, picture):
    assert run("tone", str(picture), "-o", "x.png")[1] == "x.png\n"
    before = Path("x.png").read_bytes()
    assert (
        run("tone", str(picture), "-o", "x.png", "--saturation", "0")[1] == "x-2.png\n"
        and Path("x.png").read_bytes() == before
    )
    assert (
        run("tone", str(picture), "-o", "x.png", "--saturation", "0", "--force")[1] == "x.png\n"
        and Path("x.png").read_bytes() != before
    )


def test_tone_does_what_is_asked_in_order_and_local_contrast_where_nothing_is(run, picture):
    run("tone", str(picture), "-o", "plain.png")
    run(
        "tone",
        str(picture),
        "-o",
        "all.png",
        "--clahe",
        "3",
        "--black",
        "0.1",
        "--point",
        "0.5,0.6",
        "--white-balance",
        "white-patch",
    )
    assert recorded("plain.png").finish == (finishing("clahe"),)
    assert recorded("all.png").finish == (
        finishing("white-balance", method="white-patch"), finishing("levels", black=0.1),
        finishing("curves", points=((0, 0), (0.5, 0.6), (1, 1))), finishing("clahe", clip=3),
    )  # fmt: skip


def test_paint_takes_a_chain(run, tiny):
    code, out, _ = run(
        "paint",
        "a fox",
        "--model",
        str(tiny),
        "--seed",
        "1",
        "--finish",
        "levels:gamma=1.2,tone",
        "--precision",
        "fp32",
    )
    assert code == 0 and len(recorded(out.strip()).finish) == 2 and run("replay", out.strip())[0] == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["enlarge"], "IMAGE"),
        (["enlarge", "PICTURE", "--scale", "0"], "scale: '0' was given"),
        (["enlarge", "PICTURE", "--scale", "100"], "'100'"),
        (["enlarge", "PICTURE", "--model", "realesrgan-x4"], "realesrgan-x4plus"),
        (["enlarge", "."], "holds no picture"),
        (["enlarge", "*.png"], "holds no picture"),
        (["tone", "PICTURE", "--point", "3"], "point: '3'"),
        (["tone", "PICTURE", "--gamma", "0"], "gamma"),
        (["faces", "PICTURE", "--model", "TWO"], "restores no face"),
        (["enlarge", "PICTURE", "--model", "PICTURE"], "given.png"),
        (["enlarge", "PICTURE", "-o", "x.gif"], ".webp"),
    ],
)
def test_bad_input_is_told_with_code_2_and_writes_nothing(run, picture, enlarger, args, told):
    code, out, err = run(*[{"PICTURE": str(picture), "TWO": enlarger}.get(arg, arg) for arg in args])
    assert code == 2 and told in err and "Traceback" not in err and out == "" and os.listdir() == []


def test_a_network_of_another_kind_is_refused(picture, tmp_path, generators):
    with pytest.raises(InvalidInput, match="enlarges no picture"):
        finish(picture, [{"name": "enlarge", "model": f"{generators['stylegan2']}/generator.safetensors"}])
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(InvalidFile, match="cut.safetensors"):
        finish(picture, [{"name": "enlarge", "model": str(tmp_path / "cut.safetensors")}])


def test_the_default_model_enlarges_its_pictures_by_a_network_that_ships_with_it_and_has_a_card():
    assert Request(finish=find(shipped.DEFAULT).defaults["finish"]).finish == (finishing("enlarge"),)
    for path in map(upscaler, OURS):
        assert store.sha256(path) in (path.parent / "CARD.md").read_text() and path.stat().st_size <= 6e6
