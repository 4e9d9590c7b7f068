"""Laws of pictures larger than the model is at home in: a second pass, tiles, panoramas."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig
from danqing.noise import Noise
from danqing.painting.load import load
from danqing.painting.recipes.hires import WAYS
from danqing.request import infotext
from danqing.request.names import ENLARGERS
from danqing.request.request import Request
from danqing.types import State
from danqing.weights import store
from danqing.weights.load import save


def levels(picture):
    return np.asarray(picture.image.convert("RGB"), np.int16)


def fox(**options):
    return Request(**{"prompt": "a red fox", "seed": 1, **options})


def walked(painter, request):
    *states, picture = painter.states(request)
    return states, picture


@pytest.fixture
def enlarger(tmp_path):
    """An enlarger's file."""
    torch.manual_seed(3)
    return str(
        save(SRVGGNetCompact(SRVGGNetCompactConfig(channels=4, convolutions=1, scale=2)), tmp_path / "x2.safetensors")
    )


# ----------------------------------------------------------------------------------------------------------- hires


def test_hires_one_is_no_second_pass(painter, picture):
    for request in (fox(), fox(recipe="image2image", image=str(picture))):
        plain = painter.resolve(request)
        assert plain.hires.factor == 1
        changed = plain.but(hires_steps=9, hires_strength=0.9, hires_by="lanczos")
        one, two = walked(painter, plain), walked(painter, changed)
        assert len(one[0]) == len(two[0]) and one[1].image.tobytes() == two[1].image.tobytes()
        assert one[1].warnings == () and "hires_steps, hires_strength, hires_by had no effect" in two[1].warnings[0]


@pytest.mark.parametrize("by", WAYS)
def test_the_first_pass_is_the_picture_that_there_would_be_without_the_second(painter, by):
    alone, both = walked(painter, fox(steps=4)), walked(painter, fox(steps=4, hires=2, hires_by=by))
    assert all(torch.equal(a.x, b.x) for a, b in zip(alone[0], both[0], strict=False))
    assert alone[1].image.size == (32, 32) and both[1].image.size == (64, 64) and both[1].warnings == ()


def test_steps_are_counted_over_both_passes(painter):
    for steps, wanted, strength, more in [
        (4, None, 0.5, 2),
        (4, 0, 0.5, 2),
        (4, 10, 0.3, 3),
        (3, None, 0.01, 1),
        (3, None, 0.0, 0),
    ]:
        states, _ = walked(painter, fox(steps=steps, hires=2, hires_steps=wanted, hires_strength=strength))
        assert [s.step for s in states] == list(range(1, steps + more + 1)) and {s.steps for s in states} == {
            steps + more
        }


@pytest.mark.parametrize("by", WAYS)
def test_at_strength_nought_the_picture_is_enlarged_and_nothing_else(painter, by):
    (*_, last), picture = walked(painter, fox(hires=2, hires_strength=0, hires_by=by))
    with torch.inference_mode():
        wanted = painter.decode(WAYS[by](painter, *painter.decode(last.x), last.x, (64, 64)))[0]
    assert picture.image.tobytes() == wanted.tobytes()


def test_the_second_pass_draws_noise_of_its_own(painter):
    stages = [Noise.of(1, [0], stage) for stage in ("start", "hires start", "sample", "hires sample")]
    drawn = [noise(torch.zeros(1, 4, 8, 8)).flatten() for noise in stages]
    assert torch.corrcoef(torch.stack(drawn)).sub(torch.eye(4)).abs().max() < 0.25
    states, _ = walked(painter, fox(hires=2, hires_strength=1.0, solver="ddim", eta=0.0))
    plain, _ = walked(painter, fox(width=64, height=64, solver="ddim", eta=0.0))
    assert not torch.equal(states[-1].x, plain[-1].x)


@pytest.mark.parametrize(
    "change",
    [
        {"hires": 1.5},
        {"hires_steps": 5},
        {"hires_strength": 0.9},
        {"hires_by": "lanczos"},
        {"seed": 2},
        {"index": 1},
        {"scale": 5.0},
    ],
)
def test_everything_that_is_stated_has_its_effect_and_the_same_gives_the_same(painter, change):
    base = painter.resolve(fox(hires=2))
    assert painter.paint(base).image.tobytes() == painter.paint(base).image.tobytes()
    assert painter.paint(base).image.tobytes() != painter.paint(base.but(**change)).image.tobytes()


