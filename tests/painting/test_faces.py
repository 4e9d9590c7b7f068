"""Faces that are kept: what they change, when, and what is refused with what would do."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from tests.conftest import UNET
from tests.painting.test_image_prompts import PLUS, adapter, draw, recogniser, same
from tests.parity.test_pulid import published

import danqing
from danqing import installed
from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.finish.faces import Face
from danqing.identity import analysis
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.eva import EVAVision, EVAVisionConfig
from danqing.nets.ip_adapter import IPAdapter
from danqing.painting.adapters.faces import reading
from danqing.painting.adapters.faces.instantid import laid
from danqing.painting.adapters.faces.kept import settled
from danqing.painting.adapters.faces.pulid import shown
from danqing.request.kept_face import KeptFace
from danqing.request.request import Request
from danqing.weights import store
from danqing.weights.load import save

FACE = replace(PLUS, seen=128, face=128, attended=128)
#: Where the face of "face.png" is.
PLACES = (Face((70, 70, 190, 180), np.array([(109, 94), (152, 92), (132, 118), (116, 139), (152, 138)], float)),)


def network(path: Path, **changes: Any) -> Path:
    config = ControlNetConfig(**{**asdict(UNET), "hint_widths": (4, 6, 8), **changes})
    return save(draw(ControlNet(config), 5), path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, with both parts; a portrait, where its face is known, and a picture of none."""
    models = tmp_path / "models"
    monkeypatch.setenv("DANQING_MODELS", str(models))
    monkeypatch.chdir(tmp_path)
    for name in ("ipadapter", "controlnet"):
        (models / name).mkdir(parents=True)
    adapter(models / "ipadapter" / "keeps.safetensors", FACE)
    network(models / "controlnet" / "instantid.safetensors")
    image = Image.open(cbook.get_sample_data("grace_hopper.jpg")).convert("RGB").resize((256, 300))
    image.save("face.png")
    Image.new("RGB", (60, 40)).save("none.png")
    found = {(256, 300): list(PLACES), (256, 150): [PLACES[0]._replace(score=0.5), smaller(PLACES[0])]}
    monkeypatch.setattr(analysis.Analysis, "detect", lambda self, picture: found.get(picture.shape[1::-1], []))
    image.crop((0, 50, 256, 200)).save("two.png")
    return models


def smaller(face: Face) -> Face:
    """The same, half as large and elsewhere."""
    left, upper, right, lower = (side / 2 for side in face.box)
    return Face((left, upper, right, lower), face.landmarks / 2 + 60)


@pytest.fixture
def paint(tiny: Path, folder: Path):
    def paint(*faces: object, **options: object) -> danqing.Picture:
        given = {"model": str(tiny), "precision": "fp32", "steps": 3, "seed": 1, **options}
        return danqing.paint("a red fox", faces=list(faces) or None, **given)  # type: ignore[arg-type]

    return paint


def test_a_face_acts_by_both_weights_and_leaves_no_trace(paint) -> None:
    plain = paint()
    pictures = [paint(f"face.png,weight={w},place={p}") for w, p in ((0.8, 0.8), (0.4, 0.8), (0.8, 0), (0, 0.8))]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert not any(picture.warnings for picture in pictures)
    assert same(paint(), plain) and same(paint("face.png"), pictures[0])


