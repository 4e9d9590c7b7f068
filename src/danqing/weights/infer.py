"""What the shapes of a network's tensors say of its config, and what only the family's published models say.

Each function reads names and shapes in our layout and returns `Facts`. None needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A config's fields, by how they are known.

    Args:
        told: by the shapes; nothing may contradict them.
        assumed: as in the family's published models; a stated config may say otherwise.
        unknown: field -> why neither holds; a stated config must give them.
        parts: fields that are configs themselves.
    """

    told: Mapping[str, Any]
    assumed: Mapping[str, Any] = field(default_factory=lambda: NONE)
    unknown: Mapping[str, str] = field(default_factory=lambda: NONE)
    parts: Mapping[str, Facts] = field(default_factory=dict)


def count(keys: Collection[str], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), ... there are before the first that is not."""
    n = 0
    while pattern.format(n) in keys:
        n += 1
    return n


def groups(widths: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Group norms have 32 groups in all published models; of widths that 32 does not divide nothing is known."""
    if all(width % 32 == 0 for width in widths):
        return {"norm_num_groups": 32}, {}
    return {}, {"norm_num_groups": f"the published 32 does not divide all of the widths {widths}"}


def unet(shapes: Shapes) -> Facts:
    """`danqing.nets.unet.UNetConfig`. Heads: 8 a level with convolutions around the transformers (1.x), width / 64 with
    linear layers (2.x, XL)."""
    levels = range(count(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    block = "{}.attentions.0.transformer_blocks.{{}}.norm1.weight"
    depths = tuple(count(shapes, block.format(f"down_blocks.{i}")) for i in levels)
    middle = count(shapes, block.format("mid_block"))
    told: dict[str, Any] = {
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
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
        return Facts(told=told, assumed=assumed, unknown=unknown)
    told["use_linear_projection"] = linear = len(shapes[f"{stages[0]}.attentions.0.proj_in.weight"]) == 2
    first = f"{stages[0]}.attentions.0.transformer_blocks.0"
    told["cross_attention_dim"] = shapes[f"{first}.attn2.to_k.weight"][1]
    attended = {widths[i] for i in levels if depths[i]} | ({widths[-1]} if middle else set())
    if all(width % (64 if linear else 8) == 0 for width in attended):
        assumed["attention_heads"] = tuple(max(1, width // 64) if linear else 8 for width in widths)
    else:
        rule = "heads of width 64" if linear else "8 heads"
        unknown["attention_heads"] = f"the published {rule} do not fit the widths {widths}"
    return Facts(told=told, assumed=assumed, unknown=unknown)


def autoencoder_kl(shapes: Shapes) -> Facts:
    """`danqing.nets.autoencoder_kl.AutoencoderKLConfig`. A picture has 3 channels, so that more are a patch of pixels. The
    scale is no shape: 0.18215 is that of 1.x and 2.x (XL: 0.13025), 1.5305 and 0.0609 those of 3 (FLUX: 0.3611, 0.1159)."""
    levels = range(count(shapes, "encoder.down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    latent = shapes["decoder.conv_in.weight"][1]
    read, written = shapes["encoder.conv_in.weight"][1], shapes["decoder.conv_out.weight"][0]
    side = math.isqrt(read // 3)
    patch = side if read == 3 * side**2 else 1
    told = {
        "block_out_channels": widths,
        "layers_per_block": count(shapes, "encoder.down_blocks.0.resnets.{}.conv1.weight"),
        "latent_channels": latent,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
    }
    assumed, unknown = groups(widths)
    assumed |= {"patch": patch, "in_channels": read // patch**2, "out_channels": written // patch**2}
    scale, shift = {4: (0.18215, 0.0), 16: (1.5305, 0.0609)}.get(latent, (1.0, 0.0))
    return Facts(told=told, assumed=assumed | {"scaling_factor": scale, "shift_factor": shift}, unknown=unknown)


def tower(shapes: Shapes, prefix: str) -> tuple[dict[str, Any], int]:
    """The fields that both of CLIP's towers have, and their width."""
    inner, width = shapes[f"{prefix}.encoder.layers.0.mlp.fc1.weight"]
    layers = count(shapes, prefix + ".encoder.layers.{}.layer_norm1.weight")
    return {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}, width


def head_facts(width: int, heads: Mapping[int, int]) -> tuple[dict[str, Any], dict[str, str]]:
    """The number of heads of published towers: of width 64, but for some."""
    if width in heads or width % 64 == 0:
        return {"num_attention_heads": heads.get(width, width // 64)}, {}
    return {}, {"num_attention_heads": f"the published heads of width 64 do not fit a tower of width {width}"}


def clip_text(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPTextConfig`. OpenAI's towers, of width 512 and 768, have the quick GELU, OpenCLIP's the exact."""
    told, width = tower(shapes, "text_model")
    vocabulary = shapes["text_model.embeddings.token_embedding.weight"][0]
    told["vocab_size"] = vocabulary
    told["max_position_embeddings"] = shapes["text_model.embeddings.position_embedding.weight"][0]
    told["projection_dim"] = shapes.get("text_projection.weight", (0,))[0]
    assumed, unknown = head_facts(width, {})
    assumed["hidden_act"] = "quick_gelu" if width in (512, 768) else "gelu"
    assumed["layer_norm_eps"] = 1e-5
    assumed["eos_token_id"] = min(vocabulary, 49408) - 1  # learned words are appended behind the published vocabulary
    return Facts(told=told, assumed=assumed, unknown=unknown)


def clip_vision(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPVisionConfig`. ViT-H and ViT-bigG have 16 heads; OpenAI's towers, of width 768 and 1024, have
    the quick GELU, OpenCLIP's the exact."""
    told, width = tower(shapes, "vision_model")
    _, channels, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    positions = shapes["vision_model.embeddings.position_embedding.weight"][0]
    told |= {"num_channels": channels, "patch_size": patch, "image_size": math.isqrt(positions - 1) * patch}
    told["projection_dim"] = shapes.get("visual_projection.weight", (0,))[0]
    assumed, unknown = head_facts(width, {1280: 16, 1664: 16})
    assumed["hidden_act"] = "quick_gelu" if width in (768, 1024) else "gelu"
    assumed["layer_norm_eps"] = 1e-5
    return Facts(told=told, assumed=assumed, unknown=unknown)


def clip(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPConfig`: its two towers."""
    return Facts(told={}, parts={"text": clip_text(shapes), "vision": clip_vision(shapes)})
