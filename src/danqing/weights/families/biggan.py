"""What the shapes of BigGAN's weights tell. The names are ours already: those of ajbrock/BigGAN-PyTorch.

Its generator's files end in G.pth and G_ema.pth, the discriminator's in D.pth. BigGAN-deep has other blocks and is none
of these.
"""

from __future__ import annotations

from ..facts import Facts, Shapes, count
from ..family import Family, fixed, has, network


def attention(shapes: Shapes, blocks: int) -> tuple[int, ...]:
    """The blocks that self-attention follows."""
    return tuple(i for i in range(blocks) if f"blocks.{i}.1.theta.weight" in shapes)


def generator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.biggan.BigGANConfig`."""
    blocks = count(shapes, "blocks.{}.0.conv1.weight")
    classes, shared = shapes["shared.weight"]
    made, chunk = shapes["linear.weight"]
    inferred = {
        "widths": (made // 16, *(shapes[f"blocks.{i}.0.conv1.weight"][0] for i in range(blocks))),
        "attention": attention(shapes, blocks),
        "z_dim": chunk * (blocks + 1),
        "shared_dim": shared,
        "classes": classes,
        "img_channels": shapes["output_layer.2.weight"][0],
    }
    return Facts(inferred=inferred)


def discriminator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.biggan.BigGANDiscriminatorConfig`. No shape tells which blocks halve the grid: those with a
    shortcut may, and the published ones do at all but the last, or, for 32 px, at the first two of four blocks of one
    width."""
    blocks = count(shapes, "blocks.{}.0.conv1.weight")
    shortcuts = count(shapes, "blocks.{}.0.conv_sc.weight")
    inferred = {
        "widths": tuple(shapes[f"blocks.{i}.0.conv1.weight"][0] for i in range(blocks)),
        "attention": attention(shapes, blocks),
        "classes": shapes["embed.weight"][0],
        "img_channels": shapes["blocks.0.0.conv1.weight"][1],
    }
    return Facts(inferred=inferred, assumed={"halvings": shortcuts})


BIGGAN = Family(
    "biggan",
    "BigGAN-PyTorch",
    has("shared.weight", "linear.u0", "blocks.0.0.bn1.gain.weight"),
    generator_facts,
    network("biggan.BigGAN"),
    fixed(),
)

BIGGAN_DISCRIMINATOR = Family(
    "biggan-discriminator",
    "BigGAN-PyTorch",
    has("embed.u0", "linear.u0", "blocks.0.0.conv1.weight", no=("bn1.",)),
    discriminator_facts,
    network("biggan.BigGANDiscriminator"),
    fixed(),
)
