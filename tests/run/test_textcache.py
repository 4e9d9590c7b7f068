"""Laws of the text cache: fewer projections, the same bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from danqing.nets.drafted import MINI, DraftedUNet
from danqing.nets.unet import CrossAttention, UNet
from danqing.run.textcache import cached_text

CONFIG = replace(
    MINI, block_out_channels=(8, 16, 24), attention_heads=(1, 2, 3), norm_num_groups=4, cross_attention_dim=12,
    pooled_channels=0,
)  # fmt: skip


@pytest.fixture
def net() -> UNet:
    torch.manual_seed(0)
    return UNet(CONFIG)


@pytest.fixture
def calls(net: UNet) -> list[nn.Module]:
    """Grows with every projection of the text."""
    made: list[nn.Module] = []
    for layer in net.modules():
        if isinstance(layer, CrossAttention):
            for projection in (layer.to_k, layer.to_v):
                projection.register_forward_hook(lambda module, *_: made.append(module))
    return made


def draw(seed: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, CONFIG.in_channels, 8, 8, generator=generator)
    return x, torch.rand(batch, generator=generator) * 1000, torch.randn(batch, 5, 12, generator=generator)


@torch.no_grad()
def test_the_same_text_is_projected_once_and_nothing_changes(net: UNet, calls: list[nn.Module]) -> None:
    steps = [draw(seed) for seed in range(4)]
    tokens = steps[0][2]
    want = [net(x, time, tokens) for x, time, _ in steps]
    once = len(calls) // 4
    calls.clear()
    with cached_text(net):
        got = [net(x, time, tokens.clone()) for x, time, _ in steps]  # a new tensor each step, as guidance makes them
    assert all(map(torch.equal, got, want))
    assert len(calls) == once > 0


@torch.no_grad()
def test_another_text_batch_or_precision_is_projected_anew(net: UNet) -> None:
    first, second, third = draw(0), draw(1), draw(2, batch=3)
    want = [net(*call) for call in (first, second, third, first)]
    with torch.autocast("cpu", torch.bfloat16):
        half = net(*first)
    with cached_text(net):
        assert all(map(torch.equal, [net(*call) for call in (first, second, third, first)], want))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(net(*first), half)
        assert torch.equal(net(*first), want[0])


@torch.no_grad()
def test_text_that_was_written_to_in_place_is_projected_anew(net: UNet) -> None:
    x, time, tokens = draw(0)
    with cached_text(net):
        net(x, time, tokens)
        tokens.mul_(2)
        got = net(x, time, tokens=tokens)
    assert torch.equal(got, net(x, time, tokens))


@torch.no_grad()
def test_the_same_summary_is_drafted_once_and_nothing_changes() -> None:
    torch.manual_seed(0)
    net = DraftedUNet(replace(CONFIG, in_channels=4, out_channels=2, pooled_channels=6, draft_hidden=5, draft_blocks=1))
    made: list[nn.Module] = []
    net.draft.register_forward_hook(lambda module, *_: made.append(module))
    x, time, tokens = draw(0)
    said = [torch.ones(2, 6), torch.ones(2, 6), torch.zeros(2, 6), torch.ones(2, 6)]
    want = [net(x[:, :2], time, tokens, pooled=pooled) for pooled in said]
    made.clear()
    with cached_text(net):
        got = [net(x[:, :2], time, tokens, pooled=pooled) for pooled in said]
    assert all(map(torch.equal, got, want))
    assert len(made) == 3  # once for each summary that is not the one before


@torch.no_grad()
def test_what_is_placed_is_drafted_once_and_nothing_changes() -> None:
    torch.manual_seed(0)
    net = DraftedUNet(replace(CONFIG, in_channels=4, out_channels=2, pooled_channels=6, draft_hidden=5, draft_blocks=1))
    made: list[nn.Module] = []
    net.draft.register_forward_hook(lambda module, *_: made.append(module))
    (x, time, tokens), pooled = draw(0), torch.ones(2, 6)
    places = torch.tensor([[[0.3, 0.5, 0.5], [0.7, 0.5, 0.5]]] * 2)
    said = [{"things": value * torch.ones(2, 2, 6), "places": places} for value in (1, 1, 2, 1)]
    want = [net(x[:, :2], time, tokens, pooled=pooled, extra=extra) for extra in said]
    made.clear()
    with cached_text(net):
        got = [net(x[:, :2], time, tokens, pooled=pooled, extra=extra) for extra in said]
    assert all(map(torch.equal, got, want)) and not torch.equal(want[0], want[2])
    assert len(made) == 2 * 3  # the whole and the things, once for each that are not those before


def test_gradients_reach_the_projections_and_the_text(net: UNet) -> None:
    x, time, tokens = draw(0)
    tokens.requires_grad_()
    with cached_text(net):
        for _ in range(2):
            net(x, time, tokens).square().sum().backward()
    grads = [p.grad for name, p in net.named_parameters() if "attn2.to_k" in name]
    assert grads and all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert tokens.grad is not None and tokens.grad.abs().sum() > 0


def test_it_comes_off_without_trace_even_after_an_error(net: UNet) -> None:
    names, hooks = [name for name, _ in net.named_modules()], len(net._forward_pre_hooks)
    with pytest.raises(KeyError), cached_text(net):
        raise KeyError
    assert [name for name, _ in net.named_modules()] == names
    assert len(net._forward_pre_hooks) == hooks
