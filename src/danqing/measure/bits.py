"""How many bits a colour number of a picture costs under a model, for the families that have a likelihood.

| family | bits | how |
|---|---|---|
| VAE | at most | the evidence lower bound (`learn.objectives.elbo`) |
| PixelCNN | exactly | of the symbols that it paints with: those of a palette are not the bytes of the art |
| diffusion of pixels with learned variance | at most | the bound over its levels (`learn.objectives.ddpm`) |
| other diffusion of pixels | about | the probability flow, with its dequantised bytes (`learn.measures.likelihood`) |
| GANs, diffusion of latents | none | they define no density of pictures |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..denoise import Denoiser, LearnedVariance
from ..learn.measures.likelihood import bits_per_dim, dequantise, log_likelihood
from ..learn.objectives import ddpm
from ..learn.objectives.autoregressive import Autoregressive
from ..learn.objectives.elbo import EvidenceBound
from ..learn.objectives.scores import rademacher
from ..levels import levels_of
from ..nets.pixel_heads import Palette
from ..nets.pixelcnn import PixelCNN
from ..nets.vae import VAE
from ..noise import keyed
from ..painting.generators.base import Generator
from ..painting.loaded import LoadedModel
from ..painting.painter import Painter
from ..request.request import Request
from ..types import Conditioning
from .gallery import Gallery

#: Of how many pictures they are the mean; of how many parts of the levels one level stands for its part; steps of the
#: flow.
FEW, STRATA, STEPS = 24, 40, 16


class Bits(NamedTuple):
    """Bits a colour number, the mean over pictures, its standard error, and what they are."""

    mean: float
    error: float
    of: str


def of(loaded: LoadedModel, gallery: Gallery, prompts: Sequence[str]) -> Bits | None:
    """The bits of a gallery's pictures at the size that the model paints, as it hears these prompts; None where it has
    no likelihood. They are computed in fp32, for a likelihood adds up many small numbers."""
    pixels = isinstance(loaded, Painter) and loaded.codec.factor == 1
    if not pixels and not (isinstance(loaded, Generator) and isinstance(loaded.net, VAE | PixelCNN)):
        return None
    loaded, asked = loaded.in_precision("fp32"), prompts[: len(gallery.paths)]
    side = loaded.resolve(Request(model=loaded.model.source, prompt=asked[0])).width
    pictures = gallery.pictures(side).to(loaded.device)
    with torch.no_grad():
        if isinstance(loaded, Painter) and isinstance(loaded.denoiser, LearnedVariance):
            each = ddpm.bound_bits(
                loaded.denoiser, levels_of(pictures), _conditioning(loaded, asked), keyed("bits"), STRATA
            )
            said = "at most, by the variational bound"
        elif isinstance(loaded, Painter):
            each, said = (
                flow(loaded.denoiser, levels_of(pictures), _conditioning(loaded, asked)),
                "by the probability flow",
            )
        else:
            assert isinstance(loaded, Generator)
            each, said = _of_generator(loaded, pictures, asked)
    return Bits(float(each.mean()), float(each.std() / len(each) ** 0.5), f"{said}; {len(each)} pictures at {side} px")


def _of_generator(loaded: Generator, pictures: Tensor, asked: Sequence[str]) -> tuple[Tensor, str]:
    """Of a VAE or a PixelCNN."""
    if isinstance(loaded.net, VAE):
        return elbo(loaded.net, levels_of(pictures)), "at most, by the evidence lower bound"
    palette = isinstance(loaded.net.head, Palette)
    what = f"symbols of a palette of {loaded.net.config.levels} colours, not of bytes" if palette else "its symbols"
    return exact(loaded.net, pictures, _labels(loaded, asked)), f"exact, of {what}"


def elbo(net: VAE, x: Tensor) -> Tensor:
    """The evidence lower bound with one draw of the latent a picture: bits a number, (B,), of x (B, 3, S, S) in [-1,
    1]."""
    return torch.stack([EvidenceBound()(net, one[None], keyed("bits", i))["bits"] for i, one in enumerate(x)])


def exact(net: PixelCNN, pictures: Tensor, labels: Tensor | None) -> Tensor:
    """The bits of the symbols that stand for bytes (B, 3, S, S) of classes (B,), in bits a colour number, (B,)."""
    symbols = net.head.quantise(pictures)
    each = [None if labels is None else labels[i : i + 1] for i in range(len(symbols))]
    return torch.stack(
        [Autoregressive()(net, (one[None], label), keyed())["loss"] for one, label in zip(symbols, each, strict=True)]
    )


def flow(model: Denoiser, x: Tensor, cond: Conditioning) -> Tensor:
    """The bits of the probability flow, of bytes spread over their bins, with one probe of the divergence: (B,)."""
    spread = dequantise(x, keyed("bits"))
    probes = rademacher(1, keyed("probes"), spread)
    found = log_likelihood(lambda x, t: model(x, t, cond), model.schedule, spread, steps=STEPS, probes=probes)
    return bits_per_dim(found.log_p, x[0].numel())


def _labels(loaded: Generator, prompts: Sequence[str]) -> Tensor | None:
    """The classes that the prompts name, (B,); None where the model knows none."""
    asked = (
        loaded.resolve(Request(model=loaded.model.source, prompt=prompt, seed=i)) for i, prompt in enumerate(prompts)
    )
    labels = [label for label in map(loaded.label, asked) if label is not None]
    return torch.cat(labels) if labels else None


def _conditioning(loaded: Painter, prompts: Sequence[str]) -> Conditioning:
    """The conditionings of the prompts, one below the other."""
    requests = (loaded.resolve(Request(model=loaded.model.source, prompt=prompt)) for prompt in prompts)
    first, *others = (loaded.encode(request).scenes[0].terms[0][0] for request in requests)
    return first.cat(*others).map(torch.clone)  # painting may have left tensors that no gradient goes through
