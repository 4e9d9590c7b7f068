"""Files that are published beside our networks, each told by its keys: one explicit tuple, `PUBLISHED`.

Source: the names in the files themselves, and the keys by which diffusers, ComfyUI and spandrel tell them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .facts import Shapes


class Published(NamedTuple):
    """A kind of file that is told by its keys alone; the single files of Stable Diffusion are told in `kinds`."""

    family: str
    variant: str
    layout: str
    detect: Callable[[Shapes], bool]


def dim(shapes: Shapes, key: str, axis: int) -> int:
    """The size of one axis of a tensor; 0 where there is none."""
    shape = shapes.get(key, ())
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def any_key(*endings: str) -> Callable[[Shapes], bool]:
    """Whether a key ends so."""
    return lambda shapes: any(key.endswith(endings) for key in shapes)


def starts(*beginnings: str) -> Callable[[Shapes], bool]:
    """Whether a key begins so."""
    return lambda shapes: any(key.startswith(beginnings) for key in shapes)


def at(*keys: str) -> Callable[[Shapes], bool]:
    """Whether all of these keys are there."""
    return lambda shapes: all(key in shapes for key in keys)


def sized(key: str, axis: int, size: int) -> Callable[[Shapes], bool]:
    """Whether one axis of a tensor has this size."""
    return lambda shapes: dim(shapes, key, axis) == size


#: Where a single file holds its denoiser.
DIFFUSION = "model.diffusion_model."
CONTROL = "controlnet_cond_embedding.conv_in.weight"
MOTION = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.pos_encoder.pe"


def _flux(test: Callable[[Shapes], bool]) -> Callable[[Shapes], bool]:
    """FLUX's own layout that passes a test, with or without a prefix."""
    mark = "double_blocks.0.img_attn.norm.key_norm.scale"

    def detect(shapes: Shapes) -> bool:
        bare = {name.removeprefix(DIFFUSION): shape for name, shape in shapes.items()}
        return mark in bare and test(bare)

    return detect


#: How the two factors of a LoRA are called.
FACTORS = (
    *(".lora_up.weight", ".lora_A.weight", ".lora_A.default.weight"),
    *("_lora.up.weight", ".lora.up.weight", ".lora_linear_layer.up.weight"),
)

#: Adapters before networks: they contain the names of what they adapt. The first that fits names the file.
PUBLISHED: tuple[Published, ...] = (
    Published("controlnet", "Control-LoRA", "ComfyUI", at("lora_controlnet")),
    Published("lora", "LyCORIS LoHa", "kohya", any_key(".hada_w1_a")),
    Published("lora", "LyCORIS LoKr", "kohya", any_key(".lokr_w1", ".lokr_w1_a")),
    Published("lora", "OFT", "kohya", any_key(".oft_blocks", ".oft_diag")),
    Published("lora", "DoRA", "kohya", any_key(".dora_scale")),
    Published("lora", "SDXL", "kohya", starts("lora_te2_")),
    Published("lora", "for a UNet or text encoder", "kohya", starts("lora_unet_", "lora_te_", "lora_te1_", "lycoris_")),
    Published("lora", "for a transformer", "kohya", starts("lora_transformer_")),
    Published("lora", "", "PEFT or diffusers", any_key(*FACTORS)),
    Published("ip-adapter", "FaceID Plus", "published", at("image_proj.perceiver_resampler.proj_in.weight")),
    Published("ip-adapter", "Plus", "published", at("image_proj.latents")),
    Published("ip-adapter", "full face", "published", at("image_proj.proj.3.weight")),
    Published("ip-adapter", "base", "published", at("image_proj.proj.weight")),
    Published("ip-adapter", "FaceID", "published", at("image_proj.norm.weight")),
    Published("ip-adapter", "", "published", starts("ip_adapter.")),
    Published("controlnet", "SDXL", "diffusers", at(CONTROL, "add_embedding.linear_1.weight")),
    Published("controlnet", "SD1.x or SD2.x", "diffusers", at(CONTROL)),
    Published("controlnet", "SD1.x or SD2.x", "LDM", at("control_model.time_embed.0.weight")),
    Published("controlnet", "difference to a UNet", "ComfyUI", at("difference")),
    Published("controlnet", "", "LDM", at("zero_convs.0.0.weight")),
    Published(
        "motion-module", "AnimateDiff v2", "published", at("mid_block.motion_modules.0.temporal_transformer.norm.bias")
    ),
    Published("motion-module", "AnimateDiff v1", "published", sized(MOTION, 1, 24)),
    Published("motion-module", "AnimateDiff v3 or SDXL", "published", at(MOTION)),
    Published("textual-inversion", "SDXL", "published", lambda s: {"clip_l", "clip_g"} == set(s)),
    Published("textual-inversion", "", "published", lambda s: len(s) == 1 and len(next(iter(s.values()))) in (1, 2)),
    Published("checkpoint", "FLUX fill", "single file", _flux(sized("img_in.weight", 1, 384))),
    Published("checkpoint", "FLUX depth or canny", "single file", _flux(sized("img_in.weight", 1, 128))),
    Published("checkpoint", "FLUX dev", "single file", _flux(starts("guidance_in."))),
    Published("checkpoint", "FLUX schnell", "single file", _flux(at())),
    Published("face-restorer", "GFPGAN", "published", lambda s: "stylegan_decoder.style_mlp.1.weight" in s),
    Published(
        "text-encoder",
        "T5, whole or of an older version",
        "transformers",
        at("encoder.block.0.layer.0.SelfAttention.q.weight"),
    ),
    Published("text-encoder", "CLIP", "OpenCLIP", at("transformer.resblocks.0.attn.in_proj_weight")),
)
