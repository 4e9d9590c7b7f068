"""Bits a number are those of distributions that are known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from danqing.denoise import Denoiser, LearnedVariance
from danqing.learn.objectives import ddpm
from danqing.measure import bits
from danqing.measure.gallery import Gallery
from danqing.nets.pixelcnn import PixelCNN, PixelCNNConfig
from danqing.nets.vae import VAE, VAEConfig
from danqing.noise import keyed
from danqing.painting.generators.families import PixelCNNPainter
from danqing.schedule import VP, Linear
from danqing.store.model import Component, Model
from danqing.types import Conditioning, Denoised

NONE = Conditioning(tokens=torch.zeros(1, 1, 1))
VECTORS = VAEConfig(image_size=8, latent_dim=4, widths=(4, 4), norm_num_groups=2)


def pictures(count: int = 6, side: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=keyed("pictures"), dtype=torch.uint8)


def evenly() -> PixelCNN:
    """Every one of five colours as likely as any other."""
    net = PixelCNN(PixelCNNConfig(levels=5, embedding=3, hidden=6, classes=2, width=4, first=3, dilations=(1,)))
    nn.init.zeros_(net.head.out[0].weight)  # type: ignore[index, union-attr]
    nn.init.zeros_(net.head.out[0].bias)  # type: ignore[index, union-attr]
    return net.eval()


@torch.no_grad()
def test_symbols_that_are_all_as_likely_cost_the_log_of_their_number():
    found = bits.exact(evenly(), pictures(), torch.tensor([0, 1] * 3))
    torch.testing.assert_close(found, torch.full((6,), math.log2(5) / 3))


@torch.no_grad()
def test_a_vae_whose_density_is_wider_than_all_bytes_costs_its_bytes_alike_and_nothing_for_a_latent_like_the_prior():
    """Posterior N(0, I), decoder constant: the bound is the code length of bytes under one Laplace density, to the last
    digit."""
    torch.manual_seed(0)
    net = VAE(VECTORS)
    for layer in (net.encoder.out, net.decoder.conv_out):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    net.log_scale.fill_(0.0)
    byte = torch.arange(256).double() / 127.5 - 1
    laplace, half = torch.distributions.Laplace(0.0, 1.0), 1 / 255
    p = laplace.cdf(byte + half) - laplace.cdf(byte - half)
    p[0], p[-1] = laplace.cdf(byte[0] + half), 1 - laplace.cdf(byte[-1] - half)
    shown = pictures()
    want = -p.log2()[shown.long()].flatten(1).mean(1)
    torch.testing.assert_close(bits.elbo(net, shown.float() / 127.5 - 1).double(), want, rtol=1e-4, atol=0)


class Guess(nn.Module):
    """An eps, and v = 1/2, wherever it is asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((), 0.5))

    def forward(self, x: Tensor, *_: object, **__: object) -> Tensor:
        return torch.cat([self.weight * x, torch.zeros_like(x)], 1)


@torch.no_grad()
def test_the_estimate_by_strata_is_the_whole_bound_on_average():
    schedule = Linear(start=0.01, end=0.3, count=20)
    model = LearnedVariance(Guess(), schedule, "eps")
    x = pictures(400, 4).float() / 127.5 - 1
    cond = Conditioning(tokens=torch.zeros(400, 1, 1))
    whole = ddpm.bound_bits(model, x, cond, keyed("whole")).mean()
    for strata in (4, 19):  # a level of five stands for all; every level for itself
        torch.testing.assert_close(
            ddpm.bound_bits(model, x, cond, keyed("bits"), strata).mean(), whole, rtol=0.03, atol=0
        )


class Standard(Denoiser):
    """E[x_0 | x_t] = alpha x_t of data N(0, I) under a schedule that keeps the variance."""

    def __init__(self):
        nn.Module.__init__(self)
        self.schedule = VP()

    def forward(self, x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        return Denoised(self.schedule(t)[0].view(-1, 1, 1, 1).to(x) * x)


def test_the_flow_of_normal_data_costs_what_a_normal_density_costs():
    x = pictures().float() / 127.5 - 1
    want = (0.5 * x.square() + 0.5 * math.log(2 * math.pi) - math.log(2 / 255)).flatten(1).mean(1) / math.log(2)
    torch.testing.assert_close(bits.flow(Standard(), x, NONE), want, rtol=2e-3, atol=0)


def test_a_model_is_asked_at_its_own_size_in_fp32_and_one_without_likelihood_is_not(tmp_path, monkeypatch):
    for i, picture in enumerate(pictures(5, 16)):
        Image.fromarray(np.asarray(picture.movedim(0, -1))).save(tmp_path / f"{i}.png")
    model = Model(
        folder=tmp_path, name="x", components={"generator": Component(family="pixelcnn", file="x")}, source="x",
        text={"kind": "classes", "names": [["cat"], ["dog"]]}, defaults={"width": 8, "height": 8, "truncation": 1.0},
    )  # fmt: skip
    asked = []
    painter = PixelCNNPainter(
        model=model, nets={"generator": evenly()}, device=torch.device("cpu"), dtype=torch.float32, engine="torch",
        sibling=lambda source, computed: asked.append(computed["precision"]) or painter,
    )  # fmt: skip
    found = bits.of(painter, Gallery.of(tmp_path), ["dog"] * 5)
    assert (
        found is not None
        and asked == ["fp32"]
        and found.mean == pytest.approx(math.log2(5) / 3)
        and found.error == pytest.approx(0)
    )
    assert "5 colours, not of bytes; 5 pictures at 8 px" in found.of
    painter.net = nn.Linear(1, 1)
    assert bits.of(painter, Gallery.of(tmp_path), ["dog"] * 5) is None
