"""What restores faces: GFPGAN's published files to our network, and what the shapes of it and of our own small one
tell.

The names of GFPGAN are the published ones of versions 1.2 to 1.4. Dropped is what serves training alone: the
layers from z to w, since the U-Net says w itself, and the small pictures of each resolution that the training compares.
Source: the names in TencentARC/GFPGAN (gfpganv1_clean_arch.py).
"""

from __future__ import annotations

import math

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network
from ..layouts.keymap import Rule
from .stylegan2 import pyramid

RULES: tuple[Rule, ...] = (("stylegan_decoder.style_mlp.{i}.{end}", None), ("toRGB.{i}.{end}", None))


def gfpgan_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.gfpgan.GFPGANConfig`."""
    widths = {4: shapes["stylegan_decoder.constant_input.weight"][1]}
    while (name := f"stylegan_decoder.style_convs.{2 * len(widths) - 2}.modulated_conv.weight") in shapes:
        widths[4 << len(widths)] = shapes[name][1]
    inferred, assumed = pyramid(widths)
    return Facts(
        inferred={**inferred, "w_dim": shapes["stylegan_decoder.style_conv1.modulated_conv.modulation.weight"][1]},
        assumed=assumed,
    )


def restorer_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.restorer.RestorerConfig`; no shape tells the resolution, or the groups of the norms."""
    levels = range(count(shapes, "up.{}.0.conv1.weight"))
    inferred = {
        "widths": tuple(shapes[f"down.{i}.{int(i > 0)}.conv1.weight"][0] for i in levels),
        "layers_per_block": count(shapes, "down.0.{}.conv1.weight"),
        "patch": math.isqrt(shapes["conv_in.weight"][1] // 3),
    }
    return Facts(inferred=inferred, assumed={"resolution": 128, "norm_num_groups": 8})


GFPGAN = Family(
    "gfpgan",
    "GFPGAN",
    has("conv_body_first.weight", "stylegan_decoder.constant_input.weight"),
    gfpgan_facts,
    network("gfpgan.GFPGAN"),
    fixed(RULES),
)

RESTORER = Family(
    "restorer",
    "danqing",
    has("conv_in.weight", "down.0.0.conv1.weight", "up.0.0.conv1.weight", "conv_out.weight"),
    restorer_facts,
    network("restorer.Restorer"),
    fixed(),
)