def test_a_prompt_that_has_switched_stays_switched_in_the_second_pass(painter):
    options = {"seed": 1, "steps": 4, "hires": 2, "hires_strength": 0.5}
    switched, _ = walked(painter, Request(prompt="[a red fox:a blue cat:0.5]", **options))
    with torch.inference_mode():
        cat = painter.resolve(Request(prompt="a blue cat", **options))
        points = painter.points(cat)[2:]
        alone = list(
            painter.walk(
                cat,
                points,
                torch.nn.functional.interpolate(switched[3].x, (16, 16), mode="bicubic"),
                painter.assemble(cat, points),
                stage="hires ",
            )
        )
    assert torch.equal(switched[-1].x, alone[-1].x)


@pytest.mark.parametrize(
    ("size", "hires", "painted"), [((32, 32), 1.5, (48, 48)), ((32, 24), 1.1, (32, 24)), ((40, 24), 2, (80, 48))]
)
def test_the_size_is_the_nearest_that_the_model_paints(painter, size, hires, painted):
    assert painter.paint(fox(width=size[0], height=size[1], hires=hires)).image.size == painted


def test_image_to_image_has_a_second_pass_too_even_where_the_first_takes_no_step(painter, picture):
    request = fox(recipe="image2image", image=str(picture), hires=2, steps=4)
    assert painter.paint(request).image.size == (64, 64)
    states, larger = walked(painter, request.but(strength=0))
    assert [s.step for s in states] == [1, 2] and larger.image.size == (64, 64)


def test_an_enlargers_network_stands_between_the_passes_and_in_the_record(painter, enlarger):
    picture = painter.paint(fox(hires=2, hires_by=enlarger))
    assert picture.image.size == (64, 64) and picture.record["hires_by"] == store.sha256(enlarger)
    assert picture.image.tobytes() != painter.paint(fox(hires=2, hires_by="lanczos")).image.tobytes()


def test_a_large_picture_is_replayed(painter, tiny, enlarger, tmp_path):
    for options in (
        {"hires": 2},
        {"hires": 2, "hires_by": enlarger, "tile": 16},
        {"width": 64, "tile": 32, "panorama": True},
    ):
        path = painter.paint(fox(model=str(tiny), **options)).save(tmp_path / "x.png")
        assert danqing.replay(path).exact


