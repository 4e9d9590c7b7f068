"""What both trees are given: the small models and pictures of tests/records, and more of them made on the spot.

Models of other programs are made with diffusers and transformers alone, from seeds, so that no tree has a part in them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parents[2] / "tests" / "records"
DOWN = ("DownBlock2D", "CrossAttnDownBlock2D")
UP = ("CrossAttnUpBlock2D", "UpBlock2D")
#: The UNet of the small SD 1.5 of tests/records.
UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "cross_attention_dim": 4,
    "attention_head_dim": 2,
    "down_block_types": DOWN,
    "up_block_types": UP,
}


def make(place: Path) -> None:
    """Make the folder ``place``."""
    for name in ("models", "library", "given", "painted", "replaced"):
        shutil.copytree(RECORDS / name, place / name)
    _models(place / "models")
    _pictures(place / "given")
    _files(place)


def _models(models: Path) -> None:
    """Folders of diffusers with other UNets than those of tests/records, beside their other parts."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    def folder(name: str, like: str, **config: Any) -> Path:
        shutil.copytree(models / like, models / name, ignore=shutil.ignore_patterns("unet"))
        torch.manual_seed(11)
        UNet2DConditionModel(**{**UNET, **config}).save_pretrained(models / name / "unet")
        return models / name

    sized = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "use_linear_projection": True}
    folder("inpainting", "sd15", in_channels=9)
    folder("instructed", "sd15", in_channels=8)
    sd2 = folder("sd2", "sd15", use_linear_projection=True)
    refiner = folder("refiner", "sdxl", **sized, projection_class_embeddings_input_dim=4 + 5 * 256)
    shutil.rmtree(refiner / "text_encoder")
    scheduler = sd2 / "scheduler" / "scheduler_config.json"
    said = json.loads(scheduler.read_text(encoding="utf-8"))
    scheduler.write_text(json.dumps({**said, "prediction_type": "v_prediction"}), encoding="utf-8")
    (models / "lacking").mkdir()
    shutil.copy(models / "sd15" / "model_index.json", models / "lacking")
    damaged = shutil.copytree(models / "vae", models / "damaged") / "generator.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    _single(models)


def _single(models: Path) -> None:
    """A folder whose shapes are of a published model as far as a single file has to tell it by them."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    wide = models / "wide"
    shutil.copytree(models / "sd15", wide, ignore=shutil.ignore_patterns("unet", "text_encoder"))
    torch.manual_seed(12)
    shape = {"cross_attention_dim": 768, "layers_per_block": 2, "down_block_types": DOWN[::-1]}
    UNet2DConditionModel(**{**UNET, **shape, "up_block_types": UP[::-1]}).half().save_pretrained(wide / "unet")
    text: dict[str, Any] = {
        "hidden_size": 768,
        "num_attention_heads": 12,
        "num_hidden_layers": 1,
        "hidden_act": "quick_gelu",
    }
    ids: dict[str, Any] = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "intermediate_size": 64}
    CLIPTextModel(CLIPTextConfig(**text, **ids)).half().save_pretrained(wide / "text_encoder")


def _pictures(given: Path) -> None:
    """Pictures of other kinds, and some that are none."""
    import numpy as np
    from PIL import Image, ImageCms, PngImagePlugin

    levels = np.asarray(Image.open(given / "picture.png").resize((48, 40)))
    image = Image.fromarray(levels)
    image.convert("L").save(given / "grey.png")
    image.save(given / "turned.tif")
    Image.fromarray(levels[..., 0].astype(np.uint16) * 257).save(given / "deep.png")
    image.convert("P").save(given / "moving.gif", save_all=True, append_images=[image.rotate(90).convert("P")])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(given / "profiled.png", icc_profile=profile)
    theirs = PngImagePlugin.PngInfo()
    settings = "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 5, Size: 48x40, Hires upscale: 2, Eta: 0.3"
    theirs.add_text("parameters", f"a red fox\nNegative prompt: blurry\n{settings}")
    image.save(given / "a1111.png", pnginfo=theirs)
    (given / "cut.png").write_bytes((given / "picture.png").read_bytes()[:900])
    (given / "none.png").write_bytes(b"no picture at all")
    Image.new("L", (32, 32)).save(given / "black.png")
    Image.new("L", (10, 20), 255).save(given / "small-mask.png")
    for kind in ("square", "round"):
        (given / "art" / kind).mkdir(parents=True)
        for i in range(6):
            shade = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(shade // (2 if kind == "round" else 1)).save(given / "art" / kind / f"{i}.png")


def _files(place: Path) -> None:
    """Settings, lists of prompts, and weights in another format."""
    import torch

    for name, text in (("good", f'models = ["{place}/models"]\n'), ("bad", 'modles = "x"\n')):
        (place / "settings" / name / "danqing").mkdir(parents=True)
        (place / "settings" / name / "danqing" / "settings.toml").write_text(text)
    (place / "given" / "subjects.txt").write_text("# animals\n\n狐狸\n  a cat  \n", encoding="utf-8")
    torch.save({"w": torch.arange(6.0).reshape(2, 3)}, place / "given" / "weights.pt")
