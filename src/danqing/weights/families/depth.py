"""What says how near things are: Depth Anything, in the layout of transformers and in the published one, and our own
small network.

Source: the names in DepthAnything/Depth-Anything-V2 (dpt.py, dinov2.py) and in transformers' conversion of them.
"""

from __future__ import annotations

import math

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network
from ..layouts.keymap import STACKED, Cut, Rule
from .gfpgan import restorer_facts

LAYER = "backbone.encoder.layer.{i}"
NECK = "neck.fusion_stage.layers"
RULES: tuple[Rule, ...] = (
    ("pretrained.mask_token", None),  # of DINOv2's own training
    ("pretrained.cls_token", "backbone.embeddings.cls_token"),
    ("pretrained.pos_embed", "backbone.embeddings.position_embeddings"),
    ("pretrained.patch_embed.proj.{end}", "backbone.embeddings.patch_embeddings.projection.{end}"),
    ("pretrained.blocks.{i}.attn.proj.{end}", LAYER + ".attention.output.dense.{end}"),
    ("pretrained.blocks.{i}.attn.qkv.{end}", LAYER + ".qkv.{end}"),
    ("pretrained.blocks.{i}.ls{k}.gamma", LAYER + ".layer_scale{k}.lambda1"),
    ("pretrained.blocks.{i}.{part*}", LAYER + ".{part*}"),
    ("pretrained.norm.{end}", "backbone.layernorm.{end}"),
    ("depth_head.projects.{i}.{end}", "neck.reassemble_stage.layers.{i}.projection.{end}"),
    ("depth_head.resize_layers.{i}.{end}", "neck.reassemble_stage.layers.{i}.resize.{end}"),
    *((f"depth_head.scratch.layer{k}_rn.{{end}}", f"neck.convs.{k - 1}.{{end}}") for k in range(1, 5)),
    *((f"depth_head.scratch.refinenet{k}.out_conv.{{end}}", f"{NECK}.{4 - k}.projection.{{end}}") for k in range(1, 5)),
    *(
        (
            f"depth_head.scratch.refinenet{k}.resConfUnit{{n}}.conv{{m}}.{{end}}",
            f"{NECK}.{4 - k}.residual_layer{{n}}.convolution{{m}}.{{end}}",
        )
        for k in range(1, 5)
    ),
    ("depth_head.scratch.output_conv1.{end}", "head.conv1.{end}"),
    ("depth_head.scratch.output_conv2.0.{end}", "head.conv2.{end}"),
    ("depth_head.scratch.output_conv2.2.{end}", "head.conv3.{end}"),
)
QKV = tuple(f"{LAYER}.attention.attention.{x}.{{end}}" for x in ("query", "key", "value"))
CUTS = (Cut(LAYER + ".qkv.{end}", QKV, STACKED),)


def depth_anything_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.depth_anything.DepthAnythingConfig`. No shape tells which layers the head reads: those of version 2
    are assumed, 3, 6, 9, 12 of twelve and 5, 12, 18, 24 of twenty-four."""
    width, _, patch, _ = shapes["backbone.embeddings.patch_embeddings.projection.weight"]
    layers = count(shapes, "backbone.encoder.layer.{}.norm1.weight")
    sizes = count(shapes, "neck.convs.{}.weight")
    read = (5, 12, 18, 24) if layers == 24 else tuple(layers * (k + 1) // sizes for k in range(sizes))
    return Facts(
        inferred={
            "hidden_size": width,
            "num_hidden_layers": layers,
            "intermediate_size": shapes["backbone.encoder.layer.0.mlp.fc1.weight"][0],
            "patch_size": patch,
            "image_size": math.isqrt(shapes["backbone.embeddings.position_embeddings"][1] - 1) * patch,
            "neck_hidden_sizes": tuple(shapes[f"neck.convs.{i}.weight"][1] for i in range(sizes)),
            "fusion_hidden_size": shapes["head.conv1.weight"][1],
            "head_hidden_size": shapes["head.conv2.weight"][0],
        },
        assumed={"num_attention_heads": max(1, width // 64), "out_indices": read, "layer_norm_eps": 1e-6},
    )


def depth_unet_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.depth_unet.DepthUNetConfig`, as those of a restorer."""
    facts = restorer_facts(shapes)
    return Facts(inferred=facts.inferred, assumed={**facts.assumed, "resolution": 96})


DEPTH_ANYTHING = Family(
    "depth-anything",
    "transformers",
    has("backbone.embeddings.cls_token", "neck.convs.0.weight", "head.conv3.weight"),
    depth_anything_facts,
    network("depth_anything.DepthAnything"),
    fixed((("backbone.embeddings.mask_token", None),)),
)

DEPTH_ANYTHING_PUBLISHED = DEPTH_ANYTHING._replace(
    layout="Depth Anything",
    detect=has("pretrained.cls_token", "depth_head.projects.0.weight"),
    keymap=fixed(RULES, cuts=CUTS),
)

DEPTH_UNET = Family(
    "depth-unet",
    "danqing",
    has("conv_in.weight", "down.0.0.conv1.weight", "up.0.0.conv1.weight", "conv_depth.weight"),
    depth_unet_facts,
    network("depth_unet.DepthUNet"),
    fixed(),
)
