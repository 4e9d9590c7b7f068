"""What the shapes of a network's tensors say of its config, and what only the family's published models say.

Each function reads names and shapes in our layout and returns `Facts`. None needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
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
    """`danqing.nets.unet.UNetConfig`. Heads, for the published widths, which start at 320 or 384: 8 a level where
    convolutions stand around the transformers (1.x), width / 64 where linear layers do (2.x, XL)."""
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
    if widths[0] in (320, 384):
        assumed["attention_heads"] = tuple(width // 64 if linear else 8 for width in widths)
    else:
        unknown["attention_heads"] = f"the widths {widths} are none of Stable Diffusion's"
    return Facts(told=told, assumed=assumed, unknown=unknown)


def drafted_unet(shapes: Shapes) -> Facts:
    """`danqing.nets.drafted.DraftedUNetConfig`: a UNet, and the grid of its draft."""
    facts = unet(shapes)
    channels = facts.told["in_channels"] - facts.told["out_channels"]
    size = math.isqrt(shapes["draft.linear.weight"][0] // channels)
    return replace(facts, told={**facts.told, "draft_size": size})


def pixel_unet(shapes: Shapes) -> Facts:
    """`danqing.nets.pixel_unet.PixelUNetConfig`. Where there is attention, published ones have one head."""
    levels = range(count(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    told = {
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": count(shapes, "down_blocks.0.resnets.{}.conv1.weight"),
        "scale_shift": shapes["down_blocks.0.resnets.0.time_emb_proj.weight"][0] == 2 * widths[0],
        "classes": shapes.get("class_embedding.weight", (0,))[0],
    }
    assumed, unknown = groups(widths)
    heads = tuple(int(f"down_blocks.{i}.attentions.0.to_q.weight" in shapes) for i in levels)
    return Facts(told=told, assumed=assumed | {"attention_heads": heads, "mid_attention_heads": 1}, unknown=unknown)


def autoencoder_kl(shapes: Shapes) -> Facts:
    """`danqing.nets.autoencoder_kl.AutoencoderKLConfig`. A picture has 3 channels, so that more are a patch of pixels.
    No shape tells the scale: assumed are 0.18215 of 1.x and 2.x (XL has 0.13025) and, for 16 channels, 1.5305 with the
    shift 0.0609 of 3 (FLUX has 0.3611, 0.1159)."""
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


def attention(width: int, heads: Mapping[int, int], quick: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """What published towers of this width have: how many heads, and which GELU."""
    if width in heads:
        act = "quick_gelu" if width in quick else "gelu"
        return {"num_attention_heads": heads[width], "hidden_act": act, "layer_norm_eps": 1e-5}, {}
    why = f"no published tower has the width {width}"
    return {"layer_norm_eps": 1e-5}, {"num_attention_heads": why, "hidden_act": why}


def clip_text(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPTextConfig`. OpenAI's towers (512, 768) have the quick GELU, OpenCLIP's not."""
    told, width = tower(shapes, "text_model")
    vocabulary = shapes["text_model.embeddings.token_embedding.weight"][0]
    told["vocab_size"] = vocabulary
    told["max_position_embeddings"] = shapes["text_model.embeddings.position_embedding.weight"][0]
    told["projection_dim"] = shapes.get("text_projection.weight", (0,))[0]
    assumed, unknown = attention(width, {512: 8, 768: 12, 1024: 16, 1280: 20}, (512, 768))
    assumed["eos_token_id"] = min(vocabulary, 49408) - 1  # learned words are appended behind the published vocabulary
    return Facts(told=told, assumed=assumed, unknown=unknown)


