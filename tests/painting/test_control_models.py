"""Controls on models of other programs: what they paint is what diffusers paints from the same weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.store.test_foreign import SCALE, SIDE, STEPS, sdxl, shaken, words

from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.unet import UNetConfig
from danqing.noise import Noise
from danqing.painting.load import load
from danqing.request.request import Request
from danqing.weights.load import save

__all__ = ["words"]  # a fixture
WIDTHS = (8, 16)  # of what embeds a hint: it halves once, as the tiny codecs do


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder of control networks, and beside it a picture to be shown."""
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save("lines.png")
    folder = tmp_path / "models" / "controlnet"
    folder.mkdir(parents=True)
    return folder


def request(*controls: str, **options: Any) -> Request:
    said = {"prompt": "a red fox, 3d style", "negative": "frame", "seed": 3, "width": SIDE, "height": SIDE}
    said |= {"steps": STEPS, "scale": SCALE, "solver": "euler", "spacing": "trailing", "finish": "none"}
    return Request(**{**said, "controls": controls, **options})


def painted(painter: Any, asked: Request) -> np.ndarray:
    return np.asarray(painter.paint(asked).image, np.int16)


def start(painter: Any, asked: Request) -> torch.Tensor:
    return Noise.of(3, [0], "start")(painter.blank(painter.resolve(asked)))


@pytest.mark.parametrize(("balance", "guess"), [("balanced", False), ("guess", True)])
@torch.no_grad()
def test_a_control_of_stable_diffusion_xl_is_told_sizes_as_its_unet_is(
    words: Path, home: Path, tmp_path: Path, balance: str, guess: bool
) -> None:
    plain = sdxl(words)
    plain.save_pretrained(tmp_path / "sdxl")
    net = shaken(
        diffusers.ControlNetModel.from_unet(plain.unet, conditioning_embedding_out_channels=WIDTHS), 8
    )
    painter = load(tmp_path / "sdxl", "cpu", "fp32")
    unet: Any = painter.adapters.target.nets["denoiser"]
    shape = {f.name: getattr(unet.config, f.name) for f in fields(UNetConfig)}
    ours = ControlNet(ControlNetConfig(**shape, hint_widths=WIDTHS))
    ours.load_state_dict(net.state_dict(), strict=True)
    save(ours, home / "xl_canny.safetensors")
    asked = request(f"edges:lines.png,ready,weight=0.7,balance={balance}")
    theirs = diffusers.StableDiffusionXLControlNetPipeline(
        **plain.components, controlnet=net, force_zeros_for_empty_prompt=False, add_watermarker=False
    )
    theirs.set_progress_bar_config(disable=True)
    image = theirs(
        prompt=asked.prompt, negative_prompt=asked.negative, image=Image.open("lines.png"), height=SIDE, width=SIDE,
        latents=start(painter, asked), num_inference_steps=STEPS, guidance_scale=SCALE, output_type="np",
        controlnet_conditioning_scale=0.7, guess_mode=guess,
    ).images[0]  # fmt: skip
    found = painted(painter, asked)
    assert np.abs(found - np.round(image * 255)).max() <= 1
    assert np.abs(found - painted(painter, request())).max() > 8