def refused(painter, monkeypatch, **options):
    monkeypatch.setattr(painter.denoiser.net, "forward", lambda *_, **__: pytest.fail("something was painted"))
    painter.paint(fox(**options))


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"hires": 8}, InvalidInput, "hires: 8 .*32×32.*256×256.*128×128.*tile"),
        ({"hires": 2, "hires_by": "lanzcos"}, UnknownName, "Did you mean 'lanczos'"),
        ({"hires": 2, "tile": 20}, InvalidInput, "tile: 20.*multiples of 8.*(16|24)"),
        ({"width": 4096, "height": 4096}, InvalidInput, "128×128.*tile"),
        ({"width": 4096, "height": 4096, "hires": 8, "tile": 32}, InvalidInput, "8000×8000"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_painted(painter, monkeypatch, options, error, told):
    with pytest.raises(error, match=told):
        refused(painter, monkeypatch, **options)


def test_inpaint_has_no_second_pass_and_a_file_of_another_network_no_say(painter, monkeypatch, picture, mask, tiny):
    with pytest.raises(InvalidInput, match="inpaint keeps"):
        refused(painter, monkeypatch, recipe="inpaint", image=str(picture), mask=str(mask), hires=2)
    with pytest.raises((InvalidInput, InvalidFile), match="enlarge|text"):
        refused(painter, monkeypatch, hires=2, hires_by=str(tiny / "text.safetensors"))


# ----------------------------------------------------------------------------------------------------------- tiles


@pytest.fixture
def watched(painter, monkeypatch):
    """The largest latent that the denoiser saw, and the largest that the autoencoder decoded, in cells."""
    most = {"denoiser": 0, "codec": 0}

    def watch(role, owner, name):
        inner = getattr(owner, name)

        def look(x, *args, **options):
            most[role] = max(most[role], x.shape[-1] * x.shape[-2])
            return inner(x, *args, **options)

        monkeypatch.setattr(owner, name, look)

    watch("denoiser", painter.denoiser.net, "forward")
    watch("codec", painter.codec.vae, "decode")
    return most


def test_a_picture_of_one_tile_is_the_picture_without_tiles(painter, picture):
    for request in (fox(), fox(recipe="image2image", image=str(picture)), fox(width=24)):
        whole = painter.paint(request).image.tobytes()
        assert (
            painter.paint(request.but(tile=32)).image.tobytes()
            == whole
            == painter.paint(request.but(tile=64)).image.tobytes()
        )
    assert painter.paint(fox(width=64)).image.tobytes() != painter.paint(fox(width=64, tile=32)).image.tobytes()


@pytest.mark.parametrize("options", [{"width": 96, "height": 40}, {"width": 160, "height": 96}, {"hires": 5}])
def test_no_network_sees_more_than_a_tile_however_large_the_picture_its_preview_included(painter, watched, options):
    for state in painter.states(fox(tile=32, steps=1, **options)):
        if isinstance(state, State):
            painter.preview(state)
    assert watched == {"denoiser": 64, "codec": 64}


def test_tiles_reach_inpainting_and_what_stands_beside_the_latent(painter, picture, mask):
    whole = painter.paint(fox(recipe="inpaint", image=str(picture), mask=str(mask), width=32, height=32))
    tiled = painter.paint(whole.request.but(tile=16))
    kept = np.asarray(Image.open(mask)) == 0
    assert (levels(tiled)[kept] == levels(whole)[kept]).all() and (levels(tiled) != levels(whole)).any()


def test_a_refiner_sees_no_more_than_a_tile_either(painter, tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny, tmp_path / "late")
    late = load(tmp_path / "late", "cpu", "fp32")
    forward, sizes = late.denoiser.net.forward, set()

    def look(x, *args, **options):
        sizes.add(tuple(x.shape[-2:]))
        return forward(x, *args, **options)

    monkeypatch.setattr(late.denoiser.net, "forward", look)
    painter.paint(fox(width=64, tile=32, refiner=str(tmp_path / "late"), refiner_at=0.5))
    assert sizes == {(8, 8)}


def test_two_painters_pictures_in_turns_keep_each_its_tiles(painter):
    requests = [painter.resolve(fox(width=64, **options)) for options in ({}, {"tile": 32}, {"panorama": True})]
    apart = [painter.paint(request).image.tobytes() for request in requests]
    *_, last = zip(*map(painter.states, requests), strict=True)
    assert [p.image.tobytes() for p in last] == apart and len(set(apart)) == 3


@pytest.mark.parametrize("options", [{}, {"tile": 32}])
def test_a_panorama_turns_as_its_noise_does_and_has_no_edge(painter, monkeypatch, options):
    one = Noise._one

    def apart(**more):
        """By how much turning and painting differ from painting and turning, in levels, by a step of the windows."""
        plain, turned = fox(width=64, **options, **more), 32
        before = levels(painter.paint(plain))
        with monkeypatch.context() as patch:
            patch.setattr(Noise, "_one", lambda self, *args: one(self, *args).roll(turned // 4, -1))
            return np.abs(levels(painter.paint(plain)) - np.roll(before, turned, 1)).max()

    assert apart(panorama=True) <= 1 < apart()


# -------------------------------------------------------------------------------------------------------- infotext


@pytest.mark.parametrize("recipe", ["text2image", "image2image"])
@pytest.mark.parametrize("by", [*ENLARGERS, "danqing-x4", "/models/other, one.pth"])
@pytest.mark.parametrize("steps", [None, 7])
def test_a_second_pass_comes_back_from_the_text(picture, recipe, by, steps):
    image = str(picture) if recipe == "image2image" else None
    request = Request(
        recipe=recipe, image=image, seed=1, hires=1.5, hires_strength=0.35, hires_steps=steps, hires_by=by, strength=0.8
    )
    options, ignored = infotext.request_of(infotext.read(infotext.write(request.resolve())))
    read = Request(**options)
    assert ignored == [] and (read.hires.factor, read.hires.strength, read.hires.steps, read.hires.by) == (
        1.5,
        0.35,
        steps or 0,
        by,
    )
    assert read.stated().get("strength") == (0.8 if recipe == "image2image" else None)


def test_without_a_second_pass_the_text_says_nothing_of_one():
    assert "Hires" not in infotext.write(Request(seed=1, hires_by="lanczos").resolve())


def test_the_second_pass_of_another_tool_is_understood():
    text = (
        "a castle\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x512, Denoising strength: "
        "0.7, Hires upscale: 2, "
        "Hires steps: 10, Hires upscaler: Latent (nearest-exact), Version: v1.10.1"
    )
    options, ignored = infotext.request_of(infotext.read(text))
    wanted = {"hires": 2.0, "hires_steps": 10, "hires_strength": 0.7, "hires_by": "latent"}
    assert ignored == [] and {name: options[name] for name in wanted} == wanted and "strength" not in options
    other = infotext.request_of(infotext.read(text.replace("Latent (nearest-exact)", "R-ESRGAN 4x+")))[0]
    assert other["hires_by"] == "realesrgan-x4plus"


def test_a_record_is_one_line_of_json_with_the_new_fields(painter):
    stated = json.loads(painter.paint(fox(hires=2, tile=32)).request.json_text())
    assert stated["hires"] == {"factor": 2.0, "steps": 0, "strength": 0.5, "by": "latent"}
    assert stated["tiling"] == {"size": 32, "panorama": False}
