"""What the networks of a model's description are to the painter: its codec and its denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from .. import schedule as schedules
from ..codec import Codec, Pixels, VAECodec
from ..denoise import SCORE_OF_SIGMA, Denoiser, LearnedVariance
from ..errors import InvalidFile
from ..nets.autoencoder_kl import AutoencoderKL
from ..nets.pixel_unet import PixelUNet, ScoreUNet
from ..nets.unet import UNet
from ..run.cost import counted
from ..run.engine.engines import ENGINES
from ..store.model import Model
from ..weights.load import outline

#: Bytes a pixel that decoding takes at most, so that what has room for as many need not be counted.
AMPLE = 8192


def codec_of(model: Model, nets: Mapping[str, nn.Module]) -> Codec:
    """That of the model's autoencoder; a network of pixels needs none."""
    vae, net = nets.get("codec"), nets["denoiser"]
    if isinstance(vae, AutoencoderKL):
        return VAECodec(vae)
    if vae is not None or not isinstance(net, PixelUNet):
        raise InvalidFile(f"{model.source}: the codec must be an autoencoder-kl")
    if net.config.in_channels != Pixels.channels:
        raise InvalidFile(
            f"{model.source}: pictures have {Pixels.channels} channels, and its denoiser reads {net.config.in_channels}"
        )
    return Pixels()


def denoiser_of(model: Model, net: nn.Module, unsaid: str = "") -> Denoiser:
    """What the network's answer means: of twice the channels that it reads the second half is a variance.

    Args:
        unsaid: the prediction where the model states none; the network is asked where this is not said either.
    """
    if "kind" not in model.schedule:
        raise InvalidFile(
            f"{model.source} states no schedule: one with a kind, such as cosine, is what its denoiser was trained on"
        )
    schedule, prediction = schedules.schedule(**model.schedule), model.prediction or unsaid or prediction_of(net)
    if isinstance(net, ScoreUNet) != (prediction == "score") and isinstance(net, PixelUNet):
        what = f"a {type(net).__name__} does not predict {prediction}"
        raise InvalidFile(f"{model.source}: {what}: a score-unet predicts score, no other does")
    if not isinstance(net, PixelUNet):
        return Denoiser(net, schedule, prediction)
    kind = LearnedVariance if net.config.out_channels == 2 * net.config.in_channels else Denoiser
    return kind(net, schedule, SCORE_OF_SIGMA if isinstance(net, ScoreUNet) else prediction)


@torch.inference_mode()
def prediction_of(net: nn.Module) -> str:
    """What a UNet's output means, where no file says: asked of pure noise of 0.5, one that predicts v turns it around,
    v = alpha eps - sigma x_0 with alpha near 0, so that its mean lies far below its input's; one that predicts eps
    gives it back."""
    if not isinstance(net, UNet):
        raise InvalidFile(
            "its description does not say what the denoiser predicts: state prediction, as eps, v or flow"
        )
    one = next(net.parameters())
    half = one.new_full((1, net.config.in_channels, 8, 8), 0.5)
    tokens = one.new_full((1, 77, net.config.cross_attention_dim), 0.5)
    out = net(half, torch.full((1,), 999.0, device=one.device), tokens)
    return "v" if float((out.float() - half[:, : out.shape[1]].float()).mean()) < -1 else "eps"


class Outline(NamedTuple):
    """A network on the meta device, as an engine computes it.

    Args:
        net: names and shapes, no numbers.
        stead: by its layers, the bytes that stood in the place of each one's weight when it was called.
    """

    net: nn.Module
    stead: Callable[[], Mapping[nn.Module, int]]


def outlines(model: Model, dtypes: Mapping[str, torch.dtype], engine: str) -> dict[str, Outline]:
    """The networks of a model by their roles, each in the type of its role, by their files' headers alone."""
    found = dict[str, Outline]()
    for role, dtype in dtypes.items():
        part = model.components[role]
        net = outline(
            model.file_of(role), family=part.family, part=part.part or None, config=part.config or None, dtype=dtype
        )
        found[role] = Outline(net, ENGINES[engine].sketch(net))
    return found


def decoding(model: Model, dtype: torch.dtype, engine: str) -> Callable[[int, int], int]:
    """How many bytes the model's codec makes at once to decode so many cells, height and width: counted on the meta
    device where it may matter."""

    @cache
    def codec() -> Codec:
        roles = {role: dtype for role in ("denoiser", "codec") if role in model.components}
        return codec_of(model, {role: each.net for role, each in outlines(model, roles, engine).items()})

    @cache
    def takes(height: int, width: int) -> int:
        latent = torch.zeros(1, codec().channels, height, width, device="meta")
        return counted(lambda: codec().decode(latent))[1].peak

    return takes
