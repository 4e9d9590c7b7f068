"""Image prompts: pictures that a picture resembles, each through an IP-Adapter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from tests.conftest import UNET
from tests.parity.test_unet import TINY
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import danqing
from danqing import installed
from danqing.errors import DanqingError, InvalidFile, InvalidInput, UnknownName
from danqing.identity import arcface
from danqing.nets.clip import CLIPVision, CLIPVisionConfig
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig, places
from danqing.nets.unet import UNet
from danqing.painting.adapters import towers
from danqing.painting.adapters.faces import reading
from danqing.painting.adapters.ip_adapters import _weights
from danqing.request.image_prompt import Blocks, ImagePrompt
from danqing.request.request import Request
from danqing.weights import store
from danqing.weights.load import load, save

VISION = CLIPVisionConfig(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
    projection_dim=12,
)
LAYERS = tuple(layer.to_q.in_features for layer in places(UNet(UNET)).values())
BASE = IPAdapterConfig(width=UNET.cross_attention_dim, seen=12, layers=LAYERS)
PLUS = replace(BASE, kind="plus", seen=16, hidden=8, depth=1, attended=64, fed=8)


def draw(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=draws) * (p.shape[-1] ** -0.5 if p.ndim > 1 else 0.5))
    return net


def adapter(path: Path, config: IPAdapterConfig = BASE, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    return store.write(path, {name: 2 * value for name, value in draw(IPAdapter(config), seed).state_dict().items()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, with an adapter and a tower, and two pictures in the folder that is worked in."""
    models = tmp_path / "models"
    monkeypatch.setenv("DANQING_MODELS", str(models))
    (models / "clip_vision").mkdir(parents=True)
    save(draw(CLIPVision(VISION)), models / "clip_vision" / "vit.safetensors")
    adapter(models / "ipadapter" / "base.safetensors")
    monkeypatch.chdir(tmp_path)
    for name, size in (("fox.png", (40, 40)), ("cat.png", (40, 40)), ("wide.png", (60, 30))):
        drawn = np.random.default_rng(list(name.encode())).integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(drawn).save(name)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    Image.fromarray(mask).save("left.png")
    return models


@pytest.fixture
def paint(tiny: Path, folder: Path) -> Callable[..., danqing.Picture]:
    def paint(*prompts: object, **options: object) -> danqing.Picture:
        given = {"model": str(tiny), "precision": "fp32", "steps": 3, "seed": 1, **options}
        return danqing.paint("a red fox", image_prompts=list(prompts) or None, **given)  # type: ignore[arg-type]

    return paint


def same(a: danqing.Picture, b: danqing.Picture) -> bool:
    return a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("size", [(16, 16), (37, 61), (200, 31), (15, 500)])
