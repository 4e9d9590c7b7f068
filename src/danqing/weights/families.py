"""Every network that a file can hold, and how to tell: one explicit tuple, `FAMILIES`.

A family stands in it once a layout: its own (that of diffusers and transformers), and those of other published files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import InvalidFile, UnknownName
from . import infer
from .beside import BESIDE
from .family import CONFIG_KEY, FAMILY_KEY, Classes, Family, fixed, has, inside, placed
from .infer import Facts, Shapes
from .keymap import KeyMap
from .maps import ldm, openclip, sd3
from .store import Header

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CONFIG_KEY", "FAMILIES", "FAMILY_KEY", "NAMES", "Family", "candidates", "find", "of"]


def sdxl_autoencoder(shapes: Shapes) -> Facts:
    """The autoencoder of a file that is known to be SDXL's."""
    facts = infer.autoencoder_kl(shapes)
    return dataclasses.replace(facts, assumed={**facts.assumed, "scaling_factor": 0.13025})


def _unet() -> Classes:
    from ..nets.unet import UNet, UNetConfig

    return UNet, UNetConfig


def _drafted_unet() -> Classes:
    from ..nets.drafted import DraftedUNet, DraftedUNetConfig

    return DraftedUNet, DraftedUNetConfig


def _pixel_unet() -> Classes:
    from ..nets.pixel_unet import PixelUNet, PixelUNetConfig

    return PixelUNet, PixelUNetConfig


def _score_unet() -> Classes:
    from ..nets.pixel_unet import PixelUNetConfig, ScoreUNet

    return ScoreUNet, PixelUNetConfig


def _autoencoder_kl() -> Classes:
    from ..nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig

    return AutoencoderKL, AutoencoderKLConfig


def _clip() -> Classes:
    from ..nets.clip import CLIP, CLIPConfig

    return CLIP, CLIPConfig


def _clip_text() -> Classes:
    from ..nets.clip import CLIPText, CLIPTextConfig

    return CLIPText, CLIPTextConfig


def _clip_vision() -> Classes:
    from ..nets.clip import CLIPVision, CLIPVisionConfig

    return CLIPVision, CLIPVisionConfig


def _mmdit() -> Classes:
    from ..nets.mmdit import MMDiT, MMDiTConfig

    return MMDiT, MMDiTConfig


def _t5() -> Classes:
    from ..nets.t5 import T5, T5Config

    return T5, T5Config


def _vae() -> Classes:
    from ..nets.vae import VAE, VAEConfig

    return VAE, VAEConfig


def _pixelcnn() -> Classes:
    from ..nets.pixelcnn import PixelCNN, PixelCNNConfig

    return PixelCNN, PixelCNNConfig


def t5(shapes: Shapes) -> KeyMap:
    """T5's table of tokens has two names in transformers; a file holds one or both."""
    return KeyMap(((("encoder.embed_tokens.weight", None if "shared.weight" in shapes else "shared.weight"),),))


#: Old files hold the numbers 0, 1, 2, ... as a tensor.
POSITIONS = (("{tower}.embeddings.position_ids", None),)
#: The names of attention between the cells of a grid before diffusers 0.17.
ATTENTION = tuple(
    (f"{{block*}}.attentions.{{i}}.{old}.{{end}}", f"{{block*}}.attentions.{{i}}.{new}.{{end}}")
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
)
TEXT_KEY = "text_model.embeddings.token_embedding.weight"
IMAGE_KEY = "vision_model.embeddings.patch_embedding.weight"

