"""Laws of counting: what is counted of networks without numbers is what lives, and is multiplied, where they have
them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from danqing.nets.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from danqing.nets.clip import CLIPText, CLIPTextConfig
from danqing.nets.unet import SD1, UNet
from danqing.run.cost import Cost, counted

UNET = replace(SD1, block_out_channels=(8, 16), transformer_layers=(1, 0), attention_heads=(2, 2), norm_num_groups=4)
UNET = replace(UNET, cross_attention_dim=12, layers_per_block=1)
VAE = AutoencoderKLConfig(block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4)
TEXT = CLIPTextConfig(vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)


def unet(device, side=16):
    net, new = UNet(UNET).to(device), {"device": device}
    return lambda: net(torch.zeros(2, 4, side, side, **new), torch.ones(2, **new), torch.zeros(2, 7, 12, **new))


def decoder(device, side=8):
    net = AutoencoderKL(VAE).to(device)
    return lambda: net.decode(torch.zeros(1, 4, side, side, device=device))


def encoder(device, side=16):
    net = AutoencoderKL(VAE).to(device)
    return lambda: net.encode(torch.zeros(1, 3, side, side, device=device)).mode()


def text(device, side=9):
    net = CLIPText(TEXT).to(device)
    return lambda: net(torch.zeros(2, side, dtype=torch.long, device=device)).tokens


WORKS = [unet, decoder, encoder, text]


@pytest.mark.parametrize("make", WORKS)
def test_without_numbers_as_much_is_made_and_multiplied_as_with_them(make):
    assert counted(make("meta"))[1] == counted(make("cpu"))[1]


@pytest.mark.parametrize("make", WORKS)
def test_products_are_those_of_torchs_own_counter(make):
    # Its formulas know attention as products of matrices, and not the processor's kernel.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as theirs:
        make("cpu")()
    assert counted(make("meta"))[1].flops == theirs.get_total_flops() > 0


@pytest.mark.parametrize("make", [unet, decoder, encoder])
def test_a_larger_picture_takes_more_of_everything(make):
    small, large, larger = (counted(make("meta", side))[1] for side in (16, 32, 64))
    assert all(a < b < c for a, b, c in zip(small, large, larger, strict=True))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_peak_is_of_what_is_there_at_once(device):
    size, given = 4000, torch.ones(1000, device=device)

    def chain():
        x = given
        for _ in range(5):
            x = torch.relu(x).view(10, 100)[:, ::1].flatten()  # a view is no memory
        return x

    assert counted(chain)[1].peak == 2 * size
    assert counted(lambda: [torch.relu(given) for _ in range(5)])[1].peak == 5 * size
    assert counted(lambda: given.view(-1).add_(1))[1] == Cost()  # what was there does not count


def test_scores_are_in_the_peak_where_no_kernel_spares_them():
    q, k = torch.empty(2, 3, 50, 8, device="meta"), torch.empty(2, 3, 70, 8, device="meta")
    attend = nn.functional.scaled_dot_product_attention
    fused, plain = (counted(lambda: attend(q, k, k), fused)[1] for fused in (True, False))
    assert fused.scores == plain.scores == 2 * 3 * 50 * 70 * 4 and fused.flops == plain.flops
    assert fused.peak == q.numel() * 4 and plain.peak == 2 * plain.scores