def test_a_tower_is_shown_what_transformers_shows_it(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    want = processor(image, return_tensors="pt").pixel_values
    torch.testing.assert_close(towers.processed(image, 16), want, rtol=0, atol=1e-6)


def test_a_picture_acts_by_its_weight_and_leaves_no_trace(paint) -> None:
    plain = paint()
    pictures = [paint("fox.png"), paint("fox.png:0.5"), paint("cat.png"), paint("fox.png", "cat.png")]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert not any(picture.warnings for picture in pictures)
    assert same(paint("fox.png:0"), plain) and same(paint(), plain)


def test_a_weight_of_0_is_free_and_asks_for_no_file(paint, folder: Path) -> None:
    (folder / "ipadapter" / "base.safetensors").unlink()
    free = paint("fox.png:0,file=gone")
    assert same(free, paint()) and free.warnings == ("an image prompt changes nothing: its weight is 0.",)


@pytest.mark.parametrize(
    "config", [BASE, PLUS, replace(PLUS, kind="full-face", tokens=0, inner=5)], ids=lambda c: c.kind
)
def test_each_kind_reads_of_the_tower_what_it_was_trained_on(paint, folder: Path, config: IPAdapterConfig) -> None:
    adapter(folder / "ipadapter" / "other.safetensors", config, 1)
    assert not same(paint("fox.png,file=other"), paint())


def test_times_split_the_steps(paint) -> None:
    plain, whole = paint(), paint("fox.png")
    early, late = paint("fox.png,to=0.34"), paint("fox.png,from=0.34")
    assert len({picture.image.tobytes() for picture in (plain, whole, early, late)}) == 4
    assert same(paint("fox.png,to=0.34", "fox.png,from=0.34"), whole)
    none = paint("fox.png,to=0.1")
    assert same(none, plain) and none.warnings == (
        "an image prompt changes nothing: none of 3 steps lies in its times.",
    )


def test_a_mask_says_where(paint) -> None:
    whole = paint("fox.png")
    left = paint("fox.png,mask=left.png")
    assert not same(left, whole) and not same(left, paint())
    Image.new("L", (64, 64), 255).save("white.png")
    assert same(paint("fox.png,mask=white.png"), whole)
    Image.new("L", (64, 64), 0).save("black.png")
    assert same(paint("fox.png,mask=black.png"), paint())
    Image.new("L", (64, 32), 255).save("wide-mask.png")
    assert any("stretched" in line for line in paint("fox.png,mask=wide-mask.png").warnings)


@pytest.mark.parametrize("more", [{"width": 64, "tile": 32}, {"hires": 2}, {"frames": 2}], ids=str)
def test_tiles_second_passes_and_clips_read_it(paint, more) -> None:
    Image.new("L", (64, 64), 255).save("white.png")
    prompted = paint("fox.png", **more)
    assert not same(prompted, paint(**more))
    assert same(paint("fox.png,mask=white.png", **more), prompted)
    assert not same(paint("fox.png,mask=left.png", **more), prompted)


def test_pictures_painted_over_read_it(tiny: Path, folder: Path, picture: Path, mask: Path) -> None:
    for given in ({}, {"mask": mask}):
        painted = [
            danqing.edit(picture, "a fox", model=str(tiny), seed=1, strength=0.9, image_prompts=prompts, **given)
            for prompts in (None, "fox.png")
        ]
        assert not same(*painted)


def test_the_base_keeps_away_from_a_negative_picture(paint) -> None:
    assert not same(paint("fox.png,negative=cat.png"), paint("fox.png"))
    assert same(paint("fox.png,negative=cat.png", scale=1), paint("fox.png", scale=1))


def test_a_picture_that_is_no_square_is_seen_whole_unless_asked_otherwise(paint) -> None:
    whole, crop = paint("wide.png"), paint("wide.png,fit=crop")
    assert not whole.warnings and not same(whole, crop)
    assert crop.warnings == ("of the picture of 60×30 of an image prompt its middle square was seen.",)
    sides = np.asarray(Image.open("wide.png")).copy()
    sides[:, :5] = 0
    Image.fromarray(sides).save("wide.png")
    assert not same(paint("wide.png"), whole) and same(paint("wide.png,fit=crop"), crop)


def test_a_square_of_a_picture_holds_all_of_it_in_its_middle() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 61, 3), np.uint8))
    square = towers.square(image)
    assert square.size == (61, 61) and square.crop((0, 15, 61, 45)).tobytes() == image.tobytes()


def test_blocks_say_which_attentions_read_it() -> None:
    for name, style, layout in (
        ("sdxl", "up_blocks.0.attentions.1.", "down_blocks.2.attentions.1."),
        ("sd1", "up_blocks.1.", ("down_blocks.2.", "mid_block.")),
    ):
        net = UNet(TINY[name])
        prompts = (ImagePrompt(image="a", weight=0.7, blocks=blocks) for blocks in get_args(Blocks))
        of = {prompt.blocks: _weights(prompt, net) for prompt in prompts}
        assert set(of["all"].values()) == {0.7}
        assert all((w == 0.7) == place.startswith(style) for place, w in of["style"].items())
        assert all((w == 0.7) == place.startswith(layout) for place, w in of["layout"].items())
        both = {place: max(w, of["layout"][place]) for place, w in of["style"].items()}
        assert of["style+layout"] == both and 0 < sum(both.values()) < sum(of["all"].values())


def test_blocks_of_a_model_that_nobody_knows_them_of_are_refused(paint) -> None:
    with pytest.raises(InvalidInput, match="blocks: style was given"):
        paint("fox.png,blocks=style")


