"""Controls on models of other programs: what they paint is what diffusers paints from the same weights."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from tests.store.test_foreign import SCALE, SIDE, STEPS, sd3, sdxl, shaken, vae, words

from danqing.codec import VAECodec
from danqing.errors import InvalidFile, InvalidInput
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.controlnet import ControlNet, ControlNetConfig
from danqing.nets.controlnet_mmdit import MMDiTControl, MMDiTControlConfig
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.unet import UNetConfig
from danqing.noise import Noise
from danqing.painting.adapters.mmdit_control import MMDiTSteering
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
    net = shaken(diffusers.ControlNetModel.from_unet(plain.unet, conditioning_embedding_out_channels=WIDTHS), 8)
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


# Stable Diffusion 3 ---------------------------------------------------------------------------------------------------

SD3: dict[str, Any] = {
    "sample_size": 16, "in_channels": 4, "out_channels": 4, "num_layers": 1, "attention_head_dim": 8,
    "num_attention_heads": 4, "joint_attention_dim": 64, "caption_projection_dim": 32, "pooled_projection_dim": 64,
    "pos_embed_max_size": 16,
}  # fmt: skip
#: With blocks of the image alone, as Stability AI's for 3.5 large.
ALONE = {"joint_attention_dim": None, "use_pos_embed": False, "pos_embed_max_size": None}


@pytest.fixture
def most_probable(monkeypatch) -> None:
    """Of what an encoder gives diffusers takes a draw and danqing the most probable."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())


def seeing(net: Any) -> Any:
    """The same, of which so much hangs on the hint that its smallest part is seen in the picture."""
    with torch.no_grad():
        net.pos_embed_input.proj.weight.mul_(40)
    return net


def levels(path: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("name", "changes", "enters"),
    [
        ("instantx_canny", {}, (2, -1)),
        ("heard_canny", {"force_zeros_for_pooled_projection": False}, (2, -1)),
        ("large_depth", {**ALONE, "force_zeros_for_pooled_projection": False}, (2, -1)),
        ("large_canny", {**ALONE, "force_zeros_for_pooled_projection": False}, (127.5, 0.5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@torch.no_grad()
def test_a_control_of_stable_diffusion_3_paints_what_diffusers_paints(
    words: Path, home: Path, tmp_path: Path, most_probable: None, name: str, changes: Any, enters: Any
) -> None:
    plain, net = sd3(words), seeing(shaken(diffusers.SD3ControlNetModel(**{**SD3, **changes}), 8))
    plain.save_pretrained(tmp_path / "sd3")
    net.save_pretrained(home / name)
    painter = load(tmp_path / "sd3", "cpu", "fp32")
    asked = request(f"edges@{name}:lines.png,ready,weight=0.7", spacing="linspace")
    theirs = diffusers.StableDiffusion3ControlNetPipeline(**plain.components, controlnet=net)
    theirs.set_progress_bar_config(disable=True)
    image = theirs(
        prompt=asked.prompt, negative_prompt=asked.negative, control_image=levels("lines.png") * enters[0] + enters[1],
        height=SIDE, width=SIDE, latents=start(painter, asked), num_inference_steps=STEPS, guidance_scale=SCALE,
        sigmas=np.linspace(1, 1 / 1000, STEPS).tolist(), max_sequence_length=77, output_type="np",
        controlnet_conditioning_scale=0.7,
    ).images[0]  # fmt: skip
    found = painted(painter, asked)
    assert np.abs(found - np.round(image * 255)).max() <= 1
    assert np.abs(found - painted(painter, request(spacing="linspace"))).max() > 8


@torch.no_grad()
def test_an_inpainting_control_of_stable_diffusion_3_is_told_where_the_picture_stays(
    words: Path, home: Path, tmp_path: Path, most_probable: None
) -> None:
    plain = sd3(words)
    net = seeing(shaken(diffusers.SD3ControlNetModel(**SD3, extra_conditioning_channels=1), 8))
    plain.save_pretrained(tmp_path / "sd3")
    net.save_pretrained(home / "sd3_inpaint")
    hole = np.zeros((SIDE, SIDE), np.uint8)
    hole[8:24, 10:20] = 255
    picture = Image.open("lines.png").copy()
    picture.putalpha(Image.fromarray(255 - hole))
    picture.save("open.png")
    painter = load(tmp_path / "sd3", "cpu", "fp32")
    asked = request("inpaint:open.png", spacing="linspace")
    theirs = diffusers.StableDiffusion3ControlNetInpaintingPipeline(**plain.components, controlnet=net)
    theirs.set_progress_bar_config(disable=True)
    image = theirs(
        prompt=asked.prompt, negative_prompt=asked.negative, control_image=Image.open("lines.png"),
        control_mask=Image.fromarray(hole), height=SIDE, width=SIDE, latents=start(painter, asked),
        num_inference_steps=STEPS, guidance_scale=SCALE, sigmas=np.linspace(1, 1 / 1000, STEPS).tolist(),
        max_sequence_length=77, output_type="np",
    ).images[0]  # fmt: skip
    found = painted(painter, asked)
    assert np.abs(found - np.round(image * 255)).max() <= 1
    assert np.abs(found - painted(painter, request(spacing="linspace"))).max() > 8


def test_a_control_of_another_transformer_is_refused(words: Path, home: Path, tmp_path: Path) -> None:
    sd3(words).save_pretrained(tmp_path / "sd3")
    diffusers.SD3ControlNetModel(**{**SD3, "pooled_projection_dim": 32}).save_pretrained(home / "other_depth")
    diffusers.SD3ControlNetModel(**{**SD3, "num_layers": 3}).save_pretrained(home / "long_depth")
    painter = load(tmp_path / "sd3", "cpu", "fp32")
    with pytest.raises(InvalidInput, match=r"other_depth is made for .* those that fit are 'long_depth'"):
        painter.resolve(request("depth@other_depth:lines.png,ready"))
    with pytest.raises(InvalidFile, match=r"in patches of 2 with 3 blocks, and the model 4 in patches of 2 with 2"):
        painter.paint(request("depth@long_depth:lines.png,ready", spacing="linspace"))


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("silent", [False, True])
@torch.no_grad()
def test_a_hint_is_seen_as_its_latent_which_a_silent_network_sees_unshifted(silent: bool, edges: bool) -> None:
    theirs = vae(shift_factor=0.6, scaling_factor=1.5)
    codec = AutoencoderKL(
        AutoencoderKLConfig(block_out_channels=(32, 32), layers_per_block=1, shift_factor=0.6, scaling_factor=1.5)
    )
    codec.load_state_dict(theirs.state_dict())
    config = MMDiTControlConfig(in_channels=4, num_layers=1, num_attention_heads=1, silent=silent, edges=edges)
    mmdit = MMDiT(MMDiTConfig(in_channels=4, num_layers=1, num_attention_heads=1))
    hint = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = MMDiTSteering(MMDiTControl(config), mmdit, VAECodec(codec)).see(hint)
    entering = hint * 255 * 0.5 + 0.5 if edges else hint * 2 - 1
    wanted = (theirs.encode(entering).latent_dist.mode() - (0 if silent else 0.6)) * 1.5
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