UNET = Family(
    "unet",
    "diffusers",
    has(
        "conv_in.weight",
        "time_embedding.linear_1.weight",
        "down_blocks.0.resnets.0.time_emb_proj.weight",
        no=("controlnet_", "motion_modules", "lora", "draft.", "mid_block.attentions.0.group_norm"),
    ),
    infer.unet,
    _unet,
    fixed(),
)
DRAFTED_UNET = Family(
    "drafted-unet", "danqing", has("conv_in.weight", "draft.linear.weight"), infer.drafted_unet, _drafted_unet, fixed()
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
    infer.pixel_unet,
    _pixel_unet,
    fixed(ATTENTION),
)
SCORE_UNET = PIXEL_UNET._replace(
    name="score-unet",
    detect=has("conv_in.weight", "time_proj.weight", "mid_block.attentions.0.group_norm.weight", no=("skip_conv",)),
    classes=_score_unet,
)
UNET_LDM = UNET._replace(
    layout="LDM",
    detect=has("input_blocks.0.0.weight", "time_embed.0.weight", "output_blocks.0.0.in_layers.0.weight", no=("lora",)),
    keymap=ldm.unet,
)
AUTOENCODER_KL = Family(
    "autoencoder-kl",
    "diffusers",
    has(
        "encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight", no=("time_conv",)
    ),
    infer.autoencoder_kl,
    _autoencoder_kl,
    fixed(ATTENTION),
)
AUTOENCODER_LDM = AUTOENCODER_KL._replace(
    layout="LDM",
    detect=has("encoder.down.0.block.0.conv1.weight", "decoder.up.0.block.0.conv1.weight", no=("quantize.", "time_")),
    keymap=lambda shapes: KeyMap(((("loss.{key*}", None),), *ldm.autoencoder(shapes).stages)),
)
CLIP = Family("clip", "transformers", has(TEXT_KEY, IMAGE_KEY), infer.clip, _clip, fixed(POSITIONS))
CLIP_TEXT = Family(
    "clip-text",
    "transformers",
    has(TEXT_KEY, no=("vision_model.",)),
    infer.clip_text,
    _clip_text,
    fixed((*POSITIONS, ("logit_scale", None))),  # the temperature of the contrast, which a tower alone has no use for
)
CLIP_VISION = Family(
    "clip-vision",
    "transformers",
    has(IMAGE_KEY, no=("text_model.",)),
    infer.clip_vision,
    _clip_vision,
    fixed(POSITIONS),
)
MMDIT = Family(
    "mmdit",
    "diffusers",
    has(
        "pos_embed.proj.weight",
        "time_text_embed.text_embedder.linear_1.weight",
        "context_embedder.weight",
        no=("lora",),
    ),
    infer.mmdit,
    _mmdit,
    fixed(),
)

MMDIT_SD3 = MMDIT._replace(
    layout="Stability AI",
    detect=has(
        "joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight", "context_embedder.weight", no=("lora",)
    ),
    keymap=sd3.mmdit,
)
T5 = Family(
    "t5",
    "transformers",
    has(
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        no=("decoder.", "lora"),
    ),
    infer.t5,
    _t5,
    t5,
)
VAE = Family(
    "vae", "danqing", has("encoder.conv_in.weight", "decoder.inward.weight", "log_scale"), infer.vae, _vae, fixed()
)
PIXELCNN = Family(
    "pixelcnn",
    "danqing",
    has("first.vertical.weight", "first.horizontal.weight", "first.link.weight"),
    infer.pixelcnn,
    _pixelcnn,
    fixed(),
)
# The towers as transformers 5 writes them when they have no projection.
CLIP_TEXT_5 = CLIP_TEXT._replace(
    layout="transformers 5",
    detect=has("embeddings.token_embedding.weight", "final_layer_norm.weight"),
    keymap=fixed((("{key*}", "text_model.{key*}"),), POSITIONS),
)
CLIP_VISION_5 = CLIP_VISION._replace(
    layout="transformers 5",
    detect=has("embeddings.patch_embedding.weight", "pre_layrnorm.weight"),
    keymap=fixed((("{key*}", "vision_model.{key*}"),), POSITIONS),
)
OPENCLIP = ("token_embedding.weight", "positional_embedding", "transformer.resblocks.0.attn.in_proj_weight")
CLIP_TEXT_OPEN = CLIP_TEXT._replace(
    layout="OpenCLIP",
    detect=has(*OPENCLIP, no=("visual.",)),
    keymap=fixed(openclip.TEXT, cuts=openclip.CUTS),
)