@torch.no_grad()
def test_a_thousand_times_on_and_off_leave_every_bit(painter, folder: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 4, 8, 8, generator=draws), torch.randn(1, 5, 16, generator=draws)
    net = painter.denoiser.net
    before = net(x, torch.tensor([500.0]), text)
    request = painter.resolve(Request(prompt="a fox", seed=1, image_prompts="fox.png"))
    on = painter.adapters.asked(request, painter.text).on
    for _ in range(1000):
        for off in [attach() for attach in on]:
            off()
    assert torch.equal(net(x, torch.tensor([500.0]), text), before)


def test_the_record_holds_what_was_given_and_paints_it_again(paint, folder: Path, tmp_path: Path) -> None:
    picture = paint("fox.png:0.7,mask=left.png,to=0.9", "cat.png,negative=fox.png")
    names = {"image_prompts 0", "image_prompts 0 mask", "image_prompts 1", "image_prompts 1 negative"}
    assert {name for name in picture.record if name.startswith("image_prompts")} == names
    assert {"adapter base.safetensors", "adapter vit.safetensors"} <= picture.record["weights"].keys()
    path = picture.save(tmp_path / "painted.png")
    assert danqing.replay(path).exact
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("fox.png", "left.png", "cat.png"):
        Path(name).rename(moved / name)
    with pytest.raises(InvalidFile, match="there is no file"):
        danqing.replay(path)
    assert danqing.replay(path.rename(moved / path.name)).exact


def test_pictures_of_a_batch_are_those_painted_alone(paint, tiny: Path) -> None:
    requests = [
        Request(prompt="a fox", model=str(tiny), seed=1, index=i, steps=2, image_prompts="fox.png") for i in (0, 1)
    ]
    several = [picture.image.tobytes() for picture in danqing.paint_all(requests)]
    assert several == [next(danqing.paint_all([request])).image.tobytes() for request in requests]


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("fox.png:-1", "weight: '-1' was given; possible is a number from 0 to 10"),
        ("fox.png:100", "weight: '100' was given"),
        ("fox.png,weight=nan", "weight: 'nan' was given"),
        ("fox.png,from=0.8,to=0.2", "from 0.8 to 0.2 was given"),
        ("fox.png,to=2", "end: '2' was given"),
        ("fox.png,blocks=mood", "unknown blocks 'mood'"),
        ("fox.png,wieght=1", "unknown parameter of an image prompt 'wieght'. Did you mean 'weight'"),
        ("", "no picture was given"),
        (":0.5", "no picture was given"),
        ({"weight": 1}, "its image was not given"),
        (7, "image_prompts: 7 was given"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(given: object, what: str) -> None:
    with pytest.raises(DanqingError, match=re.escape(what)):
        Request(image_prompts=[given])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a,b.png", {"image": "a,b.png"}),
        ("C:\\a.png:0.5", {"image": "C:\\a.png", "weight": 0.5}),
        ("a.png:1e-1, from=0.1 ,to=0.5", {"image": "a.png", "weight": 0.1, "start": 0.1, "end": 0.5}),
        ("a=b,c.png,blocks=style", {"image": "a=b,c.png", "blocks": "style"}),
        ("data:image/png;base64,iVBORw0K=", {"image": "data:image/png;base64,iVBORw0K="}),
        ("data:image/png;base64,iVBO:0.5,file=x", {"image": "data:image/png;base64,iVBO", "weight": 0.5, "file": "x"}),
    ],
)
def test_a_text_is_read_as_the_record_that_it_means(text: str, fields: dict[str, object]) -> None:
    request = Request(image_prompts=text)
    assert request.image_prompts == (ImagePrompt(**fields),)
    assert Request.parse(request.json_text()) == request


def test_an_adapter_of_another_family_is_refused_with_those_that_fit(paint, folder: Path) -> None:
    adapter(folder / "ipadapter" / "xl.safetensors", replace(BASE, width=24))
    with pytest.raises(
        InvalidFile, match=r"xl\.safetensors was made for .* words of 24 .* base\.safetensors would fit"
    ):
        paint("fox.png,file=xl")


