"""The VAE that paints."""

from __future__ import annotations

import math

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network


def vae_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.vae.VAEConfig`; no shape tells the groups of the norms or the likelihood."""
    levels = range(count(shapes, "encoder.levels.{}.0.conv1.weight"))
    widths = tuple(shapes[f"encoder.levels.{i}.0.conv1.weight"][0] for i in levels)
    cells, latent = shapes["decoder.inward.weight"]
    patch = math.isqrt(shapes["encoder.conv_in.weight"][1] // 3)
    inferred = {
        "widths": widths,
        "layers_per_block": count(shapes, "encoder.levels.0.{}.conv1.weight"),
        "latent_dim": latent,
        "patch": patch,
        "image_size": math.isqrt(cells // widths[-1]) * patch * 2 ** (len(widths) - 1),
    }
    return Facts(inferred=inferred, assumed={"norm_num_groups": 8, "likelihood": "laplace"})


VAE = Family(
    "vae",
    "danqing",
    has("encoder.conv_in.weight", "decoder.inward.weight", "log_scale"),
    vae_facts,
    network("vae.VAE"),
    fixed(),
)
