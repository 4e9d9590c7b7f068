"""Faces of a model of ours: drawn people, read of the whole picture, and told to the text's summary as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from tests.painting.test_own_tower import LAYERS, LOOK, bits_stay, model, random, same
from torch import Tensor

import danqing
from danqing import installed
from danqing.errors import InvalidFile, InvalidInput
from danqing.nets.drafted import Share, share_names, shared
from danqing.nets.ip_adapter import IPAdapter, IPAdapterConfig
from danqing.nets.recogniser import Recogniser
from danqing.painting.adapters import ip_adapters
from danqing.painting.load import load as load_model
from danqing.pictures.picture import Picture
from danqing.request.request import Request
from danqing.types import Conditioning
from danqing.vision import tower
from danqing.weights import store
from danqing.weights.load import save

__all__ = ["model"]  # a fixture

CONFIG = IPAdapterConfig(
    kind="portrait", width=16, seen=64, texture=64, hidden=5, face=12, layers=LAYERS, summary=16, inner=6
)
#: The same with a network that draws the portrait anew.
DRAWS = replace(CONFIG, drawn=4, redrawn=(16, 16))
Paint = Callable[..., danqing.Picture]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What packages bring: the judge's network, and an adapter of portraits; and pictures in the folder worked in."""
    folder = tmp_path / "danqing_models"
    for name in ("judge", "portraits"):
        (folder / name).mkdir(parents=True)
    said = {"config": json.dumps(asdict(LOOK))}
    store.write(folder / "judge" / tower.JUDGE, random(Recogniser(LOOK)).state_dict(), said)
    save(random(IPAdapter(CONFIG)), folder / "portraits" / "ours.safetensors")
    monkeypatch.setattr(installed, "folders", lambda: [folder])
    monkeypatch.chdir(tmp_path)
    for name, size in (("ann.png", (32, 32)), ("bob.png", (40, 40)), ("wide.png", (60, 30))):
        drawn = np.random.default_rng(list(name.encode())).integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(drawn).save(name)
    Image.new("RGB", (20, 50), "white").save("blank.png")
    return folder


@pytest.fixture
def paint(model: Path, shipped: Path) -> Paint:
    def paint(*faces: Any, **options: object) -> danqing.Picture:
        given: dict[str, Any] = {"model": str(model), "precision": "fp32", "steps": 2, "seed": 1, **options}
        return danqing.paint("a red fox", faces=list(faces) or None, **given)

    return paint


def test_a_portrait_acts_by_its_weight_and_leaves_no_trace(paint: Paint) -> None:
    plain = paint()
    pictures = [paint(*each) for each in (["ann.png"], ["ann.png,weight=0.4"], ["bob.png"], ["ann.png", "bob.png"])]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert not any(picture.warnings for picture in pictures)
    assert same(paint("ann.png,weight=0"), plain) and same(paint(), plain) and same(paint("ann.png"), pictures[0])


@pytest.mark.parametrize("part", ["down", "proj"])
def test_tokens_and_summary_are_both_told(paint: Paint, shipped: Path, part: str) -> None:
    whole, net = paint("ann.png"), random(IPAdapter(CONFIG))
    with torch.no_grad():
        for each in net.get_submodule(f"image_proj.{part}").parameters():
            each.zero_()
    save(net, shipped / "portraits" / "ours.safetensors")
    assert not same(paint("ann.png"), whole)


@pytest.fixture
def drawing(shipped: Path) -> IPAdapter:
    """The adapter that ships, with a network that draws the portrait anew."""
    net = random(IPAdapter(DRAWS))
    save(net, shipped / "portraits" / "ours.safetensors")
    return cast(IPAdapter, net)


def test_what_is_drawn_anew_counts_by_its_weight_and_leaves_no_trace(paint: Paint, drawing: IPAdapter) -> None:
    plain = paint()
    pictures = [paint(*each) for each in (["ann.png"], ["ann.png,weight=0.4"], ["bob.png"], ["ann.png", "bob.png"])]
    assert len({picture.image.tobytes() for picture in (plain, *pictures)}) == 5
    assert same(paint("ann.png,weight=0"), plain) and same(paint(), plain) and same(paint("ann.png"), pictures[0])


def test_a_file_tells_by_its_tensors_whether_it_draws_anew(shipped: Path, drawing: IPAdapter) -> None:
    assert ip_adapters.config_of(shipped / "portraits" / "ours.safetensors") == DRAWS
    save(random(IPAdapter(CONFIG)), shipped / "portraits" / "ours.safetensors")
    assert ip_adapters.config_of(shipped / "portraits" / "ours.safetensors") == CONFIG