def test_several_adapters_want_one_to_be_named_and_a_wrong_name_its_nearest(paint, folder: Path) -> None:
    adapter(folder / "ipadapter" / "other.safetensors")
    with pytest.raises(InvalidInput, match="none was named; there are base, other"):
        paint("fox.png")
    adapter(folder / "ipadapter" / "other.safetensors", replace(BASE, width=24))
    assert paint("fox.png").request.image_prompts[0].file == "base"
    (folder / "ipadapter" / "base.safetensors").unlink()
    with pytest.raises(InvalidFile, match=r"of other(, [\w-]+)* none fits tiny"):
        paint("fox.png")
    adapter(folder / "ipadapter" / "base.safetensors")
    with pytest.raises(UnknownName, match="Did you mean 'base'"):
        paint("fox.png,file=bas")


def test_an_adapter_among_control_networks_is_found_by_its_header(paint, folder: Path) -> None:
    want = paint("fox.png")
    (folder / "ControlNet").mkdir()
    (folder / "ipadapter" / "base.safetensors").rename(folder / "ControlNet" / "moved.safetensors")
    store.write(folder / "ControlNet" / "canny.safetensors", {"zero_convs.0.0.weight": torch.zeros(1)})
    assert same(paint("fox.png,file=moved"), want)


def test_what_is_missing_is_one_error_that_says_where_to_get_it(paint, folder: Path) -> None:
    with pytest.raises(InvalidFile, match=r"gone\.png"):
        paint("gone.png")
    (folder / "clip_vision" / "vit.safetensors").unlink()
    with pytest.raises(InvalidFile, match=r"base\.safetensors sees pictures through .* clip_vision .* or state tower"):
        paint("fox.png")
    (folder / "ipadapter" / "base.safetensors").unlink()
    with pytest.raises(InvalidFile, match="h94/IP-Adapter"):
        paint("fox.png")


def test_a_tower_that_does_not_fit_is_refused(paint, folder: Path) -> None:
    save(draw(CLIPVision(replace(VISION, projection_dim=9))), folder / "clip_vision" / "small.safetensors")
    assert same(paint("fox.png"), paint("fox.png,tower=vit"))
    with pytest.raises(InvalidFile, match="says 9 numbers of a picture, and base.safetensors reads 12"):
        paint("fox.png,tower=small")
    with pytest.raises(UnknownName, match="image tower 'vitt'"):
        paint("fox.png,tower=vitt")


def test_the_command_takes_several(run, tiny: Path, folder: Path) -> None:
    home = folder.parent
    options = ["--model", str(tiny), "--seed", "1", "--steps", "2"]
    one, two = str(home / "fox.png"), str(home / "cat.png")
    code, _, err = run(
        "paint", "a fox", *options, "--image-prompt", f"{one}:0.5", "--image-prompt", f"{two},to=0.5", "-o", "a.png"
    )
    assert code == 0, err
    want = danqing.paint(
        "a fox", model=str(tiny), seed=1, steps=2, image_prompts=[ImagePrompt(image=one, weight=0.5), f"{two},to=0.5"]
    )
    assert Image.open("a.png").tobytes() == want.image.tobytes()
    code, _, err = run("paint", "a fox", *options, "--image-prompt", f"{one}:50")
    assert code == 2 and "possible is a number from 0 to 10" in err and "Traceback" not in err


# Faces ----------------------------------------------------------------------------------------------------------------

FACE = replace(BASE, kind="face-id", seen=0, face=10, inner=6, rank=2)
FACE_PLUS = replace(PLUS, kind="face-id-plus", face=10, inner=6, hidden=0)


