"""The families beside diffusion: adversarial networks, and those that enlarge or restore. `families.FAMILIES` takes
them in."""

from __future__ import annotations

from .family import Classes, Family, fixed, has
from .maps import biggan, cyclegan, esrgan, gfpgan, stylegan2


def _stylegan2() -> Classes:
    from ..nets.stylegan2 import StyleGAN2, StyleGAN2Config

    return StyleGAN2, StyleGAN2Config


def _stylegan2_discriminator() -> Classes:
    from ..nets.stylegan2 import StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig

    return StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig


def _biggan() -> Classes:
    from ..nets.biggan import BigGAN, BigGANConfig

    return BigGAN, BigGANConfig


def _biggan_discriminator() -> Classes:
    from ..nets.biggan import BigGANDiscriminator, BigGANDiscriminatorConfig

    return BigGANDiscriminator, BigGANDiscriminatorConfig


def _cyclegan() -> Classes:
    from ..nets.cyclegan import CycleGAN, CycleGANConfig

    return CycleGAN, CycleGANConfig


def _patchgan() -> Classes:
    from ..nets.cyclegan import PatchGAN, PatchGANConfig

    return PatchGAN, PatchGANConfig


def _rrdb() -> Classes:
    from ..nets.rrdb import RRDBNet, RRDBNetConfig

    return RRDBNet, RRDBNetConfig


def _srvgg() -> Classes:
    from ..nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig

    return SRVGGNetCompact, SRVGGNetCompactConfig


def _gfpgan() -> Classes:
    from ..nets.gfpgan import GFPGAN, GFPGANConfig

    return GFPGAN, GFPGANConfig


def _restorer() -> Classes:
    from ..nets.restorer import Restorer, RestorerConfig

    return Restorer, RestorerConfig


STYLEGAN2 = Family(
    "stylegan2",
    "stylegan2-ada-pytorch",
    has("mapping.fc0.weight", "synthesis.b4.const"),
    stylegan2.generator,
    _stylegan2,
    fixed(),
)
STYLEGAN2_DISCRIMINATOR = Family(
    "stylegan2-discriminator",
    "stylegan2-ada-pytorch",
    has("b4.conv.weight", "b4.out.weight", "b8.conv0.weight"),
    stylegan2.discriminator,
    _stylegan2_discriminator,
    fixed(),
)
BIGGAN = Family(
    "biggan",
    "BigGAN-PyTorch",
    has("shared.weight", "linear.u0", "blocks.0.0.bn1.gain.weight"),
    biggan.generator,
    _biggan,
    fixed(),
)
BIGGAN_DISCRIMINATOR = Family(
    "biggan-discriminator",
    "BigGAN-PyTorch",
    has("embed.u0", "linear.u0", "blocks.0.0.conv1.weight", no=("bn1.",)),
    biggan.discriminator,
    _biggan_discriminator,
    fixed(),
)
CYCLEGAN = Family(
    "cyclegan",
    "pytorch-CycleGAN-and-pix2pix",
    has("model.1.weight", "model.10.conv_block.1.weight"),
    cyclegan.generator,
    _cyclegan,
    fixed(cyclegan.RULES),
)
PATCHGAN = Family(
    "patchgan",
    "pytorch-CycleGAN-and-pix2pix",
    has("model.0.weight", "model.2.weight", "model.5.weight", no=("model.1.", "conv_block", "model.3.weight")),
    cyclegan.discriminator,
    _patchgan,
    fixed(cyclegan.RULES),
)
RRDB = Family(
    "rrdb",
    "Real-ESRGAN",
    has("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight"),
    esrgan.rrdb,
    _rrdb,
    fixed(),
)
SRVGG = Family(
    "srvgg",
    "Real-ESRGAN",
    has("body.0.weight", "body.1.weight", "body.2.weight", no=("lora",)),
    esrgan.srvgg,
    _srvgg,
    fixed(),
)
GFPGAN = Family(
    "gfpgan",
    "GFPGAN",
    has("conv_body_first.weight", "stylegan_decoder.constant_input.weight"),
    gfpgan.gfpgan,
    _gfpgan,
    fixed(gfpgan.RULES),
)
RESTORER = Family(
    "restorer",
    "danqing",
    has("conv_in.weight", "down.0.0.conv1.weight", "up.0.0.conv1.weight"),
    gfpgan.restorer,
    _restorer,
    fixed(),
)

BESIDE: tuple[Family, ...] = (
    STYLEGAN2,
    STYLEGAN2_DISCRIMINATOR,
    BIGGAN,
    BIGGAN_DISCRIMINATOR,
    CYCLEGAN,
    PATCHGAN,
    RRDB,
    RRDB._replace(
        layout="BSRGAN",
        detect=has("conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.weight"),
        keymap=fixed(esrgan.NAMED),
    ),
    RRDB._replace(
        layout="ESRGAN", detect=has("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"), keymap=esrgan.numbered
    ),
    SRVGG,
    GFPGAN,
    RESTORER,
)
