"""Image prompts of a model of ours: seen through the tower beside the judge, and told to the text's summary as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import UNET

import danqing
from danqing import installed
from danqing.errors import InvalidFile
from danqing.measure.judge import Judge
from danqing.measure.tower import Tower
from danqing.nets.clip import CLIPVision, CLIPVisionConfig
from danqing.nets.drafted import DraftedUNet, DraftedUNetConfig
from danqing.nets.features import FeatureConfig
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig, places
from danqing.nets.recogniser import Recogniser, RecogniserConfig
from danqing.nets.tower import ImageTower, ImageTowerConfig
from danqing.painting.adapters import towers
from danqing.painting.load import load as load_model
from danqing.request.request import Request
from danqing.store import inspect, library
from danqing.vision import tower
from danqing.weights import store
from danqing.weights.load import load, save

FIELDS = {field: getattr(UNET, field) for field in UNET.__dataclass_fields__}
DRAFTED = DraftedUNetConfig(
    **{**FIELDS, "in_channels": 8, "out_channels": 4, "pooled_channels": 16, "draft_size": 16},
)
LAYERS = tuple(layer.to_q.in_features for layer in places(DraftedUNet(DRAFTED)).values())
CONFIG = IPAdapterConfig(kind="summary", width=16, seen=12, layers=LAYERS, summary=16, inner=6)
LOOK = RecogniserConfig(
    trunk=FeatureConfig(image_size=32, patch=4, widths=(8, 8, 16), norm_num_groups=4, features=16), styles=3, words=5
)
STEP = ImageTowerConfig(grid=16 * 2 * 2, texture=64, hidden=8, width=12)


def random(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=draws) * (p.shape[-1] ** -0.5 if p.ndim > 1 else 0.5))
    return net.eval()


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    """The tiny model with a UNet that drafts from the text's summary."""
    folder = tmp_path / "drafted"
    folder.mkdir()
    said = json.loads((tiny / "model.json").read_text())
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    store.write(folder / "denoiser.safetensors", random(DraftedUNet(DRAFTED)).state_dict())
    part = said["components"]["denoiser"]
    sha256 = store.sha256(folder / "denoiser.safetensors")
    said["components"]["denoiser"] = {**part, "family": "drafted-unet", "config": asdict(DRAFTED), "sha256": sha256}
    (folder / "model.json").write_text(json.dumps({**said, "name": "drafted"}))
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a package brings: an adapter, and the tower beside a judge; and pictures in the folder that is worked in."""
    folder = tmp_path / "danqing_models"
    (folder / "judge").mkdir(parents=True)
    (folder / "ipadapter").mkdir()
    said = {name: json.dumps(asdict(config)) for name, config in (("judge", LOOK), ("tower", STEP))}
    store.write(folder / "judge" / tower.JUDGE, random(Recogniser(LOOK)).state_dict(), {"config": said["judge"]})
    store.write(folder / "judge" / tower.TOWER, random(ImageTower(STEP)).state_dict(), {"config": said["tower"]})
    save(random(IPAdapter(CONFIG)), folder / "ipadapter" / "ours.safetensors")
    monkeypatch.setattr(installed, "folders", lambda: [folder])
    monkeypatch.chdir(tmp_path)
    for name, size in (("fox.png", (32, 32)), ("cat.png", (40, 40)), ("wide.png", (60, 30))):
        drawn = np.random.default_rng(list(name.encode())).integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(drawn).save(name)
    return folder


@pytest.fixture
def paint(model: Path, shipped: Path) -> Callable[..., danqing.Picture]:
    def paint(*prompts: object, text: str = "a red fox", **options: object) -> danqing.Picture:
        given = {"model": str(model), "precision": "fp32", "steps": 2, "seed": 1, **options}
        return danqing.paint(text, image_prompts=list(prompts) or None, **given)  # type: ignore[arg-type]

    return paint


def same(a: danqing.Picture, b: danqing.Picture) -> bool:
    return a.image.tobytes() == b.image.tobytes()


def test_the_tower_says_to_the_bit_what_it_says_where_pictures_are_measured(shipped: Path) -> None:
    file = shipped / "judge" / tower.TOWER
    (look, _), (step, _) = tower.recogniser(file.with_name(tower.JUDGE)), tower.image_tower(file)
    measured = Tower(Judge(look, {}, {}), step, None, None)  # type: ignore[arg-type]
    for name in ("fox.png", "cat.png"):
        image = Image.open(name)
        want = measured.pictures(torch.from_numpy(np.array(image)).movedim(-1, 0)[None])
        assert torch.equal(towers.says(file, "matched", image), want)
    assert not towers.says(file, "matched", None).any()


def test_a_picture_acts_by_its_weight_and_leaves_no_trace(paint) -> None:
    plain = paint()
    pictures = [paint("fox.png"), paint("fox.png:0.5"), paint("cat.png"), paint("fox.png", "cat.png")]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert not any(picture.warnings for picture in pictures)
    assert same(paint("fox.png:0"), plain) and same(paint(), plain)
    assert {"adapter ours.safetensors", "adapter tower.safetensors", "adapter judge.safetensors"} <= pictures[0].record[
        "weights"
    ].keys()


def test_a_picture_says_something_where_there_are_no_words(paint) -> None:
    assert len({paint(*given, text="").image.tobytes() for given in ((), ("fox.png",), ("cat.png",))}) == 3


def test_the_summary_is_told_of_the_picture(paint, shipped: Path) -> None:
    net: Any = random(IPAdapter(CONFIG))
    whole = paint("fox.png")
    with torch.no_grad():
        net.image_proj.skip.weight.zero_()
    save(net, shipped / "ipadapter" / "ours.safetensors")
    assert not same(paint("fox.png"), whole)


def test_a_mask_counts_for_the_summary_by_its_part(paint) -> None:
    for name, level in (("white.png", 255), ("black.png", 0), ("grey.png", 128)):
        Image.new("L", (32, 32), level).save(name)
    whole, half = paint("fox.png"), paint("fox.png,mask=grey.png")
    assert same(paint("fox.png,mask=white.png"), whole) and same(paint("fox.png,mask=black.png"), paint())
    assert not same(half, whole) and not same(half, paint())


def test_a_picture_that_is_no_square_is_seen_whole_on_white(paint) -> None:
    square = Image.new("RGB", (60, 60), "white")
    square.paste(Image.open("wide.png"), (0, 15))
    square.save("square.png")
    assert same(paint("wide.png"), paint("square.png")) and not same(paint("wide.png,fit=crop"), paint("wide.png"))


@torch.no_grad()
def bits_stay(model: Path, request: Request) -> bool:
    """Whether what a request attaches leaves no bit changed in the network, a hundred times put on and taken off."""
    painter: Any = load_model(model, "cpu", "fp32")
    draws = torch.Generator().manual_seed(0)
    x, text, pooled = (torch.randn(1, *shape, generator=draws) for shape in ((4, 16, 16), (5, 16), (16,)))
    net = painter.denoiser.net
    before = net(x, torch.tensor([500.0]), text, pooled=pooled)
    on = painter.adapters.asked(painter.resolve(request), painter.text).on
    assert on
    for _ in range(100):
        for off in [attach() for attach in on]:
            off()
    return torch.equal(net(x, torch.tensor([500.0]), text, pooled=pooled), before)


def test_a_hundred_times_on_and_off_leave_every_bit(model: Path, shipped: Path) -> None:
    assert bits_stay(model, Request(prompt="a fox", seed=1, image_prompts="fox.png"))


def test_what_a_package_brings_is_found_by_its_fit_listed_and_told(paint, shipped: Path) -> None:
    assert paint("fox.png").request.image_prompts[0].file == "ours"
    assert {"ours": "ip-adapter"}.items() <= {each.entry.name: each.about.kind for each in library.listing()}.items()
    file = shipped / "ipadapter" / "ours.safetensors"
    net = load(file)
    assert isinstance(net, IPAdapter) and net.config == CONFIG
    assert inspect.describe(file)["is"].startswith("weights: ip-adapter")
    assert inspect.describe(shipped / "judge" / tower.TOWER)["is"].startswith("weights: image-tower")


def test_another_family_is_not_offered_it(tiny: Path, shipped: Path) -> None:
    with pytest.raises(InvalidFile, match="of ours none fits tiny"):
        danqing.paint("a fox", model=str(tiny), image_prompts="fox.png")


def test_a_tower_that_is_missing_is_one_error(paint, shipped: Path) -> None:
    for file in (tower.JUDGE, tower.TOWER):
        (shipped / "judge" / file).unlink()
        with pytest.raises(InvalidFile, match=r"judge/tower of the package danqing-mini, with the judge beside it"):
            paint("fox.png")


def test_a_tower_that_says_something_else_is_refused(paint, shipped: Path) -> None:
    save(random(IPAdapter(replace(CONFIG, seen=11))), shipped / "ipadapter" / "ours.safetensors")
    with pytest.raises(InvalidFile, match=r"says 12 numbers of a picture, and ours\.safetensors reads 11"):
        paint("fox.png,tower=judge/tower")


def test_a_tower_of_clip_is_not_taken_for_ours(shipped: Path, tmp_path: Path) -> None:
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        projection_dim=12,
    )
    save(random(CLIPVision(vision)), tmp_path / "vit.safetensors")
    with pytest.raises(InvalidFile, match=r"vit\.safetensors says 0 numbers of a picture, and an adapter reads 12"):
        towers.tower_of("matched", 12, str(tmp_path / "vit.safetensors"), "an adapter")
    assert towers.tower_of("matched", 12, "", "an adapter") == shipped / "judge" / tower.TOWER
