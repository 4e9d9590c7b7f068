"""What the networks of a model's description are to the painter: its codec and its denoiser."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .. import schedule as schedules
from ..codec import Codec, Pixels, VAECodec
from ..denoise import SCORE_OF_SIGMA, Denoiser, LearnedVariance
from ..errors import InvalidFile
from ..nets.autoencoder_kl import AutoencoderKL
from ..nets.pixel_unet import PixelUNet, ScoreUNet
from ..nets.unet import UNet
from ..store.model import Model


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


def denoiser_of(model: Model, net: nn.Module) -> Denoiser:
    """What the network's answer means: of twice the channels that it reads the second half is a variance."""
    if "kind" not in model.schedule:
        raise InvalidFile(
            f"{model.source} states no schedule: one with a kind, such as cosine, is what its denoiser was trained on"
        )
    schedule, prediction = schedules.schedule(**model.schedule), model.prediction or prediction_of(net)
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
