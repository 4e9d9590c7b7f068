"""The adapter that danqing-mini learns: where it begins, and what learning reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from experiments.image_prompt import MOVED, Batch, Prompted, adapter, line, seeing
from tests.conftest import UNET

from danqing.denoise import Denoiser
from danqing.learn.training.loop import EMA
from danqing.nets.drafted import DraftedUNet, DraftedUNetConfig
from danqing.nets.image_projections import Summary
from danqing.nets.ip_adapter import places
from danqing.schedule import Flow
from danqing.types import Conditioning

FIELDS = {field: getattr(UNET, field) for field in UNET.__dataclass_fields__}
DRAFTED = DraftedUNetConfig(
    **{**FIELDS, "in_channels": 8, "out_channels": 4, "pooled_channels": 5, "draft_size": 8},
)


SKIP = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def model() -> Prompted:
    torch.manual_seed(0)
    net = DraftedUNet(DRAFTED)
    return Prompted(Denoiser(net, Flow(shift=3.0), "flow").requires_grad_(False), adapter(net, 6, SKIP, 7, drawn=4))


def batch(seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    said = Conditioning(tokens=torch.randn(3, 5, 16, generator=draw), pooled=torch.randn(3, 5, generator=draw))
    sizes = ((4, 8, 8), (6,), (4, 8, 8), (6,), (5,))
    x0, seen, drawn, apart, missing = (torch.randn(3, *size, generator=draw) for size in sizes)
    return Batch(x0, said, seen, drawn, torch.tensor([[1.0], [0.5], [0.0]]), apart, missing)


def test_keys_begin_as_those_of_the_text_and_attention_adds_nothing() -> None:
    made = model()
    tokens = torch.randn(2, 4, 16)
    for i, layer in enumerate(places(made.denoiser.net).values()):
        keys, values = made.adapter.keys_values(tokens, i)
        assert torch.equal(keys, layer.to_k(tokens)) and not values.any()


def test_what_is_added_begins_as_a_line_which_finds_a_line() -> None:
    seen = torch.nn.functional.normalize(torch.randn(4000, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    added = model().adapter.image_proj.summary(seen)
    assert added is not None
    torch.testing.assert_close(added, seen @ SKIP.mT)
    found = line(seen, added.detach())
    torch.testing.assert_close(found, SKIP / (1 + MOVED**2), rtol=0.05, atol=0.05)


def test_what_is_learned_is_the_adapter_alone_all_of_it() -> None:
    made = model()
    assert isinstance(made.adapter.image_proj, Summary)
    for name, weight in made.adapter.named_parameters():
        if name.endswith(("down.weight", "to_v_ip.weight")):
            weight.data.normal_()  # at 0, where they begin, they hide what is below
    assert {name.partition(".")[0] for name, _ in made.named_parameters()} == {"adapter"}
    seeing(made, batch(), torch.Generator().manual_seed(1))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.adapter.parameters())
    assert all(p.grad is None for p in made.denoiser.parameters())


def test_the_loss_is_a_function_of_the_picture_and_the_average_has_a_painter_of_its_own() -> None:
    made = model()
    own = EMA(made, 0.9).model
    assert isinstance(own, Prompted) and own.denoiser is not made.denoiser
    one = batch()
    losses = [
        float(seeing(each, replace(one, seen=shown), torch.Generator().manual_seed(1))["painted"])
        for each in (made, own)
        for shown in (one.seen, -one.seen)
    ]
    assert losses[:2] == losses[2:] and losses[0] != losses[1]


def test_a_picture_is_the_draft_by_its_weight_and_the_text_s_is_the_rest() -> None:
    made, one = model(), batch()
    cond = made.shown(one.said, one.seen, one.drawn, one.weight)
    net, none = cast(DraftedUNet, made.denoiser.net), made.shown(one.said, one.seen, one.drawn, 0 * one.weight)
    assert none.pooled is not None and cond.pooled is not None
    assert torch.equal(net.drafted(one.x0, none.pooled, none.extra), net.draft(one.said.pooled))
    own = net.draft(cond.pooled)
    want = torch.stack([one.drawn[0], (one.drawn[1] + own[1]) / 2, own[2]])
    torch.testing.assert_close(net.drafted(one.x0, cond.pooled, cond.extra), want)
