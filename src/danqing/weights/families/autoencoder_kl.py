"""Autoencoders of latent diffusion."""

from __future__ import annotations

import math
from dataclasses import replace

from ..facts import Facts, Shapes, count, groups
from ..family import Family, fixed, has, network
from ..layouts import ldm
from ..layouts.diffusers import ATTENTION
from ..layouts.keymap import KeyMap


def autoencoder_kl_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.autoencoder_kl.AutoencoderKLConfig`. A picture has 3 channels, so that more are a patch of pixels.
    No shape tells the scale: assumed are 0.18215 of 1.x and 2.x (XL has 0.13025) and, for 16 channels, 1.5305 with the
    shift 0.0609 of 3 (FLUX has 0.3611, 0.1159)."""
    levels = range(count(shapes, "encoder.down_blocks.{}.resnets.0.conv1.weight"))
    widths = tuple(shapes[f"encoder.down_blocks.{i}.resnets.0.conv1.weight"][0] for i in levels)
    latent = shapes["decoder.conv_in.weight"][1]
    read, written = shapes["encoder.conv_in.weight"][1], shapes["decoder.conv_out.weight"][0]
    side = math.isqrt(read // 3)
    patch = side if read == 3 * side**2 else 1
    inferred = {
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
    return Facts(inferred=inferred, assumed=assumed | {"scaling_factor": scale, "shift_factor": shift}, unknown=unknown)


def sdxl_autoencoder_facts(shapes: Shapes) -> Facts:
    """The autoencoder of a file that is known to be SDXL's."""
    facts = autoencoder_kl_facts(shapes)
    return replace(facts, assumed={**facts.assumed, "scaling_factor": 0.13025})


AUTOENCODER_KL = Family(
    "autoencoder-kl",
    "diffusers",
    has(
        "encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight", no=("time_conv",)
    ),
    autoencoder_kl_facts,
    network("autoencoder_kl.AutoencoderKL"),
    fixed(ATTENTION),
)

#: What its training leaves in a file.
LEFT = (("loss.{key*}", None), ("model_ema.{key*}", None))

AUTOENCODER_LDM = AUTOENCODER_KL._replace(
    layout="LDM",
    detect=has("encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight", no=("quantize.", "time_")),
    keymap=lambda shapes: KeyMap((LEFT, *ldm.autoencoder(shapes).stages)),
)
