"""Laws of models that diffuse pixels: no codec and no text network, classes for prompts, and all recipes."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import danqing
from danqing import schedule as schedules
from danqing.codec import Pixels
from danqing.denoise import SCORE_OF_SIGMA, Denoiser, LearnedVariance
from danqing.errors import InvalidFile, InvalidInput, UnknownName
from danqing.guide import compose
from danqing.levels import bytes_of
from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig, ScoreUNet
from danqing.noise import Noise
from danqing.painting.load import load
from danqing.prompt.labels import NONE, one_hot
from danqing.request.request import Request
from danqing.solve import ancestral, core, solvers
from danqing.solve.learned import LearnedDDPM
from danqing.solve.solvers import SOLVERS
from danqing.store.model import write_model
from danqing.weights.load import save

NAMES = [["cat", "猫"], ["fox", "狐狸"], ["house", "房子"]]
CONFIG = PixelUNetConfig(
    out_channels=6,
    block_out_channels=(8, 8),
    layers_per_block=1,
    attention_heads=(0, 0),
    scale_shift=True,
    classes=3,
    norm_num_groups=4,
)
KINDS = {
    "ddpm": (PixelUNet, CONFIG, "cosine", "v"),
    "eps": (PixelUNet, replace(CONFIG, out_channels=3), "linear", "eps"),
    "score": (ScoreUNet, replace(CONFIG, out_channels=3), "vp", "score"),
    "ve": (ScoreUNet, replace(CONFIG, out_channels=3), "ve", "score"),
    "unconditional": (PixelUNet, replace(CONFIG, classes=0), "cosine", "v"),
}


def written(folder: Path, kind: str, **changes: Any) -> Path:
    build, config, schedule, prediction = KINDS[kind]
    folder.mkdir()
    torch.manual_seed(0)
    net = build(config)
    for p in net.parameters():  # a new network answers 0, whatever it is asked
        torch.nn.init.normal_(p, std=0.2)
    save(net, folder / "denoiser.safetensors")
    family = "score-unet" if build is ScoreUNet else "pixel-unet"
    described: dict[str, Any] = dict(
        name=kind,
        components={"denoiser": (family, "denoiser.safetensors", asdict(config))},
        schedule={"kind": schedule},
        prediction=prediction,
        multiple=8,
        defaults={"width": 16, "height": 16, "steps": 3, "scale": 2.0, "spacing": "sgm-uniform"},
        text={"kind": "classes", "names": NAMES} if config.classes else {},
    )
    write_model(folder, **(described | changes))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pixels")
    return {kind: written(root / kind, kind) for kind in KINDS}


@pytest.fixture
def painter(folders):
    return load(folders["ddpm"], "cpu", "fp32")


def by_hand(denoiser, request, solver):
    """A picture of "fox" by the one loop alone, as bytes (H, W, 3)."""
    points = core.points(
        denoiser.schedule, schedules.spacing(request.sampling.spacing)(denoiser.schedule, request.sampling.steps)
    )
    x = Noise.of(request.seed, [request.index], "start")(torch.empty(1, 3, 16, 16)) * points[0].sigma
    fox, none = (one_hot(torch.tensor([label]), 3) for label in (1, NONE))
    guided = compose(denoiser, [(fox, request.guidance.scale)], none)
    with torch.inference_mode():
        for state in core.sample(guided, solver, points, x, Noise.of(request.seed, [request.index])):
            x = state.x
    return bytes_of(x)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["ddpm", "eps", "score", "ve"])
def test_a_painted_picture_is_the_one_that_sampling_by_hand_gives(folders, kind):
    painter = load(folders[kind], "cpu", "fp32")
    build, config, schedule, prediction = KINDS[kind]
    net = build(config).eval()
    net.load_state_dict(painter.denoiser.net.state_dict())
    meaning = SCORE_OF_SIGMA if prediction == "score" else prediction
    denoiser = (LearnedVariance if kind == "ddpm" else Denoiser)(
        net, schedules.schedule(schedule), meaning
    ).requires_grad_(False)
    for solver in ("euler-a", "dpmpp-2m"):
        request = painter.resolve(Request(prompt="一只狐狸", seed=3, index=2, solver=solver))
        want = by_hand(denoiser, request, solvers.solver(solver))
        assert want.std() > 0 and np.array_equal(np.asarray(painter.paint(request).image), want)


def test_ddpm_takes_the_variance_of_a_network_that_says_one_from_what_guidance_leads_to(painter):
    request = painter.resolve(Request(prompt="fox", seed=3, solver="ddpm"))
    learned = np.asarray(painter.paint(request).image)
    want = by_hand(painter.denoiser, request, LearnedDDPM()).astype(int)
    assert np.abs(learned - want).max() <= 1  # a batch of two rounds as it likes
    assert not np.array_equal(learned, by_hand(painter.denoiser, request, ancestral.DDPM()))


@pytest.mark.parametrize(
    ("kind", "solver"), [*(("ddpm", solver) for solver in SOLVERS), ("score", "pc"), ("ve", "dpmpp-2m-sde")]
)
def test_a_picture_is_the_same_alone_and_in_a_batch_by_every_solver(folders, kind, solver):
    every = [
        Request(model=str(folders[kind]), prompt="cat", seed=5, index=i, steps=2, solver=solver, precision="fp32")
        for i in range(3)
    ]
    alone = [next(danqing.paint_all([request])).image.tobytes() for request in every]
    assert [p.image.tobytes() for p in danqing.paint_all(every)] == alone and len(set(alone)) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "cat"},
        {"prompt": ""},
        {"negative": "house"},
        {"scale": 1.0},
        {"prompt": "fox AND cat"},
        {"prompt": "[fox:cat:1]"},
        {"rescale": 0.7},
        {"interval": (0.0, 0.5)},
    ],
)
@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_everything_that_a_request_states_has_its_effect(painter, change, solver):
    base = painter.resolve(Request(prompt="fox", seed=1, solver=solver))
    assert painter.paint(base).image.tobytes() != painter.paint(base.but(**change)).image.tobytes()


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_at_scale_one_the_network_sees_one_picture_a_step(painter, solver):
    seen = []
    handle = painter.denoiser.net.register_forward_pre_hook(
        lambda net, args, kwargs: seen.append(len(args[0])), with_kwargs=True
    )
    try:
        painter.paint(Request(prompt="fox", seed=1, steps=4, solver=solver, scale=1.0))
        assert seen == [1] * 4
        painter.paint(Request(prompt="fox", seed=1, steps=4, solver=solver, scale=2.0))
        assert seen[4:] == [2] * 4
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["ddpm", "dpmpp-2m"])
def test_inpainting_keeps_every_byte_outside_the_mask(folders, picture, mask, kind, solver):
    painter = load(folders[kind], "cpu", "fp32")
    painted = painter.paint(
        Request(recipe="inpaint", image=str(picture), mask=str(mask), strength=1.0, seed=0, solver=solver)
    ).image
    before, free, after = np.asarray(Image.open(picture)), np.asarray(Image.open(mask)), np.asarray(painted)
    assert np.array_equal(before[free == 0], after[free == 0]) and not np.array_equal(before[free > 0], after[free > 0])


def test_a_picture_repainted_with_strength_zero_is_itself(painter, picture):
    request = Request(recipe="image2image", image=str(picture), prompt="fox", strength=0.0, seed=0, width=32, height=32)
    assert np.array_equal(np.asarray(painter.paint(request).image), np.asarray(Image.open(picture)))
    assert not np.array_equal(
        np.asarray(painter.paint(request.but(strength=0.5)).image), np.asarray(Image.open(picture))
    )


def test_the_identity_codec_gives_back_every_byte():
    pixels = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8)
    codec, levels = Pixels(), pixels / 127.5 - 1
    assert codec.encode(levels).shape == pixels.shape and torch.equal(
        bytes_of(codec.decode(codec.encode(levels))), pixels
    )


def test_what_a_prompt_says_beside_a_kind_is_warned_of_and_an_unknown_kind_refused_with_the_names(painter):
    assert '"a red"' in " ".join(painter.paint(Request(prompt="a red fox", seed=0)).warnings)
    assert painter.paint(Request(prompt="fox", seed=0)).warnings == ()
    with pytest.raises(UnknownName, match="Possible: cat, fox, house"):
        painter.paint(Request(prompt="dragon", seed=0))


def test_a_text_without_layers_skips_none(painter):
    with pytest.raises(InvalidInput, match="clip_skip: 2 was given; possible is 1 to 1"):
        painter.resolve(Request(prompt="fox", clip_skip=2))


def test_a_model_without_classes_paints_and_says_that_it_hears_nothing(folders):
    painter = load(folders["unconditional"], "cpu", "fp32")
    spoken, silent = (painter.paint(Request(prompt=prompt, seed=0)) for prompt in ("fox", ""))
    assert spoken.image.tobytes() == silent.image.tobytes() and "ignored" in spoken.warnings[0] and not silent.warnings


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("ddpm", {"text": {"kind": "classes", "names": NAMES[:2]}}, "names 2 classes, and its denoiser knows 3"),
        ("ddpm", {"text": {}}, "knows 3 classes, and its text must name them"),
        ("ddpm", {"prediction": "score"}, "a PixelUNet does not predict score"),
        ("score", {"prediction": "eps"}, "a ScoreUNet does not predict eps"),
        ("ddpm", {"prediction": ""}, "state prediction"),
        ("ddpm", {"schedule": None}, "states no schedule"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, kind, changes, told):
    with pytest.raises(InvalidFile, match=told):
        load(written(tmp_path / "model", kind, **changes), "cpu", "fp32")


def test_a_pixel_network_reads_pictures_of_three_channels(tmp_path):
    folder = written(tmp_path / "model", "eps")
    net = PixelUNet(grey := replace(CONFIG, in_channels=1, out_channels=1))
    save(net, folder / "denoiser.safetensors")
    described = json.loads((folder / "model.json").read_text())
    described["components"]["denoiser"] = {
        "family": "pixel-unet",
        "file": "denoiser.safetensors",
        "config": asdict(grey),
    }
    (folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(InvalidFile, match="pictures have 3 channels, and its denoiser reads 1"):
        load(folder, "cpu", "fp32")
