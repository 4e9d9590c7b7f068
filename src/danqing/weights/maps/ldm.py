"""The layout of the first latent diffusion code (Stable Diffusion's single files) to that of diffusers.

It numbers the UNet's blocks through, input_blocks.0 .. and output_blocks.0 .., so that the rules depend on the number of
levels and of residual blocks a level; both are read off the names. Source: the names in CompVis/latent-diffusion,
ldm/modules/diffusionmodules/{openaimodel,model}.py.
"""

from __future__ import annotations

from ..infer import Shapes, count
from ..keymap import KeyMap, Rule

RESNET: tuple[Rule, ...] = (
    ("{block*}.resnets.{j}.in_layers.0.{end}", "{block*}.resnets.{j}.norm1.{end}"),
    ("{block*}.resnets.{j}.in_layers.2.{end}", "{block*}.resnets.{j}.conv1.{end}"),
    ("{block*}.resnets.{j}.emb_layers.1.{end}", "{block*}.resnets.{j}.time_emb_proj.{end}"),
    ("{block*}.resnets.{j}.out_layers.0.{end}", "{block*}.resnets.{j}.norm2.{end}"),
    ("{block*}.resnets.{j}.out_layers.3.{end}", "{block*}.resnets.{j}.conv2.{end}"),
    ("{block*}.resnets.{j}.skip_connection.{end}", "{block*}.resnets.{j}.conv_shortcut.{end}"),
)
OUTSIDE: tuple[Rule, ...] = (
    ("input_blocks.0.0.{end}", "conv_in.{end}"),
    ("time_embed.0.{end}", "time_embedding.linear_1.{end}"),
    ("time_embed.2.{end}", "time_embedding.linear_2.{end}"),
    ("label_emb.0.0.{end}", "add_embedding.linear_1.{end}"),
    ("label_emb.0.2.{end}", "add_embedding.linear_2.{end}"),
    ("middle_block.0.{end*}", "mid_block.resnets.0.{end*}"),
    ("middle_block.1.{end*}", "mid_block.attentions.0.{end*}"),
    ("middle_block.2.{end*}", "mid_block.resnets.1.{end*}"),
    ("out.0.{end}", "conv_norm_out.{end}"),
    ("out.2.{end}", "conv_out.{end}"),
)
AUTOENCODER: tuple[Rule, ...] = (
    ("{side}.mid.block_1.{end*}", "{side}.mid_block.resnets.0.{end*}"),
    ("{side}.mid.block_2.{end*}", "{side}.mid_block.resnets.1.{end*}"),
    ("{side}.mid.attn_1.norm.{end}", "{side}.mid_block.attentions.0.group_norm.{end}"),
    ("{side}.mid.attn_1.q.{end}", "{side}.mid_block.attentions.0.to_q.{end}"),
    ("{side}.mid.attn_1.k.{end}", "{side}.mid_block.attentions.0.to_k.{end}"),
    ("{side}.mid.attn_1.v.{end}", "{side}.mid_block.attentions.0.to_v.{end}"),
    ("{side}.mid.attn_1.proj_out.{end}", "{side}.mid_block.attentions.0.to_out.0.{end}"),
    ("{side}.norm_out.{end}", "{side}.conv_norm_out.{end}"),
    ("encoder.down.{i}.block.{j}.{end*}", "encoder.down_blocks.{i}.resnets.{j}.{end*}"),
    ("encoder.down.{i}.downsample.{end*}", "encoder.down_blocks.{i}.downsamplers.0.{end*}"),
)
SHORTCUT: tuple[Rule, ...] = (
    ("{side}.{block}.{i}.resnets.{j}.nin_shortcut.{end}", "{side}.{block}.{i}.resnets.{j}.conv_shortcut.{end}"),
)


def prefixed(prefix: str, keymap: KeyMap) -> KeyMap:
    """The map of one network out of a file of several: names without the prefix are dropped."""
    return KeyMap(((((prefix + "{key*}"), "{key*}"), ("{other*}", None)), *keymap.stages))


def unet(shapes: Shapes) -> KeyMap:
    """The UNet's, for names without the prefix ``model.diffusion_model.``."""
    ends = [int(key.split(".")[1]) for key in shapes if key.startswith("input_blocks.") and key.endswith(".0.op.weight")]
    inputs = count(shapes, "input_blocks.{}.0.in_layers.0.weight".replace("{}", "{0}")) or 0
    levels = len(ends) + 1
    each = min(ends) if ends else inputs  # residual blocks a level, and one more
    rules: list[Rule] = []
    for i in range(levels):
        for j in range(each):
            n, m = 1 + i * each + j, i * each + j
            down = "downsamplers.0.conv" if j == each - 1 else f"resnets.{j}"
            rules.append((f"input_blocks.{n}.0.op.{{end}}", f"down_blocks.{i}.downsamplers.0.conv.{{end}}"))
            if down != "downsamplers.0.conv":
                rules.append((f"input_blocks.{n}.0.{{end*}}", f"down_blocks.{i}.{down}.{{end*}}"))
                rules.append((f"input_blocks.{n}.1.{{end*}}", f"down_blocks.{i}.attentions.{j}.{{end*}}"))
            del m
    return KeyMap((tuple(rules), RESNET, OUTSIDE))