@torch.inference_mode()
def shares(model: Path, *faces: str) -> tuple[Tensor, list[Share]]:
    """The draft of some summary of which faces have their shares, and these, those of the base in the end."""
    painter: Any = load_model(model, "cpu", "fp32")
    request = painter.resolve(Request(prompt="a fox", seed=1, faces=faces))
    attached = painter.adapters.asked(request, painter.text)
    tokens, pooled = (torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)) for shape in ((5, 16), (16,)))
    terms, base = ((Conditioning(tokens=tokens, pooled=pooled), 3.0),), Conditioning(tokens=tokens, pooled=pooled)
    for make in attached.say:
        terms, base = make(request)(terms, base)
    found = [
        Share(*(said.extra[part] for part in share_names(f"face {i}")))
        for i in range(len(faces))
        for said in (terms[0][0], base)
    ]
    return shared(painter.denoiser.net.draft(pooled), found[::2]), found


def test_a_face_has_of_the_draft_by_its_weight_several_their_mean_and_the_base_none(
    model: Path, shipped: Path, drawing: IPAdapter
) -> None:
    one, other = "ann.png,weight=1.5", "bob.png,weight=1.5"
    given = ([one], [other], [one, other], [other, one], [one, one])
    (ann, own), (bob, _), (both, found), (turned, _), (twice, _) = (shares(model, *each) for each in given)
    torch.testing.assert_close(ann, own[0].picture)
    torch.testing.assert_close(twice, ann)
    torch.testing.assert_close(both, (ann + bob) / 2)
    torch.testing.assert_close(turned, both)
    assert (ann - bob).abs().max() > 0.1 and not any(share.weight.any() for share in found[1::2])
    (usual, _), (twice, _), words = shares(model, "ann.png"), shares(model, "ann.png", "ann.png"), shares(model)[0]
    torch.testing.assert_close(usual, 0.6 * ann + 0.4 * words)
    torch.testing.assert_close(twice, ann)


def test_no_picture_is_refused_for_what_it_shows_and_all_of_it_is_seen(paint: Paint) -> None:
    square = Image.new("RGB", (60, 60), "white")
    square.paste(Image.open("wide.png"), (0, 15))
    square.save("square.png")
    assert same(paint("wide.png"), paint("square.png")) and not paint("blank.png").warnings


def test_a_hundred_times_on_and_off_leave_every_bit(model: Path, shipped: Path) -> None:
    assert bits_stay(model, Request(prompt="a fox", seed=1, faces="ann.png"))


def test_the_record_names_what_was_read_and_paints_it_again(paint: Paint, tmp_path: Path) -> None:
    picture = paint("ann.png,to=0.5", "bob.png,weight=0.3")
    assert [face.file for face in picture.request.faces] == ["ours", "ours"]
    assert {"adapter ours.safetensors", "adapter judge.safetensors"} <= picture.record["weights"].keys()
    again = danqing.replay(picture.save(tmp_path / "painted.png"))
    assert same(again if isinstance(again, Picture) else again.picture, picture)


@pytest.mark.parametrize("stated", ["pose=bob.png", "control=there", "recogniser=it.onnx", "tower=it", "number=2"])
def test_what_portraits_have_no_use_for_is_refused(paint: Paint, stated: str) -> None:
    with pytest.raises(InvalidInput, match=f"leave {stated.partition('=')[0]} out"):
        paint(f"ann.png,{stated}")


def test_what_is_missing_or_does_not_fit_is_one_error_each(paint: Paint, shipped: Path, tiny: Path) -> None:
    with pytest.raises(InvalidFile, match="an adapter that fits tiny"):
        paint("ann.png", model=str(tiny))
    with pytest.raises(InvalidInput, match="keeps a face and is no image prompt's adapter"):
        paint(image_prompts="ann.png,file=ours")
    save(random(IPAdapter(replace(CONFIG, seen=32))), shipped / "portraits" / "ours.safetensors")
    with pytest.raises(InvalidFile, match="64 and 64 numbers of a picture, and ours.safetensors reads 32 and 64"):
        paint("ann.png")
    (shipped / "judge" / tower.JUDGE).unlink()
    with pytest.raises(InvalidFile, match="the network that sees the portrait: judge comes with the package"):
        paint("ann.png")
