"""The adapter that danqing-mini learns: where it begins, and what learning reaches."""

from __future__ import annotations

import torch
from experiments.image_prompt import Prompted, adapter, seeing
from tests.conftest import UNET

from danqing.denoise import Denoiser
from danqing.learn.training.loop import EMA
from danqing.nets.ip_adapter import places
from danqing.nets.unet import UNet
from danqing.schedule import Flow
from danqing.types import Conditioning


def model() -> Prompted:
    torch.manual_seed(0)
    net = UNet(UNET)
    return Prompted(Denoiser(net, Flow(shift=3.0), "flow").requires_grad_(False), adapter(net, 6))


def batch(seed: int = 0) -> tuple[torch.Tensor, Conditioning, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    said = Conditioning(tokens=torch.randn(3, 5, 16, generator=draw))
    return torch.randn(3, 4, 8, 8, generator=draw), said, torch.randn(3, 6, generator=draw)


def test_keys_and_values_begin_as_those_of_the_text() -> None:
    made = model()
    tokens = torch.randn(2, 4, 16)
    for i, layer in enumerate(places(made.denoiser.net).values()):
        keys, values = made.adapter.keys_values(tokens, i)
        assert torch.equal(keys, layer.to_k(tokens)) and torch.equal(values, layer.to_v(tokens))


def test_what_is_learned_is_the_adapter_alone_all_of_it() -> None:
    made = model()
    assert {name.partition(".")[0] for name, _ in made.named_parameters()} == {"adapter"}
    seeing(made, batch(), torch.Generator().manual_seed(1))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.adapter.parameters())
    assert all(p.grad is None for p in made.denoiser.parameters())


def test_the_loss_is_a_function_of_the_picture_and_the_average_has_a_painter_of_its_own() -> None:
    made = model()
    own = EMA(made, 0.9).model
    assert isinstance(own, Prompted) and own.denoiser is not made.denoiser
    x0, said, seen = batch()
    losses = [
        float(seeing(each, (x0, said, shown), torch.Generator().manual_seed(1))["loss"].detach())
        for each in (made, own)
        for shown in (seen, -seen)
    ]
    assert losses[:2] == losses[2:] and losses[0] != losses[1]