def clip_vision(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPVisionConfig`. OpenAI's towers (768, 1024) have the quick GELU, OpenCLIP's not."""
    told, width = tower(shapes, "vision_model")
    _, channels, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    positions = shapes["vision_model.embeddings.position_embedding.weight"][0]
    told |= {"num_channels": channels, "patch_size": patch, "image_size": math.isqrt(positions - 1) * patch}
    told["projection_dim"] = shapes.get("visual_projection.weight", (0,))[0]
    assumed, unknown = attention(width, {768: 12, 1024: 16, 1280: 16, 1664: 16}, (768, 1024))
    return Facts(told=told, assumed=assumed, unknown=unknown)


def clip(shapes: Shapes) -> Facts:
    """`danqing.nets.clip.CLIPConfig`: its two towers."""
    return Facts(told={}, parts={"text": clip_text(shapes), "vision": clip_vision(shapes)})


def mmdit(shapes: Shapes) -> Facts:
    """`danqing.nets.mmdit.MMDiTConfig`. Published ones have as many heads as layers, of width 64; norms tell it."""
    width, channels, patch, _ = shapes["pos_embed.proj.weight"]
    layers = count(shapes, "transformer_blocks.{}.attn.to_q.weight")
    norm = shapes.get("transformer_blocks.0.attn.norm_q.weight")
    dual = tuple(i for i in range(layers) if f"transformer_blocks.{i}.attn2.to_q.weight" in shapes)
    told: dict[str, Any] = {
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
        told |= {"attention_head_dim": norm[0], "num_attention_heads": width // norm[0]}
    elif width == 64 * layers:
        assumed |= {"attention_head_dim": 64, "num_attention_heads": layers}
    else:
        why = f"a width of {width} in {layers} layers is none of Stable Diffusion 3's"
        return Facts(told=told, assumed=assumed, unknown={"attention_head_dim": why, "num_attention_heads": why})
    return Facts(told=told, assumed=assumed)


def t5(shapes: Shapes) -> Facts:
    """`danqing.nets.t5.T5Config`; no shape tells where distances end."""
    layer = "encoder.block.0.layer.{}"
    buckets, heads = shapes[layer.format(0) + ".SelfAttention.relative_attention_bias.weight"]
    vocabulary, width = shapes["shared.weight"]
    told = {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": shapes[layer.format(0) + ".SelfAttention.q.weight"][0] // heads,
        "d_ff": shapes[layer.format(1) + ".DenseReluDense.wi_0.weight"][0],
        "num_layers": count(shapes, "encoder.block.{}.layer.0.SelfAttention.q.weight"),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
    }
    return Facts(told=told, assumed={"relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6})


def vae(shapes: Shapes) -> Facts:
    """`danqing.nets.vae.VAEConfig`; no shape tells the groups of the norms or the likelihood."""
    levels = range(count(shapes, "encoder.levels.{}.0.conv1.weight"))
    widths = tuple(shapes[f"encoder.levels.{i}.0.conv1.weight"][0] for i in levels)
    cells, latent = shapes["decoder.inward.weight"]
    patch = math.isqrt(shapes["encoder.conv_in.weight"][1] // 3)
    told = {
        "widths": widths,
        "layers_per_block": count(shapes, "encoder.levels.0.{}.conv1.weight"),
        "latent_dim": latent,
        "patch": patch,
        "image_size": math.isqrt(cells // widths[-1]) * patch * 2 ** (len(widths) - 1),
    }
    return Facts(told=told, assumed={"norm_num_groups": 8, "likelihood": "laplace"})


def pixelcnn(shapes: Shapes) -> Facts:
    """`danqing.nets.pixelcnn.PixelCNNConfig`; no shape tells how far apart the cells of a window are."""
    layers = count(shapes, "layers.{}.link.weight")
    told: dict[str, Any] = {
        "classes": shapes.get("first.condition.weight", (0,))[0],
        "width": shapes["first.link.weight"][0] // 2,
        "first": shapes["first.vertical.weight"][3],
    }
    assumed: dict[str, Any] = {"dilations": tuple((1, 2, 4)[i % 3] for i in range(layers))}
    if "head.out.weight" in shapes:
        told |= {
            "head": "mixture",
            "components": shapes["head.out.weight"][0] // 10,
            "hidden": shapes["head.mix.weight"][0],
        }
        return Facts(told=told, assumed=assumed)
    told["head"] = "palette" if "head.palette" in shapes else "levels"
    told["levels"], told["embedding"] = shapes["head.tables.0.weight"]
    told["hidden"] = shapes["head.mix.0.weight"][0]
    return Facts(told=told, assumed=assumed)
