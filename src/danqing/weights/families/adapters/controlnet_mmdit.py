"""Control networks of the transformers of Stable Diffusion 3."""

from __future__ import annotations

import math
from typing import Any

from ...facts import Facts, Shapes, count
from ...family import Family, fixed, has, network
from ...layouts import sd3

HINT = "pos_embed_input.proj.weight"
HEAD = 64  # the width of a head in all published ones


def controlnet_mmdit_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.controlnet_mmdit.MMDiTControlConfig`. Norms tell the heads; what reads the text is silent in the
    published ones."""
    width, seen, patch, _ = shapes[HINT]
    layers = count(shapes, "controlnet_blocks.{}.weight")
    norm = shapes.get("transformer_blocks.0.attn.norm_q.weight")
    channels = shapes.get("pos_embed.proj.weight", (width, seen))[1]
    text = shapes.get("context_embedder.weight", (width, 0))[1]
    inferred: dict[str, Any] = {
        "patch_size": patch,
        "in_channels": channels,
        "num_layers": layers,
        "joint_attention_dim": text,
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes.get("pos_embed.pos_embed", (1, 0))[1]),
        "dual_attention_layers": tuple(
            i for i in range(layers) if f"transformer_blocks.{i}.attn2.to_q.weight" in shapes
        ),
        "qk_norm": norm is not None,
        "hint_channels": seen - channels,
    }
    # The table of positions is in the file, and nothing is given out as a latent.
    assumed: dict[str, Any] = {"sample_size": 128, "out_channels": channels, "silent": text > 0, "edges": False}
    heads = {
        "attention_head_dim": norm[0] if norm else HEAD,
        "num_attention_heads": width // (norm[0] if norm else HEAD),
    }
    if norm:
        return Facts(inferred={**inferred, **heads}, assumed=assumed)
    if width % HEAD == 0:
        return Facts(inferred=inferred, assumed={**assumed, **heads})
    why = f"the published {HEAD} does not divide a width of {width}"
    return Facts(inferred=inferred, assumed=assumed, unknown=dict.fromkeys(heads, why))


CONTROLNET_MMDIT = Family(
    "controlnet-mmdit",
    "diffusers",
    has(HINT, "controlnet_blocks.0.weight", "transformer_blocks.0.norm1.linear.weight", no=("lora",)),
    controlnet_mmdit_facts,
    network("controlnet_mmdit.MMDiTControl"),
    fixed(),
)

CONTROLNET_MMDIT_SD3 = CONTROLNET_MMDIT._replace(
    layout="Stability AI",
    detect=has(HINT, "controlnet_blocks.0.weight", "transformer_blocks.0.adaLN_modulation.1.weight", no=("lora",)),
    keymap=sd3.controlnet,
)