def test_both_weights_0_are_free_and_ask_for_nothing(paint, folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    free = paint("face.png,weight=0,place=0,file=gone")
    assert same(free, paint()) and free.warnings == ("a face changes nothing: its weight and its place are 0.",)


def test_a_face_whose_place_is_free_asks_for_no_control_network(paint, folder: Path) -> None:
    want = paint("face.png,place=0")
    (folder / "controlnet" / "instantid.safetensors").unlink()
    assert same(paint("face.png,place=0"), want)


def test_times_split_the_steps(paint) -> None:
    plain, whole = paint(), paint("face.png")
    early, late = paint("face.png,to=0.34"), paint("face.png,from=0.34")
    assert len({picture.image.tobytes() for picture in (plain, whole, early, late)}) == 4
    assert same(paint("face.png,to=0.34", "face.png,from=0.34"), whole)
    none = paint("face.png,to=0.1")
    assert same(none, plain) and none.warnings == ("a face changes nothing: none of 3 steps lies in its times.",)


def test_of_several_faces_the_largest_is_kept_or_the_one_that_is_meant(paint) -> None:
    first, second = paint("two.png,number=1"), paint("two.png,number=2")
    assert not first.warnings and not same(first, second)
    unsaid = paint("two.png")
    assert same(unsaid, first) and unsaid.warnings == ("a picture shows 2 faces, of which the largest was read.",)
    with pytest.raises(InvalidInput, match="face 3 was asked for; the picture of 256×150 shows 2"):
        paint("two.png,number=3")


def test_a_picture_without_a_face_is_refused(paint) -> None:
    with pytest.raises(InvalidInput, match="no face was found in the picture of 60×40"):
        paint("none.png")
    with pytest.raises(InvalidInput, match="no face was found in the picture of 60×40"):
        paint("face.png,pose=none.png")


def test_another_picture_may_say_the_place(paint) -> None:
    assert not same(paint("face.png,pose=two.png"), paint("face.png"))
    assert same(paint("face.png,pose=two.png,place=0"), paint("face.png,place=0"))


@pytest.mark.parametrize("more", [{"width": 64, "tile": 32}, {"hires": 2}, {"frames": 2}], ids=str)
def test_tiles_second_passes_and_clips_keep_it(paint, more) -> None:
    assert not same(paint("face.png", **more), paint(**more))


def test_points_of_another_ratio_lie_in_the_middle_with_their_own() -> None:
    corners = np.array([(-0.5, -0.5), (99.5, 49.5)])
    np.testing.assert_allclose(laid(corners, (100, 50), (64, 64)), [(-0.5, 15.5), (63.5, 47.5)])
    np.testing.assert_allclose(laid(corners, (100, 50), (200, 100)), [(-0.5, -0.5), (199.5, 99.5)])


def test_the_record_names_both_files_and_paints_it_again(paint, folder: Path, tmp_path: Path) -> None:
    picture = paint("face.png,pose=two.png,to=0.9", "face.png,place=0,weight=0.3")
    assert {name for name in picture.record if name.startswith("faces")} == {"faces 0", "faces 0 pose", "faces 1"}
    names = ("keeps", "instantid", "recogniser", "finder", "landmarks")
    assert {f"adapter {name}.safetensors" for name in names} <= picture.record["weights"].keys()
    first, second = picture.request.faces
    assert (first.file, first.control, second.control) == ("keeps", "instantid", "")
    path = picture.save(tmp_path / "painted.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("face.png", "two.png"):
        Path(name).rename(elsewhere / name)
    assert danqing.replay(path.rename(elsewhere / path.name)).exact


@torch.no_grad()
def test_on_and_off_leave_every_bit(painter, folder: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 4, 8, 8, generator=draws), torch.randn(1, 5, 16, generator=draws)
    net = painter.denoiser.net
    before = net(x, torch.tensor([500.0]), text)
    on = painter.adapters.asked(painter.resolve(Request(prompt="a fox", seed=1, faces="face.png")), painter.text).on
    for _ in range(100):
        for off in [attach() for attach in on]:
            off()
    assert torch.equal(net(x, torch.tensor([500.0]), text), before) and not painter.denoiser.controls


def test_a_folder_as_it_is_published_holds_both(paint, folder: Path, tmp_path: Path) -> None:
    want = paint("face.png")
    published = tmp_path / "InstantID"
    (published / "ControlNetModel").mkdir(parents=True)
    (folder / "ipadapter" / "keeps.safetensors").rename(published / "ip-adapter.safetensors")
    control = published / "ControlNetModel" / "diffusion_pytorch_model.safetensors"
    (folder / "controlnet" / "instantid.safetensors").rename(control)
    assert same(paint(f"face.png,file={published}"), want)
    assert same(paint(f"face.png,file={published / 'ip-adapter.safetensors'}"), want)
    (folder / "instantid").mkdir()
    published.rename(folder / "instantid" / "InstantID")
    assert same(paint("face.png"), want)


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("face.png,weight=-1", "weight: '-1' was given; possible is a number from 0 to 10"),
        ("face.png,weight=100", "weight: '100' was given"),
        ("face.png,place=nan", "place: 'nan' was given"),
        ("face.png,from=0.8,to=0.2", "from 0.8 to 0.2 was given"),
        ("face.png,number=-1", "number: '-1' was given"),
        ("face.png,wieght=1", "unknown parameter of a face 'wieght'. Did you mean 'weight'"),
        ("face.png,to=0.5,to=0.6", "to was given twice"),
        ("", "no picture was given"),
        ({"weight": 1}, "its image was not given"),
        (7, "faces: 7 was given"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(given: object, what: str) -> None:
    with pytest.raises(DanqingError, match=re.escape(what)):
        Request(faces=[given])  # type: ignore[list-item]


def test_a_text_is_read_as_the_record_that_it_means() -> None:
    request = Request(faces="a,b.png,weight=0.5, from=0.1 ,to=0.5,number=2")
    assert request.faces == (KeptFace(image="a,b.png", weight=0.5, start=0.1, end=0.5, number=2),)
    assert Request.parse(request.json_text()) == request


def test_all_that_is_missing_is_one_error_that_says_where_to_get_it(paint, folder, monkeypatch) -> None:
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    monkeypatch.setattr(installed, "folders", list)
    parts = r"ip-adapter\.bin of InstantX/InstantID.*ipadapter.*; .*ControlNetModel of InstantX.*controlnet.*place=0\)"
    with pytest.raises(
        InvalidFile, match=parts + r"; .*glintr100\.onnx.*antelopev2.*non-commercial.*; .*danqing-ident"
    ):
        paint("face.png")


def test_an_adapter_of_another_family_or_kind_is_refused_with_those_that_fit(paint, folder: Path) -> None:
    adapter(folder / "ipadapter" / "xl.safetensors", replace(FACE, width=24))
    adapter(folder / "ipadapter" / "towers.safetensors", PLUS)
    with pytest.raises(InvalidInput, match="xl is made for another model than tiny; those that fit are keeps"):
        paint("face.png,file=xl")
    with pytest.raises(InvalidInput, match=r"kind plus, which is read as an image prompt.*those that fit are keeps"):
        paint("face.png,file=towers")
    with pytest.raises(UnknownName, match="Did you mean 'keeps'"):
        paint("face.png,file=keep")
    adapter(folder / "ipadapter" / "also.safetensors", FACE)
    with pytest.raises(InvalidInput, match="several adapters fit tiny, and none was named; there are also, keeps"):
        paint("face.png")


def test_a_control_network_of_another_family_is_refused(paint, folder: Path) -> None:
    network(folder / "controlnet" / "xl.safetensors", cross_attention_dim=2048)
    with pytest.raises(InvalidInput, match="the control network xl is made for SDXL, and tiny is not of that family"):
        paint("face.png,control=xl")


def test_a_model_without_attentions_to_words_is_refused_or_says_that_it_is_ignored(folder, generators) -> None:
    with pytest.raises(InvalidInput, match="through the attentions of a UNet that reads words, and sd3 has none"):
        settled(Request(faces="face.png"), torch.nn.Linear(1, 1), "sd3")
    ignored = danqing.paint("", model=generators["vae"], faces="face.png")
    assert any("faces" in line and "ignored" in line for line in ignored.warnings)


def test_a_recogniser_of_ones_own_is_read_for_an_adapter_of_its_numbers(paint, folder: Path) -> None:
    adapter(folder / "ipadapter" / "keeps.safetensors", replace(FACE, seen=512, face=512))
    with pytest.raises(InvalidFile, match=r"missing: the recogniser of faces glintr100\.onnx"):
        paint("face.png")
    recogniser(folder / "insightface" / "models" / "antelopev2" / "glintr100.onnx", 512)
    kept = paint("face.png")
    assert not same(kept, paint()) and "adapter glintr100.onnx" in kept.record["weights"]
    recogniser(Path("other.onnx"), 9)
    with pytest.raises(InvalidFile, match="says 9 numbers of a face, and the adapter reads 512"):
        paint("face.png,recogniser=other.onnx")


def test_the_command_takes_several(run, tiny: Path, folder: Path) -> None:
    home = folder.parent
    options = ["--model", str(tiny), "--seed", "1", "--steps", "2", "--face", f"{home / 'face.png'},weight=0.5"]
    code, _, err = run("paint", "a fox", *options, "--face", f"{home / 'face.png'},place=0,to=0.5", "-o", "a.png")
    assert code == 0, err
    code, _, err = run("paint", "a fox", *options, "--face", "face.png,weight=50")
    assert code == 2 and "possible is a number from 0 to 10" in err and "Traceback" not in err


# PuLID ----------------------------------------------------------------------------------------------------------------

EYES = EVAVisionConfig(
    hidden_size=64, intermediate_size=8, num_hidden_layers=6, image_size=28, patch_size=14, projection_dim=5
)


@pytest.fixture
def pulid(folder: Path) -> Path:
    """The user's folder of models with an adapter of PuLID's, by its published names, and the tower that it reads."""
    more = {"seen": 64, "fed": 8, "inner": 8, "hidden": 8, "depth": 5, "attended": 64}
    config = replace(FACE, kind="pulid-resampler", face=128 + 5, **more)
    tensors = {name: 3 * value for name, value in draw(IPAdapter(config)).state_dict().items()}
    store.write(folder / "ipadapter" / "pulid.safetensors", published(config, tensors))
    (folder / "clip_vision").mkdir()
    save(draw(EVAVision(EYES)), folder / "clip_vision" / "eva.safetensors")
    return folder


def test_pulid_keeps_a_face_by_its_weight_and_leaves_no_trace(paint, pulid: Path) -> None:
    plain, kept = paint(), paint("face.png,file=pulid")
    ways = ("weight=0.4", "mode=style", "empty=80")
    others = [paint(f"face.png,file=pulid,{way}") for way in ways]
    assert len({picture.image.tobytes() for picture in (plain, kept, *others)}) == 5
    assert same(paint(), plain)
    (face,) = kept.request.faces
    assert (face.file, face.tower, face.place, face.control) == ("pulid", "eva", 0, "")
    names = ("pulid", "eva", "recogniser", "finder", "landmarks")
    assert {f"adapter {name}.safetensors" for name in names} <= kept.record["weights"].keys()
    with pytest.raises(InvalidInput, match="keeps no place: leave control and pose out"):
        paint("face.png,file=pulid,pose=two.png")
    with pytest.raises(InvalidInput, match="keeps a face and is no image prompt's adapter"):
        danqing.paint("a fox", image_prompts="face.png,file=pulid", model=str(kept.request.model))


def test_what_pulid_misses_is_one_error_that_says_where_to_get_it(paint, pulid: Path) -> None:
    (pulid / "clip_vision" / "eva.safetensors").unlink()
    parts = r"EVA02_CLIP_L_336_psz14_s6B\.pt of QuanSun/EVA-CLIP.*folder clip_vision.*; .*glintr100\.onnx.*insightface"
    with pytest.raises(InvalidFile, match=parts):
        paint("face.png,file=pulid")


def test_outside_of_a_face_its_tower_sees_white(folder: Path) -> None:
    image = np.asarray(Image.open("face.png"))
    seen = np.asarray(shown(image, PLACES[0]))
    assert seen.shape == (512, 512, 3) and (seen == seen[..., :1]).all()
    assert (seen[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all() and seen[300:330, 230:280].max() < 255
    assert 0.15 < (seen[..., 0] < 255).mean() < 0.6
