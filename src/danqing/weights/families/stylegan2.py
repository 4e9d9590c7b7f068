"""What the shapes of StyleGAN2's weights tell. The names are ours already: those of NVlabs/stylegan2-ada-pytorch.

Its pickled files hold three networks, G, D and G_ema; a file of tensors holds one.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network


def pyramid(channels: dict[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the channels of each resolution tell of both networks, and what is assumed.

    Other bases and limits may give the same channels: the smallest of those are assumed, but the published 32768 and
    512 where nothing says that they are smaller.
    """
    most, last = max(channels.values()), max(channels)
    narrow = [width * r for r, width in channels.items() if width < most]
    limited = list(channels.values()).count(most) > 1
    limit = most if limited else max(512, most)
    base = max(narrow if limited else [*narrow, most * min(channels)]) if narrow else max(32768, most * last)
    if wrong := [r for r, width in channels.items() if min(base // r, limit) != width]:
        raise ValueError(f"{channels[wrong[0]]} channels at {wrong[0]} px do not fit {channels[last]} at {last} px")
    return {"resolution": last}, {"channel_base": base, "channel_max": limit}


def generator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.stylegan2.StyleGAN2Config`."""
    colours = {4 << k: name for k in range(16) if (name := f"synthesis.b{4 << k}.torgb.weight") in shapes}
    inferred, assumed = pyramid({r: shapes[name][1] for r, name in colours.items()})
    w_dim, read = shapes["mapping.fc0.weight"]
    classes = shapes.get("mapping.embed.weight", (0, 0))[1]
    inferred |= {
        "z_dim": read - w_dim * bool(classes),
        "w_dim": w_dim,
        "classes": classes,
        "mapping_layers": count(shapes, "mapping.fc{}.weight"),
        "img_channels": shapes[colours[4]][0],
    }
    return Facts(inferred=inferred, assumed=assumed)


def discriminator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.stylegan2.StyleGAN2DiscriminatorConfig`. No shape tells the size of the groups, nor, without
    labels, how many layers a label would pass."""
    blocks = {8 << k: name for k in range(15) if (name := f"b{8 << k}.conv0.weight") in shapes}
    inferred, assumed = pyramid({4: shapes["b4.conv.weight"][0], **{r: shapes[name][0] for r, name in blocks.items()}})
    assumed |= {"group": 4}
    inferred |= {
        "classes": shapes.get("mapping.embed.weight", (0, 0))[1],
        "img_channels": shapes[f"b{max(blocks)}.fromrgb.weight"][1],
    }
    layers = count(shapes, "mapping.fc{}.weight")
    (inferred if layers else assumed)["mapping_layers"] = layers or 8
    return Facts(inferred=inferred, assumed=assumed)


STYLEGAN2 = Family(
    "stylegan2",
    "stylegan2-ada-pytorch",
    has("mapping.fc0.weight", "synthesis.b4.const"),
    generator_facts,
    network("stylegan2.StyleGAN2"),
    fixed(),
)

STYLEGAN2_DISCRIMINATOR = Family(
    "stylegan2-discriminator",
    "stylegan2-ada-pytorch",
    has("b4.conv.weight", "b4.out.weight", "b8.conv0.weight"),
    discriminator_facts,
    network("stylegan2.StyleGAN2Discriminator"),
    fixed(),
)
