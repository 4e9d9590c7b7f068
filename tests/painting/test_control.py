"""Control networks on finished models: what they change, when, and what they leave as it is."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image, ImageDraw, ImageFilter
from tests.conftest import UNET
from tests.parity.test_controlnet import arguments

import danqing
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.hint import fit
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.controlnet_union import ControlNetUnion, ControlNetUnionConfig
from danqing.painting.adapters.hinting import hinted
from danqing.painting.adapters.steering import soft
from danqing.pictures import read
from danqing.request.request import Request
from danqing.types import Conditioning
from danqing.weights import store
from danqing.weights.load import save

FITS = ("fit", "fill", "stretch")
CONFIG = ControlNetConfig(**asdict(UNET), hint_widths=(4, 6, 8))


def network(seed: int = 0, **changes: object) -> ControlNet:
    """A trained one: nothing of it is zero."""
    torch.manual_seed(seed)
    net = ControlNet(ControlNetConfig(**{**asdict(CONFIG), **changes}))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    return net


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of models, with a network for edges and one for depth, and pictures to be worked with."""
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "models" / "controlnet"
    home.mkdir(parents=True)
    for seed, name in enumerate(("tiny_canny", "tiny_depth")):
        save(network(seed), home / f"{name}.safetensors")
    for seed, name in enumerate(("lines.png", "other.png")):
        draw = np.random.default_rng(seed)
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def request(*controls: object, **options: object) -> Request:
    return Request(**{"prompt": "a fox", "seed": 1, "steps": 4, "finish": "none", "controls": controls, **options})


def pixels(painter, *controls: object, **options: object) -> np.ndarray:
    return np.asarray(painter.paint(request(*controls, **options)).image)


def test_a_control_changes_the_picture_by_its_weight_and_leaves_no_trace(painter, folder) -> None:
    plain = pixels(painter)
    whole, half = (pixels(painter, f"edges:lines.png,ready,weight={weight}") for weight in (1, 0.5))
    assert (whole != plain).any() and (half != plain).any() and (half != whole).any()
    assert (pixels(painter, "edges:other.png,ready") != whole).any()
    np.testing.assert_array_equal(pixels(painter), plain)


def test_weight_0_is_no_control_bit_for_bit_and_is_said(painter, folder) -> None:
    (folder / "models" / "controlnet" / "tiny_canny.safetensors").touch()
    painted = painter.paint(request("edges:lines.png,ready,weight=0"))
    np.testing.assert_array_equal(np.asarray(painted.image), pixels(painter))
    assert any("edges changes nothing: its weight is 0" in line for line in painted.warnings)


@pytest.mark.parametrize("recipe", ["text2image", "image2image"])
@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp-2m"])
def test_steps_outside_the_window_are_as_they_were(painter, folder, solver: str, recipe: str) -> None:
    """Heun's last look of a step is at the time where the next one begins, and so the next one's."""
    given = {"recipe": recipe, "image": "other.png", "strength": 1.0} if recipe == "image2image" else {}
    more = {"solver": solver, "steps": 8, **given}
    plain = list(painter.states(request(**more)))[:-1]
    late = list(painter.states(request("edges:lines.png,ready,from=0.5", **more)))[:-1]
    before = 3 if solver == "heun" else 4
    assert [torch.equal(a.x, b.x) for a, b in zip(plain, late, strict=True)] == [True] * before + [False] * (8 - before)
    painted = painter.paint(request("edges:lines.png,ready,from=0.5,to=0.5", **more))
    assert any("none of 8 steps lies in its window" in line for line in painted.warnings)
    np.testing.assert_array_equal(np.asarray(painted.image), pixels(painter, **more))
    first, *_ = painter.states(request("edges:lines.png,ready,to=0.25", **more))
    assert not torch.equal(first.x, plain[0].x)


