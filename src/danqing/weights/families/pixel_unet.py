"""UNets of pixel diffusion, in levels and in continuous time."""

from __future__ import annotations

from ..facts import Facts, Shapes, count, groups
from ..family import Family, fixed, has, network
from ..layouts.diffusers import ATTENTION


def pixel_unet_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.pixel_unet.PixelUNetConfig`. Where there is attention, published ones have one head."""
    levels = range(count(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    inferred = {
        "in_channels": shapes["conv_in.weight"][1],
        "out_channels": shapes["conv_out.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": count(shapes, "down_blocks.0.resnets.{}.conv1.weight"),
        "scale_shift": shapes["down_blocks.0.resnets.0.time_emb_proj.weight"][0] == 2 * widths[0],
        "classes": shapes.get("class_embedding.weight", (0,))[0],
    }
    assumed, unknown = groups(widths)
    heads = tuple(int(f"down_blocks.{i}.attentions.0.to_q.weight" in shapes) for i in levels)
    return Facts(
        inferred=inferred, assumed=assumed | {"attention_heads": heads, "mid_attention_heads": 1}, unknown=unknown
    )


PIXEL_UNET = Family(
    "pixel-unet",
    "diffusers",
    has(
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "mid_block.attentions.0.group_norm.weight",
        no=("time_proj.", "skip_conv"),
    ),
    pixel_unet_facts,
    network("pixel_unet.PixelUNet"),
    fixed(ATTENTION),
)

SCORE_UNET = PIXEL_UNET._replace(
    name="score-unet",
    detect=has("conv_in.weight", "time_proj.weight", "mid_block.attentions.0.group_norm.weight", no=("skip_conv",)),
    classes=network("pixel_unet.ScoreUNet", "PixelUNetConfig"),
)
