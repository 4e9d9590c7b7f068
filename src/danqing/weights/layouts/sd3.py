"""The layout of Stable Diffusion 3's own transformer to that of diffusers.

Queries, keys and values of a stream are one projection. Where no gate follows a modulation, at the end of either
stream, the file has (shift, scale) and diffusers (scale, shift). Source: the names in Stability-AI/sd3.5, mmditx.py.
"""

from __future__ import annotations

from ..facts import Shapes, count
from .keymap import STACKED, SWAPPED, Cut, KeyMap, Rule

OLD, NEW = "joint_blocks.{i}", "transformer_blocks.{i}"
RULES: tuple[Rule, ...] = (
    ("x_embedder.proj.{end}", "pos_embed.proj.{end}"),
    ("pos_embed", "pos_embed.pos_embed"),
    ("t_embedder.mlp.0.{end}", "time_text_embed.timestep_embedder.linear_1.{end}"),
    ("t_embedder.mlp.2.{end}", "time_text_embed.timestep_embedder.linear_2.{end}"),
    ("y_embedder.mlp.0.{end}", "time_text_embed.text_embedder.linear_1.{end}"),
    ("y_embedder.mlp.2.{end}", "time_text_embed.text_embedder.linear_2.{end}"),
    ("final_layer.adaLN_modulation.1.{end}", "norm_out.linear.{end}"),
    ("final_layer.linear.{end}", "proj_out.{end}"),
    (OLD + ".x_block.adaLN_modulation.1.{end}", NEW + ".norm1.linear.{end}"),
    (OLD + ".x_block.{attn}.ln_q.{end}", NEW + ".{attn}.norm_q.{end}"),
    (OLD + ".x_block.{attn}.ln_k.{end}", NEW + ".{attn}.norm_k.{end}"),
    (OLD + ".x_block.{attn}.proj.{end}", NEW + ".{attn}.to_out.0.{end}"),
    (OLD + ".x_block.{attn}.qkv.{end}", NEW + ".{attn}.to_qkv.{end}"),
    (OLD + ".x_block.mlp.fc1.{end}", NEW + ".ff.net.0.proj.{end}"),
    (OLD + ".x_block.mlp.fc2.{end}", NEW + ".ff.net.2.{end}"),
    (OLD + ".context_block.adaLN_modulation.1.{end}", NEW + ".norm1_context.linear.{end}"),
    (OLD + ".context_block.attn.ln_q.{end}", NEW + ".attn.norm_added_q.{end}"),
    (OLD + ".context_block.attn.ln_k.{end}", NEW + ".attn.norm_added_k.{end}"),
    (OLD + ".context_block.attn.proj.{end}", NEW + ".attn.to_add_out.{end}"),
    (OLD + ".context_block.attn.qkv.{end}", NEW + ".attn.add_qkv_proj.{end}"),
    (OLD + ".context_block.mlp.fc1.{end}", NEW + ".ff_context.net.0.proj.{end}"),
    (OLD + ".context_block.mlp.fc2.{end}", NEW + ".ff_context.net.2.{end}"),
)
CUTS = (
    Cut(NEW + ".{attn}.to_qkv.{end}", tuple(NEW + f".{{attn}}.to_{x}.{{end}}" for x in "qkv"), STACKED),
    Cut(NEW + ".attn.add_qkv_proj.{end}", tuple(NEW + f".attn.add_{x}_proj.{{end}}" for x in "qkv"), STACKED),
    Cut("norm_out.linear.{end}", ("norm_out.linear.{end}",), SWAPPED),
)
#: Of a control network whose blocks are of the image alone; which kind of hint it knows is a number in the file, and it
#: embeds the noise as the transformer does.
CONTROL_RULES: tuple[Rule, ...] = (
    ("control_type", None),
    ("x_embedder.{rest*}", None),
    ("pos_embed.{rest*}", None),
    ("pos_embed", None),
    (NEW + ".adaLN_modulation.1.{end}", NEW + ".norm1.linear.{end}"),
    (NEW + ".attn.qkv.{end}", NEW + ".attn.to_qkv.{end}"),
    (NEW + ".attn.proj.{end}", NEW + ".attn.to_out.0.{end}"),
    (NEW + ".mlp.fc1.{end}", NEW + ".ff.net.0.proj.{end}"),
    (NEW + ".mlp.fc2.{end}", NEW + ".ff.net.2.{end}"),
    *(rule for rule in RULES if rule[0].startswith(("t_embedder", "y_embedder"))),
)


def controlnet(shapes: Shapes) -> KeyMap:
    """Of Stability AI's control networks for 3.5 large. Source: the names in diffusers'
    convert_sd3_controlnet_to_diffusers.py."""
    return KeyMap((CONTROL_RULES,), CUTS[:1])


def mmdit(shapes: Shapes) -> KeyMap:
    """The transformer's; its last block is the one where the text ends."""
    last = count(shapes, "joint_blocks.{}.x_block.attn.qkv.weight") - 1
    end = f"transformer_blocks.{last}.norm1_context.linear.{{end}}"
    return KeyMap((RULES,), (*CUTS, Cut(end, (end,), SWAPPED)))
