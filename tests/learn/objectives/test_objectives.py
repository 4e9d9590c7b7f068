"""Laws of the objectives: closed forms, optima, distributions."""

import pytest
import torch
from torch import nn

from danqing.denoise import Denoiser
from danqing.learn.objectives.autoencoding import Autoencoding, kl_to_standard_normal
from danqing.learn.objectives.contrastive import contrastive
from danqing.learn.objectives.denoising import Denoising
from danqing.learn.objectives.draws import logit_normal
from danqing.levels import from_arrays
from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.noise import keyed
from danqing.schedule import Cosine, Flow
from danqing.types import Conditioning


def test_kl_equals_torch_distributions():
    mean, logvar = torch.randn(7, generator=keyed("m")), torch.randn(7, generator=keyed("v"))
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * logvar).exp()),
        torch.distributions.Normal(torch.zeros(7), torch.ones(7)),
    )
    torch.testing.assert_close(kl_to_standard_normal(mean, logvar), theirs)


@pytest.mark.parametrize("count", [64, 1000])
def test_logit_normal_times_are_stratified(count):
    t = logit_normal(count, keyed("t", count), mean=0.3, std=0.8).double()
    quantile = torch.special.ndtr((torch.logit(t) - 0.3) / 0.8)
    assert torch.equal((quantile * count).floor().long().sort().values, torch.arange(count))


def test_contrastive_is_zero_for_a_perfect_pairing_and_log_n_for_none():
    pairs = torch.eye(8)
    assert contrastive(pairs, pairs, torch.tensor(100.0)) < 1e-6
    same = pairs[:1].expand(8, -1)
    torch.testing.assert_close(contrastive(same, same, torch.tensor(10.0)), torch.tensor(8.0).log())


class Oracle(nn.Module):
    """A backbone that knows the only picture there is, and answers in the parametrisation asked."""

    def __init__(self, x0: torch.Tensor, schedule: Flow | Cosine, kind: str):
        super().__init__()
        self.x0, self.schedule, self.kind = x0, schedule, kind
        self.off = nn.Parameter(torch.zeros(()))

    def forward(self, x, time, tokens, **_):
        t = time / 1000 if self.kind == "flow" else (time + 1) / 1000
        alpha, sigma = (c.view(-1, 1, 1, 1) for c in self.schedule(t))
        eps = (x - alpha * self.x0) / sigma
        return (eps - self.x0 if self.kind == "flow" else alpha * eps - sigma * self.x0) + self.off


@pytest.mark.parametrize(("kind", "schedule"), [("flow", Flow()), ("v", Cosine())])
def test_denoising_is_zero_for_the_exact_denoiser_and_the_square_of_an_offset(kind, schedule):
    x0 = torch.randn(1, 3, 4, 4, generator=keyed("x0"), dtype=torch.float64)
    oracle = Oracle(x0, schedule, kind).double()
    model, cond = Denoiser(oracle, schedule, kind), Conditioning(tokens=torch.zeros(8, 1, 1))
    batch = (x0.expand(8, -1, -1, -1), cond)
    assert Denoising()(model, batch, keyed("n"))["loss"] < 1e-8
    with torch.no_grad():
        oracle.off.fill_(0.5)
    torch.testing.assert_close(Denoising()(model, batch, keyed("n"))["loss"].item(), 0.25, rtol=1e-4, atol=1e-6)


def test_autoencoding_reaches_every_parameter_and_pictures_round_trip():
    torch.manual_seed(0)
    config = AutoencoderKLConfig(
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=2,
        norm_num_groups=4,
        mid_block_add_attention=False,
        patch=2,
    )
    model = AutoencoderKL(config)
    pixels = torch.randint(0, 256, (2, 16, 16, 3), generator=keyed("p"), dtype=torch.uint8).numpy()
    losses = Autoencoding(equivariance=0.25)(model, from_arrays(pixels), keyed("n"))
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert ((from_arrays(pixels).permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy().tolist() == pixels.tolist()
