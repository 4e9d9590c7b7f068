"""Models of other programs: the picture of a folder or of a single file is the picture that diffusers paints from
it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from danqing.errors import InvalidFile
from danqing.nets.longtext import Windowed
from danqing.nets.mmdit import MMDiT
from danqing.noise import Noise
from danqing.painting.load import load
from danqing.prompt.tokenize import clip_vocabulary
from danqing.request.request import Request
from danqing.store.convert import convert
from danqing.store.find import find
from danqing.store.inspect import describe
from danqing.weights.store import sha256

SIDE, STEPS, SCALE = 32, 3, 4.0


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """The folder of CLIP's published vocabulary."""
    folder = tmp_path_factory.mktemp("clip")
    vocabulary, merges = clip_vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges), ""]), encoding="utf-8"
    )
    return folder


def tokenizer(words: Path, pad: str = "<|endoftext|>") -> Any:
    return transformers.CLIPTokenizer.from_pretrained(str(words), pad_token=pad, model_max_length=77)


def shaken(net: Any, seed: int) -> Any:
    """Random weights in every place, norms and biases too."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=draw))
    return net.eval()


def unet(**more: Any) -> Any:
    shape: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return shaken(diffusers.UNet2DConditionModel(**{**shape, **more}), 1)


def vae(channels: int = 4, **more: Any) -> Any:
    shape: dict[str, Any] = {
        "block_out_channels": (32, 32), "layers_per_block": 1, "latent_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2, **more,
    }  # fmt: skip
    return shaken(diffusers.AutoencoderKL(**shape), 2)


def tower(kind: Any, seed: int = 3, **more: Any) -> Any:
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "projection_dim": 32,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "hidden_act": "gelu",
    }
    return shaken(kind(transformers.CLIPTextConfig(**{**shape, **more})), seed)


def discrete(**more: Any) -> Any:
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    return diffusers.EulerDiscreteScheduler(**betas, timestep_spacing="trailing", **more)


def sd1(words: Path) -> Any:
    return diffusers.StableDiffusionPipeline(
        unet=unet(),
        vae=vae(),
        text_encoder=tower(transformers.CLIPTextModel, hidden_act="quick_gelu"),
        tokenizer=tokenizer(words),
        scheduler=discrete(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd2(words: Path) -> Any:
    return diffusers.StableDiffusionPipeline(
        unet=unet(use_linear_projection=True),
        vae=vae(),
        text_encoder=tower(transformers.CLIPTextModel),
        tokenizer=tokenizer(words, "!"),
        scheduler=discrete(prediction_type="v_prediction"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(words: Path) -> Any:
    pooled = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 24 + 6 * 256,
    }
    second = tower(transformers.CLIPTextModelWithProjection, 4, projection_dim=24)
    return diffusers.StableDiffusionXLPipeline(
        unet=unet(cross_attention_dim=64, use_linear_projection=True, **pooled),
        vae=vae(scaling_factor=0.13025),
        text_encoder=tower(transformers.CLIPTextModel),
        text_encoder_2=second,
        tokenizer=tokenizer(words),
        tokenizer_2=tokenizer(words, "!"),
        scheduler=discrete(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def sd3(words: Path) -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, pos_embed_max_size=16,
    )  # fmt: skip
    first, second = (tower(transformers.CLIPTextModelWithProjection, seed) for seed in (5, 6))
    return diffusers.StableDiffusion3Pipeline(
        transformer=shaken(transformer, 7),
        vae=vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=first,
        text_encoder_2=second,
        text_encoder_3=None,
        tokenizer=tokenizer(words),
        tokenizer_2=tokenizer(words, "!"),
        tokenizer_3=None,
    )


PIPELINES = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl, "sd3": sd3}


@pytest.mark.parametrize("model", PIPELINES)
@torch.no_grad()
def test_a_folder_of_diffusers_paints_what_diffusers_paints(model: str, words: Path, tmp_path: Path) -> None:
    theirs = PIPELINES[model](words)
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path / model)
    painter = load(tmp_path / model, "cpu", "fp32")
    spacing = "linspace" if model == "sd3" else "trailing"
    request = Request(
        prompt="a red fox, 3d style",
        negative="frame",
        seed=3,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        scale=SCALE,
        solver="euler",
        spacing=spacing,
    )
    ours = np.asarray(painter.paint(request).image, np.int16)
    start = Noise.of(3, [0], "start")(painter.blank(painter.resolve(request)))
    said: dict[str, Any] = {"prompt": request.prompt, "negative_prompt": request.negative}
    if model == "sd3":
        # Zeros of one window stand in for the T5 that is absent; left alone, their times are shifted twice at the clean
        # end.
        said |= {"max_sequence_length": 77, "sigmas": np.linspace(1, 1 / 1000, STEPS).tolist()}
    image = theirs(
        **said,
        height=SIDE,
        width=SIDE,
        latents=start,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        output_type="np",
    ).images
    assert np.abs(ours - np.round(image[0] * 255)).max() <= 1


def test_a_loaded_transformer_reads_long_texts_in_windows(words: Path, tmp_path: Path) -> None:
    sd3(words).save_pretrained(tmp_path / "sd3")
    net = load(tmp_path / "sd3", "cpu", "fp32").denoiser.net
    assert isinstance(net, MMDiT) and net.through == Windowed()


@torch.no_grad()
def test_a_single_file_paints_what_its_folder_paints(words: Path, tmp_path: Path) -> None:
    down = ("CrossAttnDownBlock2D", "DownBlock2D")
    net = unet(
        cross_attention_dim=768,
        layers_per_block=2,
        down_block_types=down,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    said = tower(
        transformers.CLIPTextModel,
        hidden_size=768,
        num_attention_heads=12,
        num_hidden_layers=1,
        hidden_act="quick_gelu",
    )
    theirs = diffusers.StableDiffusionPipeline(**{**one_tower(words), "text_encoder": said, "unet": net})
    theirs.save_pretrained(tmp_path / "folder")
    convert(tmp_path / "folder", tmp_path / "single.safetensors")
    request = Request(
        prompt="a red fox",
        seed=3,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        scale=SCALE,
        solver="euler",
        spacing="trailing",
    )
    folder, single = (load(tmp_path / name, "cpu", "fp32").paint(request) for name in ("folder", "single.safetensors"))
    np.testing.assert_array_equal(np.asarray(single.image), np.asarray(folder.image))
    assert single.record["sha256"] == sha256(tmp_path / "single.safetensors")
    for name in ("folder", "single.safetensors"):
        assert describe(tmp_path / name)["use"] == f"danqing paint 'a fox' --model {tmp_path / name}"


def one_tower(words: Path) -> dict[str, Any]:
    return {
        "vae": vae(),
        "text_encoder": tower(transformers.CLIPTextModel, hidden_act="quick_gelu"),
        "tokenizer": tokenizer(words),
        "scheduler": discrete(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


@torch.no_grad()
def test_an_inpainting_model_without_a_picture_paints_as_if_all_were_masked(words: Path, tmp_path: Path) -> None:
    theirs = diffusers.StableDiffusionInpaintPipeline(unet=unet(in_channels=9), **one_tower(words))
    theirs.vae.quant_conv.weight[4:], theirs.vae.quant_conv.bias[4:] = (
        0,
        -30,
    )  # they draw from the posterior, where ours is its mode
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path / "model")
    painter = load(tmp_path / "model", "cpu", "fp32")
    request = Request(
        prompt="a fox", seed=3, width=SIDE, height=SIDE, steps=STEPS, scale=SCALE, solver="euler", spacing="trailing"
    )
    ours = np.asarray(painter.paint(request).image, np.int16)
    given = {"image": Image.new("RGB", (SIDE, SIDE)), "mask_image": Image.new("L", (SIDE, SIDE), 255), "strength": 1.0}
    start = Noise.of(3, [0], "start")(painter.blank(painter.resolve(request)))
    image = theirs(
        "a fox",
        **given,
        height=SIDE,
        width=SIDE,
        latents=start,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        output_type="np",
    ).images
    assert np.abs(ours - np.round(image[0] * 255)).max() <= 3  # grey is 127.5 to them and 128 to a picture


@torch.no_grad()
def test_an_instructed_model_paints_what_diffusers_paints(words: Path, tmp_path: Path) -> None:
    theirs = diffusers.StableDiffusionInstructPix2PixPipeline(unet=unet(in_channels=8), **one_tower(words))
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path / "model")
    painter = load(tmp_path / "model", "cpu", "fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "given.png")
    request = Request(
        recipe="image2image",
        image=str(tmp_path / "given.png"),
        prompt="make it snow",
        seed=3,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        scale=SCALE,
        image_scale=1.3,
        solver="euler",
        spacing="trailing",
    )
    ours = np.asarray(painter.paint(request).image, np.int16)
    start = Noise.of(3, [0], "start")(painter.blank(painter.resolve(request)))
    image = theirs(
        "make it snow", image=Image.fromarray(pixels), latents=start, num_inference_steps=STEPS, guidance_scale=SCALE,
        image_guidance_scale=1.3, output_type="np",
    ).images  # fmt: skip
    assert np.abs(ours - np.round(image[0] * 255)).max() <= 1


@torch.no_grad()
def test_a_folder_that_lacks_a_part_says_which(words: Path, tmp_path: Path) -> None:
    pipeline = sd1(words)
    pipeline.save_pretrained(tmp_path / "sd1")
    for file in (tmp_path / "sd1" / "text_encoder").iterdir():
        file.unlink()
    (tmp_path / "sd1" / "text_encoder").rmdir()
    with pytest.raises(InvalidFile, match="lacks its text"):
        find(tmp_path / "sd1")
