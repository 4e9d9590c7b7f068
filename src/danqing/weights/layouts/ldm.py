"""The layout of the first latent diffusion code (Stable Diffusion's single files) to that of diffusers.

It numbers the UNet's blocks through, input_blocks.0 .. and output_blocks.0 .., so that the rules depend on the number
of levels and of residual blocks a level; both are read off the names. Source: the names in CompVis/latent-diffusion,
ldm/modules/diffusionmodules/openaimodel.py and model.py.
"""

from __future__ import annotations

from ..facts import Shapes, count
from .keymap import KeyMap, Rule

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
#: Of a control network: its hint's convolutions stand at every second place, with their activations between.
CONTROL: tuple[Rule, ...] = (
    ("zero_convs.{i}.0.{end}", "controlnet_down_blocks.{i}.{end}"),
    ("middle_block_out.0.{end}", "controlnet_mid_block.{end}"),
    ("input_hint_block.0.{end}", "controlnet_cond_embedding.conv_in.{end}"),
    *((f"input_hint_block.{2 + 2 * i}.{{end}}", f"controlnet_cond_embedding.blocks.{i}.{{end}}") for i in range(6)),
    ("input_hint_block.14.{end}", "controlnet_cond_embedding.conv_out.{end}"),
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


def unet(shapes: Shapes) -> KeyMap:
    """The UNet's. With L residual blocks a level, level i has the input blocks from 1 + i (L + 1) on, L and one for its
    change of resolution, and the output blocks from i (L + 1) on, L + 1."""
    numbers = {key.split(".")[1] for key in shapes if key.startswith("input_blocks.")}
    levels = 1 + sum(f"input_blocks.{n}.0.op.weight" in shapes for n in numbers)
    steps = len(numbers) // levels  # L + 1
    rules: list[Rule] = []
    for i in range(levels):
        for j in range(steps):
            before, after = f"input_blocks.{1 + i * steps + j}", f"output_blocks.{i * steps + j}"
            if j < steps - 1:
                rules.append((f"{before}.0.{{end*}}", f"down_blocks.{i}.resnets.{j}.{{end*}}"))
                rules.append((f"{before}.1.{{end*}}", f"down_blocks.{i}.attentions.{j}.{{end*}}"))
            else:
                rules.append((f"{before}.0.op.{{end}}", f"down_blocks.{i}.downsamplers.0.conv.{{end}}"))
                resize = (
                    2 if f"{after}.1.norm.weight" in shapes else 1
                )  # it stands after the attention, where there is one
                rules.append((f"{after}.{resize}.conv.{{end}}", f"up_blocks.{i}.upsamplers.0.conv.{{end}}"))
            rules.append((f"{after}.0.{{end*}}", f"up_blocks.{i}.resnets.{j}.{{end*}}"))
            rules.append((f"{after}.1.{{end*}}", f"up_blocks.{i}.attentions.{j}.{{end*}}"))
    return KeyMap((tuple(rules) + OUTSIDE, RESNET))


def controlnet(shapes: Shapes) -> KeyMap:
    """That of a control network of a UNet, which has the same way down."""
    return KeyMap((CONTROL, *unet(shapes).stages))


def autoencoder(shapes: Shapes) -> KeyMap:
    """The autoencoder's, whose decoder counts its levels from the finest."""
    levels = count(shapes, "decoder.up.{}.block.0.norm1.weight")
    rules: list[Rule] = []
    for i in range(levels):
        rules += [
            (f"decoder.up.{i}.block.{{j}}.{{end*}}", f"decoder.up_blocks.{levels - 1 - i}.resnets.{{j}}.{{end*}}"),
            (f"decoder.up.{i}.upsample.{{end*}}", f"decoder.up_blocks.{levels - 1 - i}.upsamplers.0.{{end*}}"),
        ]
    return KeyMap((tuple(rules) + AUTOENCODER, SHORTCUT))
