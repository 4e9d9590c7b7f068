"""The transformers of Stable Diffusion 3."""

from __future__ import annotations

import math
from typing import Any

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network
from ..layouts import sd3


def mmdit_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.mmdit.MMDiTConfig`. Published ones have as many heads as layers, of width 64; norms tell it."""
    width, channels, patch, _ = shapes["pos_embed.proj.weight"]
    layers = count(shapes, "transformer_blocks.{}.attn.to_q.weight")
    norm = shapes.get("transformer_blocks.0.attn.norm_q.weight")
    dual = tuple(i for i in range(layers) if f"transformer_blocks.{i}.attn2.to_q.weight" in shapes)
    inferred: dict[str, Any] = {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["proj_out.weight"][0] // patch**2,
        "num_layers": layers,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed.pos_embed"][1]),
        "dual_attention_layers": dual,
        "qk_norm": norm is not None,
    }
    # The table of positions is in the file, so that the size it was made for changes nothing.
    assumed: dict[str, Any] = {"sample_size": 128}
    if norm is not None:
        inferred |= {"attention_head_dim": norm[0], "num_attention_heads": width // norm[0]}
    elif width == 64 * layers:
        assumed |= {"attention_head_dim": 64, "num_attention_heads": layers}
    else:
        why = f"a width of {width} in {layers} layers is none of Stable Diffusion 3's"
        return Facts(
            inferred=inferred, assumed=assumed, unknown={"attention_head_dim": why, "num_attention_heads": why}
        )
    return Facts(inferred=inferred, assumed=assumed)


MMDIT = Family(
    "mmdit",
    "diffusers",
    has(
        "pos_embed.proj.weight",
        "time_text_embed.text_embedder.linear_1.weight",
        "context_embedder.weight",
        no=("lora", "controlnet_"),
    ),
    mmdit_facts,
    network("mmdit.MMDiT"),
    fixed(),
)

MMDIT_SD3 = MMDIT._replace(
    layout="Stability AI",
    detect=has(
        "joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight", "context_embedder.weight", no=("lora",)
    ),
    keymap=sd3.mmdit,
)