def recogniser(path: Path, numbers: int = 10, side: int = 112) -> Path:
    """A file of ONNX in insightface's layout, which says the colours of some parts of a face."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path.parent.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(0).standard_normal((3 * 7 * 7, numbers)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[side // 7] * 2, strides=[side // 7] * 2),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [None, 3, side, side]), ("y", [None, numbers]))
    ]
    graph = helper.make_graph(nodes, "face", ends[:1], ends[1:], [numpy_helper.from_array(draws, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def face(folder: Path) -> Path:
    """A photograph of a face, with a recogniser and an adapter that reads faces in the folders of models."""
    image = Image.open(cbook.get_sample_data("grace_hopper.jpg")).convert("RGB").resize((256, 300))
    image.save("face.png")
    recogniser(folder / "insightface" / "models" / "buffalo_l" / "w600k_r50.onnx")
    adapter(folder / "ipadapter" / "faceid.safetensors", FACE)
    adapter(folder / "ipadapter" / "faceid-plus.safetensors", FACE_PLUS)
    return folder


def test_a_face_is_upright_where_recognisers_want_it() -> None:
    turn = np.array([[0.9, -0.5], [0.5, 0.9]])
    points = arcface.TEMPLATE @ turn.T + (70, 30)
    picture = np.zeros((220, 220, 3), np.uint8)
    for x, y in points:
        picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255
    for size in (112, 224):
        face = arcface.aligned(picture, points, size)
        assert face.shape == (size, size, 3)
        for x, y in arcface.TEMPLATE * size / 112:
            assert face[round(y), round(x), 0] == 255
        assert face.mean() < 30


def test_faces_are_read_and_what_a_file_changes_beside_comes_off(paint, face: Path) -> None:
    plain = paint()
    whole, half = paint("face.png,file=faceid"), paint("face.png:0.5,file=faceid")
    assert not whole.warnings and len({picture.image.tobytes() for picture in (plain, whole, half)}) == 3
    assert {"adapter faceid.safetensors", "adapter w600k_r50.onnx"} <= whole.record["weights"].keys()
    assert same(paint("face.png:0,file=faceid"), plain) and same(paint(), plain)
    # Twice the same adapter changes the layers once, so that both halves make the whole.
    assert (
        np.abs(
            np.asarray(paint("face.png:0.5,file=faceid", "face.png:0.5,file=faceid").image, int)
            - np.asarray(whole.image, int)
        ).max()
        <= 1
    )


def test_faces_with_an_image_tower_are_read_in_both_versions_by_name(paint, face: Path) -> None:
    first = paint("face.png,file=faceid-plus")
    adapter(face / "ipadapter" / "faceid-plusv2.safetensors", FACE_PLUS)
    assert not same(paint("face.png,file=faceid-plusv2"), first)
    assert {"adapter vit.safetensors", "adapter w600k_r50.onnx"} <= first.record["weights"].keys()


def test_a_resampler_of_a_face_alone_is_instantids(tmp_path: Path) -> None:
    config = replace(PLUS, seen=512, face=512)
    path = adapter(tmp_path / "a" / "instant.safetensors", config)
    net = load(path)
    assert isinstance(net, IPAdapter) and net.config == config and net.image_proj.faces and not net.image_proj.tower
    assert net(None, torch.randn(2, 512)).shape == (2, 4, 16)


def test_a_picture_without_a_face_is_refused(paint, face: Path) -> None:
    with pytest.raises(InvalidInput, match="no face was found in the picture of 60×30"):
        paint("wide.png,file=faceid")


def test_all_that_is_missing_to_read_faces_is_one_error(paint, face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (face / "insightface" / "models" / "buffalo_l" / "w600k_r50.onnx").unlink()
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    monkeypatch.setattr(installed, "folders", list)
    parts = r"w600k_r50\.onnx.*non-commercial research.*folder insightface.*danqing\[onnx\].*danqing-identity"
    with pytest.raises(InvalidFile, match=parts):
        paint("face.png,file=faceid")


@pytest.mark.parametrize(("numbers", "side", "why"), [(9, 112, "says 9 numbers of a face"), (10, 56, "no recogniser")])
def test_a_recogniser_that_does_not_fit_is_refused(paint, face: Path, numbers: int, side: int, why: str) -> None:
    recogniser(Path("other.onnx"), numbers, side)
    with pytest.raises(InvalidFile, match=why):
        paint("face.png,file=faceid,faces=other.onnx")
    Path("other.onnx").write_bytes(b"no")
    with pytest.raises(InvalidFile, match="no recogniser of faces"):
        paint("face.png,file=faceid,faces=other.onnx")
