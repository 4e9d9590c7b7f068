"""CLIP: both towers, and each by itself; EVA-CLIP's image tower; and that of ours, matched to a text tower of CLIP's
kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network
from ..layouts import openclip


def tower(shapes: Shapes, prefix: str) -> tuple[dict[str, Any], int]:
    """The fields that both of CLIP's towers have, and their width."""
    inner, width = shapes[f"{prefix}.encoder.layers.0.mlp.fc1.weight"]
    layers = count(shapes, prefix + ".encoder.layers.{}.layer_norm1.weight")
    return {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}, width


def attention(width: int, heads: Mapping[int, int], quick: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What published towers of this width have: how many heads, and which GELU."""
    if width in heads:
        act = "quick_gelu" if width in quick else "gelu"
        return {"num_attention_heads": heads[width], "hidden_act": act, "layer_norm_eps": 1e-5}, {}
    why = f"no published tower has the width {width}"
    return {"layer_norm_eps": 1e-5}, {"num_attention_heads": why, "hidden_act": why}


def clip_text_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPTextConfig`. OpenAI's towers (512, 768) have the quick GELU, OpenCLIP's not."""
    inferred, width = tower(shapes, "text_model")
    vocabulary = shapes["text_model.embeddings.token_embedding.weight"][0]
    inferred["vocab_size"] = vocabulary
    inferred["max_position_embeddings"] = shapes["text_model.embeddings.position_embedding.weight"][0]
    inferred["projection_dim"] = shapes.get("text_projection.weight", (0,))[0]
    assumed, unknown = attention(width, {512: 8, 768: 12, 1024: 16, 1280: 20}, (512, 768))
    assumed["eos_token_id"] = min(vocabulary, 49408) - 1  # learned words are appended behind the published vocabulary
    return Facts(inferred=inferred, assumed=assumed, unknown=unknown)


def clip_vision_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPVisionConfig`. OpenAI's towers (768, 1024) have the quick GELU, OpenCLIP's not."""
    inferred, width = tower(shapes, "vision_model")
    _, channels, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    positions = shapes["vision_model.embeddings.position_embedding.weight"][0]
    inferred |= {"num_channels": channels, "patch_size": patch, "image_size": math.isqrt(positions - 1) * patch}
    inferred["projection_dim"] = shapes.get("visual_projection.weight", (0,))[0]
    assumed, unknown = attention(width, {768: 12, 1024: 16, 1280: 16, 1664: 16}, (768, 1024))
    return Facts(inferred=inferred, assumed=assumed, unknown=unknown)


def clip_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPConfig`: its two towers."""
    return Facts(inferred={}, parts={"text": clip_text_facts(shapes), "vision": clip_vision_facts(shapes)})


def image_tower_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.tower.ImageTowerConfig`, all of it."""
    hidden, width = shapes["fc1.weight"]
    told = {"grid": shapes["norm_grid.weight"][0], "texture": shapes["norm_texture.weight"][0]}
    return Facts(inferred={**told, "hidden": hidden, "width": width})


def eva_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.eva.EVAVisionConfig`. All published ones were first trained on 16 x 16 patches."""
    inner, width = shapes["blocks.0.mlp.w1.weight"]
    patch = shapes["patch_embed.proj.weight"][2]
    told = {"hidden_size": width, "intermediate_size": inner, "patch_size": patch}
    told |= {"num_hidden_layers": count(shapes, "blocks.{}.norm1.weight")}
    told |= {"image_size": math.isqrt(shapes["pos_embed"][1] - 1) * patch, "projection_dim": shapes["head.weight"][0]}
    return Facts(inferred=told, assumed={"trained_grid": 16})


#: Old files hold the numbers 0, 1, 2, ... as a tensor.
POSITIONS = (("{tower}.embeddings.position_ids", None),)

#: What a tower holds, as it was named before transformers 4.
TWICE = ("embeddings", "encoder", "final_layer_norm")

TEXT_KEY = "text_model.embeddings.token_embedding.weight"
IMAGE_KEY = "vision_model.embeddings.patch_embedding.weight"

CLIP = Family("clip", "transformers", has(TEXT_KEY, IMAGE_KEY), clip_facts, network("clip.CLIP"), fixed(POSITIONS))

CLIP_TEXT = Family(
    "clip-text",
    "transformers",
    has(TEXT_KEY, no=("vision_model.",)),
    clip_text_facts,
    network("clip.CLIPText"),
    # The temperature of the contrast, which a tower alone has no use for; and what merges with older files left twice,
    # without the prefix.
    fixed((*POSITIONS, ("logit_scale", None), *((f"{name}.{{key*}}", None) for name in TWICE))),
)

CLIP_VISION = Family(
    "clip-vision",
    "transformers",
    has(IMAGE_KEY, no=("text_model.",)),
    clip_vision_facts,
    network("clip.CLIPVision"),
    fixed(POSITIONS),
)

# The towers as transformers 5 writes them when they have no projection.
CLIP_TEXT_5 = CLIP_TEXT._replace(
    layout="transformers 5",
    detect=has("embeddings.token_embedding.weight", "final_layer_norm.weight"),
    keymap=fixed((("{key*}", "text_model.{key*}"),), POSITIONS),
)

CLIP_VISION_5 = CLIP_VISION._replace(
    layout="transformers 5",
    detect=has("embeddings.patch_embedding.weight", "pre_layrnorm.weight"),
    keymap=fixed((("{key*}", "vision_model.{key*}"),), POSITIONS),
)

OPENCLIP = ("token_embedding.weight", "positional_embedding", "transformer.resblocks.0.attn.in_proj_weight")

CLIP_TEXT_OPEN = CLIP_TEXT._replace(
    layout="OpenCLIP",
    detect=has(*OPENCLIP, no=("visual.",)),
    keymap=fixed(openclip.TEXT, cuts=openclip.CUTS),
)

# One tower of a whole CLIP.
CLIP_TEXT_OF_CLIP = CLIP_TEXT._replace(
    part="text",
    layout="a whole CLIP",
    detect=CLIP.detect,
    keymap=fixed((("vision_model.{key*}", None), ("visual_projection.{end}", None), ("logit_scale", None)), POSITIONS),
)
CLIP_VISION_OF_CLIP = CLIP_VISION._replace(
    part="vision",
    layout="a whole CLIP",
    detect=CLIP.detect,
    keymap=fixed((("text_model.{key*}", None), ("text_projection.{end}", None), ("logit_scale", None)), POSITIONS),
)
CLIP_TEXT_OF_OPENCLIP = CLIP_TEXT_OPEN._replace(
    part="text",
    layout="a whole CLIP of OpenCLIP",
    detect=lambda keys: has(*OPENCLIP)(keys) and not CLIP_TEXT_OPEN.detect(keys),
    keymap=fixed((("visual.{key*}", None),), openclip.TEXT, cuts=openclip.CUTS),
)

IMAGE_TOWER = Family(
    "image-tower",
    "danqing",
    has("norm_grid.weight", "norm_texture.weight", "proj.weight", "fc1.weight"),
    image_tower_facts,
    network("tower.ImageTower"),
    fixed(),
)

# EVA-CLIP's image tower, alone or in the file of both. Source: the names in baaivision/EVA, EVA-CLIP/rei/eva_clip/
# eva_vit_model.py. Its files hold the tables of the turns as tensors.
TURNS = (("rope.{end}", None), ("blocks.{i}.attn.rope.{end}", None))
EVA_KEYS = ("cls_token", "patch_embed.proj.weight", "blocks.0.attn.inner_attn_ln.weight", "blocks.0.mlp.w3.weight")

EVA = Family("eva-vision", "EVA-CLIP", has(*EVA_KEYS), eva_facts, network("eva.EVAVision"), fixed(TURNS))
EVA_OF_CLIP = EVA._replace(
    layout="a whole EVA-CLIP",
    detect=has(*(f"visual.{key}" for key in EVA_KEYS)),
    keymap=fixed((("visual.{key*}", "{key*}"), ("text.{key*}", None), ("logit_scale", None)), TURNS),
)
