"""Reference-only against the published procedure, done with diffusers' UNet and attention processors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from tests.parity import test_unet as unet
from torch import Tensor

from danqing.denoise import Denoiser, coefficients
from danqing.nets.looking import attentions
from danqing.painting.adapters.reference import Glance, How, said
from danqing.request.reference import Reference
from danqing.request.request import Resolved
from danqing.schedule import ScaledLinear
from danqing.types import Conditioning

BASE = torch.tensor([True, False])


class Published:
    """An attention's processor that writes what it is given, or reads that beside it."""

    def __init__(self, weight: float, fidelity: float, mine: float):
        self.looks, self.fidelity, self.writes = weight > mine, fidelity, True
        self.bank: list[Tensor] = []
        self.plain = AttnProcessor2_0()

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        x = hidden_states
        if self.writes:
            self.bank = [x]
        if self.writes or not self.looks:
            return self.plain(attn, x)
        looked = self.plain(attn, x, torch.cat([x, *self.bank], 1))
        kept = looked.clone()
        kept[BASE] = self.plain(attn, x[BASE])
        return self.fidelity * kept + (1 - self.fidelity) * looked


def ordered(net: torch.nn.Module) -> list[BasicTransformerBlock]:
    blocks = [layer for layer in net.modules() if isinstance(layer, BasicTransformerBlock)]
    return sorted(blocks, key=lambda block: -block.norm1.normalized_shape[0])


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def settings(weight: float, fidelity: float) -> tuple[How, Resolved]:
    how = How(Reference(image="x.png", weight=weight, fidelity=fidelity), "reference 0", (16, 16))
    return how, Resolved(prompt="", seed=3, precision="fp32", engine="torch")


def spoken(how: How, request: Resolved, latent: Tensor, tokens: Tensor) -> Conditioning:
    say = said(how, latent, request)
    ((term, _),), base = say(((Conditioning(tokens=tokens[1:]), 1.0),), Conditioning(tokens=tokens[:1]))
    return base.cat(term)


@pytest.mark.parametrize(("weight", "fidelity"), [(1.0, 0.5), (1.0, 0.0), (1.0, 1.0), (0.4, 0.7)])
@torch.no_grad()
def test_a_denoiser_that_looks_answers_as_the_published_procedure(weight: float, fidelity: float) -> None:
    config = unet.TINY["sd1"]
    ours, theirs = unet.pair(config)
    denoiser = Denoiser(ours, ScaledLinear(), "eps")
    x, tokens, latent, t = normal(1, 2, 4, 8, 8), normal(2, 2, 7, 24), normal(3, 1, 4, 6, 12), torch.tensor([0.6, 0.6])
    how, request = settings(weight, fidelity)
    cond = spoken(how, request, latent, tokens)
    noisy = denoiser.noisy(latent, cond.extra["reference 0 noise"][:1], t[:1]).expand(2, -1, -1, -1)
    blocks = ordered(theirs)
    processors = [Published(weight, fidelity, i / len(blocks)) for i in range(len(blocks))]
    for block, processor in zip(blocks, processors, strict=True):
        block.attn1.set_processor(processor)
    time = coefficients(denoiser.prediction, denoiser.schedule, t).time
    theirs(noisy, time, tokens)
    for processor in processors:
        processor.writes = False
    want = theirs(x, time, tokens).sample
    plain = denoiser.predict(x, t, cond)
    off = Glance(denoiser, [how]).put()
    found = denoiser(x, t, cond)
    alpha, sigma = (float(one[0]) for one in denoiser.schedule(t))
    torch.testing.assert_close(found.x0, (x - sigma * want) / alpha, rtol=0, atol=1e-5)
    assert not torch.allclose(want, plain, atol=1e-3)
    off()
    assert torch.equal(denoiser.predict(x, t, cond), plain) and torch.equal(
        denoiser(x, t, cond).x0, denoiser(x, t, replace(cond, extra={})).x0
    )


def test_attentions_are_ordered_as_the_published_ones() -> None:
    ours, theirs = unet.pair(unet.TINY["sd1"])
    names = {block.attn1: name for name, block in theirs.named_modules() if isinstance(block, BasicTransformerBlock)}
    mine = {layer: name.removesuffix(".attn1") for name, layer in ours.named_modules()}
    found = attentions(ours)
    assert [mine[layer] for layer in found] == [names[block.attn1] for block in ordered(theirs)]
    assert [*found.values()] == [i / len(found) for i in range(len(found))]


@torch.no_grad()
def test_two_references_are_read_side_by_side_and_one_twice_is_one_that_weighs_more() -> None:
    ours, _ = unet.pair(unet.TINY["sd1"])
    denoiser = Denoiser(ours, ScaledLinear(), "eps")
    x, tokens, t = normal(1, 2, 4, 8, 8), normal(2, 2, 7, 24), torch.tensor([0.6, 0.6])
    one, request = settings(1.0, 1.0)
    two = one._replace(name="reference 1")
    cond = spoken(one, request, normal(3, 1, 4, 6, 12), tokens)
    other = spoken(two, request, normal(4, 1, 4, 8, 8), tokens)
    answers = []
    for members, extra in (([one], cond.extra), ([two], other.extra), ([one, two], {**cond.extra, **other.extra})):
        off = Glance(denoiser, members).put()
        answers.append(denoiser(x, t, replace(cond, extra=extra)).x0)
        off()
    first, second, both = answers
    assert not torch.allclose(both, first, atol=1e-3) and not torch.allclose(both, second, atol=1e-3)
    torch.testing.assert_close(both[0], denoiser(x, t, replace(cond, extra={})).x0[0])  # the base did not look
