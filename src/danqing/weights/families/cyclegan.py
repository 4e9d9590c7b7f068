"""The layout of CycleGAN's published weights (junyanz/pytorch-CycleGAN-and-pix2pix), which is ours but for two things,
and what their shapes tell.

Files written by PyTorch before 0.4 hold statistics that instance norm does not read. A generator trained with dropout
has one more layer in each block, so that the second convolution is number 6 there and 5 elsewhere.
"""

from __future__ import annotations

from ..facts import Facts, Shapes
from ..family import Family, fixed, has, network
from ..layouts.keymap import Rule

RULES: tuple[Rule, ...] = (
    ("{layer*}.running_mean", None),
    ("{layer*}.running_var", None),
    ("{layer*}.num_batches_tracked", None),
    ("model.{i}.conv_block.6.{end}", "model.{i}.conv_block.5.{end}"),
)


def generator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.cyclegan.CycleGANConfig`: one convolution, two halvings, the blocks from number 10, two doublings,
    one more."""
    channels, read, *_ = shapes["model.1.weight"]
    blocks = sum(name.endswith(".conv_block.1.weight") for name in shapes)
    inferred = {
        "in_channels": read,
        "out_channels": shapes[f"model.{17 + blocks}.weight"][0],
        "channels": channels,
        "blocks": blocks,
    }
    return Facts(inferred=inferred)


def discriminator_facts(shapes: Shapes) -> Facts:
    """`danqing.nets.cyclegan.PatchGANConfig`: numbers 0, 2, 5, 8, .. are convolutions."""
    channels, read, *_ = shapes["model.0.weight"]
    layers = sum(name.endswith(".weight") for name in shapes)
    return Facts(inferred={"in_channels": read, "channels": channels, "halvings": layers - 2})


CYCLEGAN = Family(
    "cyclegan",
    "pytorch-CycleGAN-and-pix2pix",
    has("model.1.weight", "model.10.conv_block.1.weight"),
    generator_facts,
    network("cyclegan.CycleGAN"),
    fixed(RULES),
)

PATCHGAN = Family(
    "patchgan",
    "pytorch-CycleGAN-and-pix2pix",
    has("model.0.weight", "model.2.weight", "model.5.weight", no=("model.1.", "conv_block", "model.3.weight")),
    discriminator_facts,
    network("cyclegan.PatchGAN"),
    fixed(RULES),
)
