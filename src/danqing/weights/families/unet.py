"""UNets of latent diffusion, and those that begin from a draft."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..facts import Facts, Shapes, count, groups
from ..family import Family, fixed, has, network
from ..layouts import ldm

#: The width of the text that Stable Diffusion reads: 1.x, which has 8 heads in every level; 2.x, XL, its refiner.
EIGHT = 768
TEXTS = (EIGHT, 1024, 2048, 1280)


def trunk_facts(shapes: Shapes) -> Facts:
    """What the way down and the middle say of `danqing.nets.unet.UNetConfig`. Heads, for the published widths, which
    start at 320 or 384, are told by the width of the text: 8 a level in 1.x, width / 64 in 2.x and XL. What stands
    around the transformers is a linear layer in the latter, though some files hold it as a 1×1 convolution."""
    levels = range(count(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    block = "{}.attentions.0.transformer_blocks.{{}}.norm1.weight"
    depths = tuple(count(shapes, block.format(f"down_blocks.{i}")) for i in levels)
    middle = count(shapes, block.format("mid_block"))
    inferred: dict[str, Any] = {
        "in_channels": shapes["conv_in.weight"][1],
        "block_out_channels": widths,
        "layers_per_block": count(shapes, "down_blocks.0.resnets.{}.conv1.weight"),
        "transformer_layers": depths,
        "mid_transformer_layers": middle,
        "pooled_channels": shapes.get("add_embedding.linear_1.weight", (0, 0))[1],
    }
    assumed, unknown = groups(widths)
    stages = [f"down_blocks.{i}" for i in levels if depths[i]] + ["mid_block"] * bool(middle)
    if not stages:
        unknown["cross_attention_dim"] = "no level reads the text"
        return Facts(inferred=inferred, assumed=assumed, unknown=unknown)
    first = f"{stages[0]}.attentions.0"
    inferred["cross_attention_dim"] = text = shapes[f"{first}.transformer_blocks.0.attn2.to_k.weight"][1]
    published = widths[0] in (320, 384) and text in TEXTS
    inferred["use_linear_projection"] = len(shapes[f"{first}.proj_in.weight"]) == 2 or (published and text != EIGHT)
    if published:
        assumed["attention_heads"] = tuple(8 if text == EIGHT else width // 64 for width in widths)
    else:
        what = f"the widths {widths} and the text's {text}"
        unknown["attention_heads"] = f"{what} are none of Stable Diffusion's"
    return Facts(inferred=inferred, assumed=assumed, unknown=unknown)


def unet_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.unet.UNetConfig`."""
    facts = trunk_facts(shapes)
    return replace(facts, inferred={**facts.inferred, "out_channels": shapes["conv_out.weight"][0]})


def drafted_unet_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.drafted.DraftedUNetConfig`: a UNet, the grid of its draft and the draft's hidden layers."""
    facts = unet_facts(shapes)
    channels = facts.inferred["in_channels"] - facts.inferred["out_channels"]
    draft = {
        "draft_size": math.isqrt(shapes["draft.linear.weight"][0] // channels),
        "draft_hidden": shapes.get("draft.body.0.weight", (0,))[0],
        "draft_blocks": sum(key.startswith("draft.body.") and key.endswith(".up.weight") for key in shapes),
    }
    return replace(facts, inferred={**facts.inferred, **draft})


UNET = Family(
    "unet",
    "diffusers",
    has(
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.resnets.0.time_emb_proj.weight",
        no=("controlnet_", "motion_modules", "lora", "draft.", "mid_block.attentions.0.group_norm"),
    ),
    unet_facts,
    network("unet.UNet"),
    fixed(),
)

UNET_LDM = UNET._replace(
    layout="LDM",
    detect=has("input_blocks.0.0.weight", "time_embed.0.weight", "output_blocks.0.0.in_layers.0.weight", no=("lora",)),
    keymap=ldm.unet,
)

DRAFTED_UNET = Family(
    "drafted-unet",
    "danqing",
    has("conv_in.weight", "draft.linear.weight", no=("residual_std",)),
    drafted_unet_facts,
    network("drafted.DraftedUNet"),
    fixed(),
)

RESIDUAL_UNET = DRAFTED_UNET._replace(
    name="residual-unet",
    detect=has("conv_in.weight", "draft.linear.weight", "residual_std"),
    classes=network("drafted.ResidualUNet", "DraftedUNetConfig"),
)
