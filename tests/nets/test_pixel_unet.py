"""Laws of the UNet in pixels: what a new one answers, what its classes and its ports do, what a score network
scales."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danqing.denoise import PARAMETRISATIONS, Denoiser
from danqing.errors import InvalidInput
from danqing.nets.pixel_unet import CIFAR10, MINI, PixelUNet, PixelUNetConfig, ScoreUNet
from danqing.nets.ports import Residuals
from danqing.nets.trunk import Stage
from danqing.schedule import VE, VP, Linear
from danqing.types import Conditioning

SMALL: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "layers_per_block": 1,
    "attention_heads": (0, 2),
}
TINY = {
    "shift": replace(CIFAR10, **SMALL),
    "scale and shift, learned variance": replace(MINI, **SMALL),
    "classes": replace(CIFAR10, classes=5, scale_shift=True, mid_attention_heads=2, **SMALL),
}
NONE = Conditioning(tokens=torch.zeros(1, 1, 1))


@pytest.fixture(params=TINY.values(), ids=TINY)
def config(request: pytest.FixtureRequest) -> PixelUNetConfig:
    return request.param


def shaken(config: PixelUNetConfig, cls: type[PixelUNet] = PixelUNet) -> PixelUNet:
    """Random weights in every place, the zeros too."""
    torch.manual_seed(0)
    net = cls(config)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return net


def inputs(config: PixelUNetConfig, batch: int = 2, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    words = {
        "x": torch.randn(batch, 3, 8, 12, generator=draw, dtype=dtype),
        "time": torch.linspace(5, 995, batch, dtype=dtype),
    }
    if config.classes:
        words["pooled"] = torch.eye(config.classes, dtype=dtype)[:batch]
    return words


def test_the_smallest_has_at_most_3_million_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in PixelUNet(MINI).parameters()) <= 3_000_000


@torch.no_grad()
def test_a_new_network_answers_zero_and_its_blocks_pass_on_what_they_read(config: PixelUNetConfig):
    torch.manual_seed(0)
    net = PixelUNet(config)
    assert (net(**inputs(config)) == 0).all()
    seen = {}
    net.mid_block.register_forward_hook(lambda *a: None)
    net.mid_block.resnets[0].register_forward_hook(lambda _, args, out: seen.update(read=args[0]))
    net.mid_block.resnets[1].register_forward_hook(lambda _, args, out: seen.update(passed=out))
    net(**inputs(config))
    assert torch.equal(seen["read"], seen["passed"])


def test_every_parameter_gets_a_gradient(config: PixelUNetConfig):
    net = shaken(config)
    net(**inputs(config)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_a_batch_equals_its_singles(config: PixelUNetConfig):
    net, words = shaken(config).double(), inputs(config, 3, torch.float64)
    singles = [net(**{k: v[i : i + 1] for k, v in words.items()}) for i in range(3)]
    torch.testing.assert_close(torch.cat(singles), net(**words))


@torch.no_grad()
def test_double_precision_changes_only_the_rounding(config: PixelUNetConfig):
    double = shaken(config).double()(**{k: v.double() for k, v in inputs(config).items()})
    torch.testing.assert_close(shaken(config)(**inputs(config)).double(), double, rtol=0, atol=1e-4)


@torch.no_grad()
def test_time_and_class_reach_the_picture():
    config = TINY["classes"]
    net, words = shaken(config), inputs(config)
    want = net(**words)
    assert not torch.allclose(net(**words | {"time": words["time"] + 50}), want)
    assert not torch.allclose(net(**words | {"pooled": words["pooled"].flip(0)}), want)


@torch.no_grad()
def test_no_class_is_the_network_without_classes_and_half_a_class_the_half_of_its_embedding():
    config = TINY["classes"]
    net, words = shaken(config), inputs(config)
    plain = PixelUNet(replace(config, classes=0))
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("class_embedding")})
    bare = {k: v for k, v in words.items() if k != "pooled"}
    assert torch.equal(net(**bare, pooled=torch.zeros(2, 5)), plain(**bare))
    half = net.embed(words["x"], words["time"], 0.5 * words["pooled"]) - net.embed(
        words["x"], words["time"], torch.zeros(2, 5)
    )
    torch.testing.assert_close(half, 0.5 * net.class_embedding.weight[:2])


class Inserted(nn.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, ctx) -> Tensor:
        return x * self.scale


@torch.no_grad()
def test_ports_are_neutral_when_empty_and_alive_when_used(config: PixelUNetConfig):
    net, words = shaken(config), inputs(config)
    want = net(**words)
    stages = [layer for layer in net.modules() if isinstance(layer, Stage)]
    for stage in stages:
        for place in stage.inserted:
            place["own"] = Inserted(1.0)
    assert torch.equal(net(**words), want)
    for stage in stages:
        stage.inserted[0]["own"] = Inserted(2.0)
        assert not torch.allclose(net(**words), want)
        stage.inserted[0]["own"] = Inserted(1.0)
    for stage in stages:
        for place in stage.inserted:
            del place["own"]
    assert torch.equal(net(**words), want)

    shapes: list[Tensor] = []
    middle = net.mid_block.resnets[-1].register_forward_hook(lambda _, args, out: shapes.append(out))
    net(**words)
    middle.remove()
    mid = torch.ones_like(shapes[0])
    assert torch.equal(net(**words, residuals=Residuals(mid=0 * mid)), want)
    assert not torch.allclose(net(**words, residuals=Residuals(mid=mid)), want)
    with pytest.raises(InvalidInput, match="residuals"):
        net(**words, residuals=Residuals(down=(mid,)))
    assert len({id(stage) for stage in stages}) == 5 and config.skips == 4


@torch.no_grad()
def test_a_score_network_is_divided_by_sigma_and_reads_its_logarithm():
    config = TINY["shift"]
    net, words = shaken(config, ScoreUNet), inputs(config)
    sigma = torch.tensor([0.02, 3.0])
    features = net.features(sigma)
    assert features.shape == (2, 16)
    torch.testing.assert_close(features[:, :8].square() + features[:, 8:].square(), torch.ones(2, 8))
    angle = 2 * torch.pi * sigma.log()[:, None] * net.time_proj.weight
    torch.testing.assert_close(features[:, :8], angle.sin())
    raw = PixelUNet.forward(net, words["x"], sigma)
    torch.testing.assert_close(net(words["x"], sigma) * sigma.view(2, 1, 1, 1), raw)
    assert "time_proj.weight" not in dict(net.named_parameters())  # drawn once, never trained


@pytest.mark.parametrize("schedule", [VP(), VE()], ids=str)
@torch.no_grad()
def test_a_score_network_in_a_denoiser_is_asked_at_sigma_under_vp_and_ve(schedule):
    net = shaken(TINY["shift"], ScoreUNet)
    kind = PARAMETRISATIONS["score"]._replace(time=lambda alpha, sigma: sigma)
    x, t = inputs(TINY["shift"])["x"], torch.tensor([0.2, 0.9])
    alpha, sigma = schedule(t)
    found = Denoiser(net, schedule, kind)(x, t, NONE).x0
    want = (x + sigma.view(2, 1, 1, 1) ** 2 * net(x, sigma)) / alpha.view(2, 1, 1, 1)  # Tweedie
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_denoiser_asks_it_as_any_backbone():
    config = TINY["classes"]
    cond = Conditioning(tokens=torch.zeros(1, 1, 1), pooled=torch.eye(5)[:2])
    words = inputs(config)
    net = shaken(config)
    found = Denoiser(net, Linear(), "eps").predict(words["x"], torch.tensor([0.006, 0.996]), cond)
    torch.testing.assert_close(
        found, net(words["x"], torch.tensor([5.0, 995.0]), pooled=cond.pooled), rtol=1e-4, atol=1e-4
    )


def test_what_does_not_fit_is_refused():
    net = shaken(TINY["classes"])
    for wrong, said in [
        ({"x": torch.zeros(1, 4, 8, 8)}, "channels"),
        ({"x": torch.zeros(1, 3, 7, 8)}, "divides"),
        ({"x": torch.zeros(1, 3, 8, 8)}, "classes"),
        ({"x": torch.zeros(1, 3, 8, 8), "pooled": torch.zeros(1, 4)}, "classes"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            net(time=torch.ones(1), **wrong)
    for odd in ({"attention_heads": (0, 0, 1)}, {"attention_heads": (3, 0)}, {"mid_attention_heads": 0}):
        with pytest.raises(InvalidInput, match="attention_heads"):
            PixelUNet(replace(TINY["shift"], **odd))