def test_several_act_at_once_in_any_order(painter, folder) -> None:
    one, two = "edges:lines.png,ready,weight=0.7", "depth:other.png,ready,weight=0.4,to=0.5"
    both = pixels(painter, one, two)
    assert (both != pixels(painter, one)).any() and (both != pixels(painter, two)).any()
    assert abs(both.astype(int) - pixels(painter, two, one)).max() <= 1
    twice = pixels(painter, "edges:lines.png,ready,weight=0.5", "edges:lines.png,ready,weight=0.5")
    assert abs(twice.astype(int) - pixels(painter, "edges:lines.png,ready")).max() <= 1


def test_a_record_holds_the_hashes_and_replays_wherever_the_picture_lies(painter, tiny, folder) -> None:
    controls = ["edges:lines.png,ready", {"kind": "depth", "image": "other.png", "weight": 0.5, "ready": True}]
    picture = danqing.paint("a fox", model=str(tiny), seed=1, steps=2, finish="none", controls=controls)
    record = picture.record
    assert record["controls 0"] == store.sha256("lines.png") and len(record["controls 1"]) == 64
    home = folder / "models" / "controlnet"
    assert record["weights"]["adapter tiny_canny.safetensors"] == store.sha256(home / "tiny_canny.safetensors")
    assert [one.file for one in picture.request.controls] == ["tiny_canny", "tiny_depth"]
    (folder / "out").mkdir()
    path = picture.save(folder / "out" / "a.png")
    (folder / "lines.png").rename(folder / "out" / "renamed.png")
    assert danqing.replay(path).exact


def test_a_finer_grid_of_the_request_asks_again_for_the_hint(painter, folder) -> None:
    plain, steered = (pixels(painter, *one, hires=2, hires_strength=1.0) for one in ((), ("edges:lines.png,ready",)))
    assert steered.shape == plain.shape == (64, 64, 3) and (plain != steered).any()


def test_outside_the_mask_nothing_changes_and_inside_the_control_acts(painter, folder, picture, mask) -> None:
    given = {"recipe": "inpaint", "image": str(picture), "mask": str(mask)}
    plain, steered = pixels(painter, **given), pixels(painter, "edges:lines.png,ready", **given)
    within = np.asarray(Image.open(mask)) > 0
    np.testing.assert_array_equal(plain[~within], steered[~within])
    assert (plain[within] != steered[within]).any()


def test_an_inpainting_network_is_shown_where_it_is_to_paint(painter, folder, mask) -> None:
    home = folder / "models" / "controlnet"
    save(network(5), home / "tiny_inpaint.safetensors")
    given = {"recipe": "inpaint", "image": "lines.png"}
    other = Image.open(mask).transpose(Image.Transpose.ROTATE_90)
    other.save("turned.png")
    seen = [pixels(painter, "inpaint:lines.png", **given, mask=one) for one in (str(mask), "turned.png")]
    assert (seen[0] != seen[1]).any()
    with pytest.raises(InvalidInput, match="nothing says what is to be painted"):
        pixels(painter, "inpaint:lines.png")


def test_tiles_are_shown_their_part_of_the_hint(painter, folder) -> None:
    control = "edges:lines.png,ready"
    np.testing.assert_array_equal(pixels(painter, control), pixels(painter, control, tile=32))
    tiled = [pixels(painter, *one, width=64, tile=32) for one in ((), (control,))]
    assert (tiled[0] != tiled[1]).any()
    pixels(painter, control, width=64, tile=32, panorama=True)