#: Networks in the order in which a file is asked for them.
FAMILIES: tuple[Family, ...] = (
    UNET,
    DRAFTED_UNET,
    AUTOENCODER_KL,
    CLIP,
    CLIP_TEXT,
    CLIP_VISION,
    MMDIT,
    T5,
    VAE,
    PIXELCNN,
    PIXEL_UNET,
    SCORE_UNET,
    UNET_LDM,
    AUTOENCODER_LDM,
    MMDIT_SD3,
    CLIP_TEXT_5,
    CLIP_VISION_5,
    CLIP_TEXT_OPEN,
    # One tower of a whole CLIP.
    CLIP_TEXT._replace(
        part="text",
        layout="a whole CLIP",
        detect=CLIP.detect,
        keymap=fixed(
            (("vision_model.{key*}", None), ("visual_projection.{end}", None), ("logit_scale", None)), POSITIONS
        ),
    ),
    CLIP_VISION._replace(
        part="vision",
        layout="a whole CLIP",
        detect=CLIP.detect,
        keymap=fixed((("text_model.{key*}", None), ("text_projection.{end}", None), ("logit_scale", None)), POSITIONS),
    ),
    CLIP_TEXT_OPEN._replace(
        part="text",
        layout="a whole CLIP of OpenCLIP",
        detect=lambda keys: has(*OPENCLIP)(keys) and not CLIP_TEXT_OPEN.detect(keys),
        keymap=fixed((("visual.{key*}", None),), openclip.TEXT, cuts=openclip.CUTS),
    ),
    # The networks of a single file.
    placed(UNET_LDM, "denoiser", "model.diffusion_model."),
    placed(MMDIT_SD3, "denoiser", "model.diffusion_model."),
    placed(
        AUTOENCODER_LDM,
        "codec",
        "first_stage_model.",
        layout="a single file of SDXL",
        infer=sdxl_autoencoder,
        detect=lambda keys: (
            inside("first_stage_model.", AUTOENCODER_LDM.detect)(keys)
            and any(name.startswith("conditioner.embedders.") for name in keys)
        ),
    ),
    placed(AUTOENCODER_LDM, "codec", "first_stage_model."),
    placed(CLIP_TEXT, "text", "cond_stage_model.transformer."),
    placed(CLIP_TEXT_5, "text", "cond_stage_model.transformer."),
    placed(CLIP_TEXT_OPEN, "text", "cond_stage_model.model.", layout="a single file of SD2"),
    placed(CLIP_TEXT, "text", "conditioner.embedders.0.transformer.", layout="a single file of SDXL"),
    placed(CLIP_TEXT_OPEN, "text_2", "conditioner.embedders.1.model.", layout="a single file of SDXL"),
    placed(CLIP_TEXT_OPEN, "text", "conditioner.embedders.0.model.", layout="a single file of SDXL's refiner"),
    placed(CLIP_TEXT, "text", "text_encoders.clip_l.transformer.", layout="a single file of SD3"),
    placed(CLIP_TEXT, "text_2", "text_encoders.clip_g.transformer.", layout="a single file of SD3"),
    placed(T5, "text_3", "text_encoders.t5xxl.transformer.", layout="a single file of SD3"),
    *BESIDE,
)
NAMES = tuple(dict.fromkeys(family.name for family in FAMILIES))


def candidates(header: Header) -> list[Family]:
    """The networks in a file, each in the first layout that fits; a network that is all of the file has no part.

    Raises:
        InvalidFile: the file is ours, of a family that is not known here.
    """
    said = header.metadata.get(FAMILY_KEY)
    if said is not None and said not in NAMES:
        unknown = UnknownName("family", said, NAMES)
        raise InvalidFile(f"{header.path} was written by another version of danqing: {unknown}")
    found = [family for family in FAMILIES if family.detect(header.tensors)]
    first = {(family.name, family.part): family for family in reversed(found)}
    return [family for family in found if first[family.name, family.part] is family]


def find(header: Header, name: str | None = None, part: str | None = None) -> Family:
    """The family of a file, or the one of its networks that is named by family, by part, or by both.

    Raises:
        UnknownName: ``name`` is no family.
        InvalidFile: the file holds no network of a family, not the one named, or several that could be meant.
    """
    if name is not None and name not in NAMES:
        raise UnknownName("family", name, NAMES)
    found = candidates(header)
    if not found:
        raise InvalidFile(
            f"{header.path} holds no network that is known here (it starts with the tensors {some(header.tensors)}). "
            f"Known are {', '.join(NAMES)}; `danqing inspect` says what else a file may be"
        )
    wanted = [family for family in found if name in (None, family.name) and part in (None, family.part)]
    wanted = [family for family in wanted if family.whole] or wanted
    if not wanted:
        asked = " as ".join(filter(None, (name, part and f"the part {part!r}")))
        raise InvalidFile(f"{header.path} holds no {asked}, but {listed(found)}")
    if len(wanted) > 1 and not wanted[0].whole:
        raise InvalidFile(f"{header.path} holds several networks: name one by its part, of {listed(wanted)}")
    return wanted[0]


def listed(families: Collection[Family]) -> str:
    """The networks of a file, by part and family."""
    return ", ".join(f"{family.part} ({family.name})" if family.part else family.name for family in families)


def of(module: nn.Module) -> Family:
    """The family whose network a module is.

    Raises:
        UnknownName: it is none.
    """
    for family in FAMILIES:
        if family.whole and type(module) is family.classes()[0]:
            return family
    raise UnknownName("network", type(module).__name__, NAMES)


def some(names: Collection[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(repr(name) for name in list(names)[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