def test_attaching_and_detaching_leaves_every_weight_as_it_was(painter, folder) -> None:
    net = painter.adapters.target.nets["denoiser"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    resolved = painter.resolve(request("edges:lines.png,ready"))
    on = painter.adapters.asked(resolved, painter.text).on
    for _ in range(1000):
        with painter._shared.setup(on):
            assert len(painter.denoiser.controls) == 1
        assert not painter.denoiser.controls
    after = net.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("balance", ["balanced", "prompt", "control", "guess"])
def test_every_balance_has_its_own_picture(painter, folder, balance: str) -> None:
    painted = {b: pixels(painter, f"edges:lines.png,ready,balance={b}") for b in ("balanced", balance)}
    assert balance == "balanced" or (painted[balance] != painted["balanced"]).any()


@pytest.mark.parametrize("count", [10, 13, 24, 38])
def test_soft_weights_are_the_published_ones_and_none_of_more_residuals_is_above_1(count: int) -> None:
    weights = [soft(i, count) for i in range(count)]
    assert weights == sorted(weights) and weights[0] == 0.825**12 and weights[-1] <= 1
    if count <= 13:
        assert weights == [0.825 ** (12 - i) for i in range(count)]
    else:
        assert weights[-1] == 1


@torch.no_grad()
def test_what_guidance_leads_away_from_is_not_steered_where_the_control_counts_more(painter, folder) -> None:
    """And where the network is to guess, it says what diffusers' says in that mode."""
    base, cond = Conditioning(tokens=torch.randn(1, 5, 16)), Conditioning(tokens=torch.randn(1, 5, 16))
    x, time = torch.randn(1, 4, 8, 8), torch.full((1,), 500.0)
    resolved = painter.resolve(request("edges:lines.png,ready,weight=0.6,balance=guess"))
    asked = painter.adapters.asked(resolved, painter.text)
    ((said, _),), away = asked.say[0](resolved)(((cond, 1.0),), base)
    with painter._shared.setup(asked.on):
        (steering,) = painter.denoiser.controls
        found = steering(torch.cat([x, x]), torch.cat([time, time]), away.cat(said))
    assert all(not one[0].any() and one[1].any() for one in (*found.down, found.mid))
    reference = ControlNetModel(**arguments(CONFIG)).eval()
    reference.load_state_dict(network().state_dict())
    shown = torch.from_numpy(np.asarray(Image.open("lines.png"), np.float32) / 255).permute(2, 0, 1)[None]
    want = reference(x, time, cond.tokens, shown, conditioning_scale=0.6, guess_mode=True)
    every = zip((*found.down, found.mid), (*want.down_block_res_samples, want.mid_block_res_sample), strict=True)
    for got, wanted in every:
        torch.testing.assert_close(got[1:], wanted, rtol=1e-5, atol=1e-5)


def test_a_network_of_several_kinds_is_shown_them_together(painter, folder, monkeypatch) -> None:
    home, calls = folder / "models" / "controlnet", []
    torch.manual_seed(4)
    net = ControlNetUnion(ControlNetUnionConfig(**{**asdict(CONFIG)}, types=6, type_heads=2))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    save(net, home / "union.safetensors")
    real = ControlNetUnion.forward
    monkeypatch.setattr(ControlNetUnion, "forward", lambda *a, **k: calls.append(len(k["shown"])) or real(*a, **k))
    pixels(painter, "pose:lines.png,ready", "depth@union:other.png,ready,weight=0.5,to=0.5")
    assert calls == [2, 2, 1, 1]
    with pytest.raises(InvalidInput, match=r"tile: union.safetensors knows pose, depth"):
        pixels(painter, "tile:lines.png,ready")


def test_a_hint_is_drawn_as_the_command_draws_it(painter, folder) -> None:
    resolved = painter.resolve(request("edges:other.png"))
    hinted(read.picture("other.png"), "edges:low=20:high=60", (resolved.width, resolved.height)).save("drawn.png")
    np.testing.assert_array_equal(
        pixels(painter, "edges:low=20:high=60:other.png"), pixels(painter, "edges:drawn.png,ready")
    )


# Sizes ----------------------------------------------------------------------------------------------------------------


def drawing(size: tuple[int, int]) -> Image.Image:
    """White lines of one pixel on black: a frame, a cross and a slope."""
    sheet = Image.new("RGB", size)
    draw, (w, h) = ImageDraw.Draw(sheet), size
    draw.rectangle((w // 8, h // 8, w - w // 8, h - h // 8), outline="white")
    draw.line((w // 2, 0, w // 2, h), fill="white")
    draw.line((0, h, w, h // 3), fill="white")
    return sheet


@pytest.mark.parametrize("size", [(64, 64), (48, 40), (96, 80), (200, 170), (384, 320)], ids=str)
def test_lines_of_one_pixel_stay_so_at_any_size_and_none_is_lost(size: tuple[int, int]) -> None:
    picture = drawing((192, 160))
    assert fit.thin(picture)
    fitted = fit.fitted(picture, size, "stretch", "lines")
    light = np.asarray(fitted.convert("L")) > 0
    solid = light[1:, 1:] & light[:-1, 1:] & light[1:, :-1] & light[:-1, :-1]
    assert fitted.size == size and solid.sum() <= 4  # where two lines cross
    assert light.any(1).mean() > 0.95  # the cross goes from top to bottom
    back = np.asarray(picture.resize(size, Image.Resampling.BOX).convert("L")) > 0
    near = np.asarray(Image.fromarray(light).convert("L").filter(ImageFilter.MaxFilter(5))) > 0
    assert (back & ~near).sum() <= 0.01 * back.sum() + 2 * max(1, size[0] // 192) ** 2


def test_a_hint_of_another_ratio_is_shown_whole_or_cut_or_pulled() -> None:
    wide = Image.fromarray(np.full((10, 40, 3), 200, np.uint8))
    whole, cut, pulled = (np.asarray(fit.fitted(wide, (20, 20), how)) for how in FITS)
    assert whole.shape == cut.shape == pulled.shape == (20, 20, 3)
    assert (whole[:7] == 0).all() and (whole[13:] == 0).all() and (whole[8:12] == 200).all()
    assert (cut == 200).all() and (pulled == 200).all()
    marked = Image.fromarray(np.tile(np.arange(40, dtype=np.uint8)[None, :, None] * 6, (10, 1, 3)))
    assert np.asarray(fit.fitted(marked, (20, 20), "fill", "areas"))[:, [0, -1], 0].min() > 40


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_control_of_another_family_is_refused_with_those_that_fit(painter, folder) -> None:
    home = folder / "models" / "controlnet"
    save(network(2, cross_attention_dim=24), home / "big_pose.safetensors")
    with pytest.raises(InvalidInput, match=r"big_pose' is made for other models; those that fit are .*tiny_canny"):
        painter.paint(request("pose:lines.png,ready"))
    with pytest.raises(InvalidInput, match=r"big_pose is made for .* those that fit are .*tiny_depth"):
        painter.paint(request("pose@big_pose:lines.png,ready"))


def test_what_is_not_there_is_refused_before_anything_is_painted(painter, folder) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tiny_canny'"):
        painter.resolve(request("edges@tiny_cany:lines.png,ready"))
    with pytest.raises(InvalidFile, match=r"no file 'line.png'. Did you mean 'lines.png'"):
        painter.resolve(request("edges:line.png,ready"))
    with pytest.raises(InvalidInput, match="no network for it fits tiny: none lies in the folders"):
        painter.resolve(request("segmentation:lines.png,ready"))


def test_a_network_that_halves_otherwise_is_refused_by_its_cells(painter, folder) -> None:
    save(network(3, hint_widths=(4, 6, 8, 8)), folder / "coarse.safetensors")
    with pytest.raises(InvalidInput, match="sees a picture as 4×4 cells, and this model as 8×8"):
        painter.paint(request("edges@coarse.safetensors:lines.png,ready"))


def test_the_command_line_steers_by_several(run, tiny, folder, monkeypatch) -> None:
    lines, other = folder / "lines.png", folder / "other.png"
    monkeypatch.chdir(folder)
    code, out, err = run(
        "paint", "a fox", "--model", str(tiny), "--seed", "1", "--steps", "2", "--finish", "none", "-o", "a.png",
        "--control", f"canny:{lines},weight=0.8,to=0.5,ready", "--control", f"depth@tiny_depth:{other},ready",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = run("paint", "a fox", "--model", str(tiny), "--control", "C:/fox.png")
    assert code == 2 and "it is written KIND[@FILE]:PICTURE" in err
    code, out, err = run("replay", "a.png")
    assert code == 0, out + err
