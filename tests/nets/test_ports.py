"""Laws of the UNet and of its ports: each is neutral when empty, and alive when used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from danqing.errors import InvalidInput
from danqing.nets.drafted import MINI
from danqing.nets.ports import Context, Residuals
from danqing.nets.trunk import Stage, sinusoid
from danqing.nets.unet import SD1, SDXL, CrossAttention, UNet, UNetConfig

SMALL: dict[str, Any] = {"norm_num_groups": 4, "cross_attention_dim": 12}
TINY = {
    "convolutional projections": replace(
        SD1, block_out_channels=(8, 16), transformer_layers=(1, 0), attention_heads=(2, 2), **SMALL
    ),
    "pooled, two transformer layers": replace(
        SDXL,
        block_out_channels=(8, 16),
        transformer_layers=(0, 2),
        mid_transformer_layers=2,
        attention_heads=(1, 2),
        pooled_channels=10,
        **SMALL,
    ),
    "mini": replace(MINI, block_out_channels=(8, 16, 24), attention_heads=(1, 2, 3), **SMALL),
}


@pytest.fixture(params=TINY.values(), ids=TINY)
def config(request: pytest.FixtureRequest) -> UNetConfig:
    return request.param


def build(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    return UNet(config)


def inputs(config: UNetConfig, dtype: torch.dtype = torch.float32, batch: int = 2) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    words = {
        "x": torch.randn(batch, config.in_channels, 8, 8, generator=draw, dtype=dtype),
        "time": torch.linspace(5, 995, batch, dtype=dtype),
        "tokens": torch.randn(batch, 5, config.cross_attention_dim, generator=draw, dtype=dtype),
    }
    if config.pooled_channels:
        words["pooled"] = torch.randn(batch, config.pooled_channels, generator=draw, dtype=dtype)
    return words


def residuals(net: UNet, words: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    """The skips and the middle of a call: their shapes are those of the residuals."""
    seen: list[Any] = []
    handles = [
        net.down_blocks[-1].register_forward_hook(lambda _, args, out: seen.extend([list(args[1]), out])),
        net.mid_block.register_forward_hook(lambda _, args, out: seen.append(out)),
    ]
    with torch.no_grad():
        net(**words)
    for handle in handles:
        handle.remove()
    return seen[0], seen[2]


def stages(net: UNet) -> list[Stage]:
    return [layer for layer in net.modules() if isinstance(layer, Stage)]


class Inserted(nn.Module):
    """A layer for port 2 that scales what passes and counts its calls."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale, self.calls = nn.Parameter(torch.tensor(scale)), 0

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        self.calls += 1
        assert x.shape[0] == ctx.time.shape[0]
        return x * self.scale


class Branch(nn.Module):
    """A branch for port 3: attention over the adapter's own tokens, scaled."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        own = ctx.extra["own"]  # (B, d) for the queries' d
        return self.scale * own[:, None, None, : q.shape[-1]].expand_as(q)


# --- the network


def test_every_parameter_gets_a_gradient(config: UNetConfig) -> None:
    net = build(config)
    net(**inputs(config)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
def test_a_batch_equals_its_singles(config: UNetConfig) -> None:
    net, words = build(config).double(), inputs(config, torch.float64, batch=3)
    singles = [net(**{k: v[i : i + 1] for k, v in words.items()}) for i in range(3)]
    torch.testing.assert_close(torch.cat(singles), net(**words))


@torch.no_grad()
def test_double_precision_and_channels_last_change_only_the_rounding(config: UNetConfig) -> None:
    want = build(config)(**inputs(config))
    double = build(config).double()(**{k: v.double() for k, v in inputs(config).items()})
    assert double.dtype == torch.float64
    torch.testing.assert_close(want.double(), double, rtol=1e-4, atol=1e-5)
    last = build(config).to(memory_format=torch.channels_last)(**inputs(config))
    torch.testing.assert_close(last, want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_built_on_meta_and_assigned_equals_built_directly(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    with torch.device("meta"):
        other = UNet(config)
    other.load_state_dict(net.state_dict(), strict=True, assign=True)
    assert torch.equal(other(**words), net(**words))


@torch.no_grad()
def test_the_order_and_the_repetition_of_the_whole_token_stream_do_not_matter(config: UNetConfig) -> None:
    net, words = build(config).double(), inputs(config, torch.float64)
    for tokens in (words["tokens"].flip(1), words["tokens"].repeat(1, 3, 1)):
        torch.testing.assert_close(net(**(words | {"tokens": tokens})), net(**words))


def test_time_is_embedded_in_single_precision_even_for_a_half_precision_network() -> None:
    near = sinusoid(torch.tensor([999.0, 1000.0], dtype=torch.float32), 32).bfloat16()
    assert not torch.equal(near[0], near[1])
    assert sinusoid(torch.tensor([999.0]).bfloat16(), 32).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 5, 8, 8)}, "reads 4 channels"),
        ({"tokens": torch.zeros(2, 5, 13)}, "tokens of width 12"),
        ({"pooled": torch.zeros(2, 9)}, "width 10 and was given one of width 9"),
        ({"pooled": None}, "was given none"),
    ],
)
def test_inputs_of_another_model_are_refused_with_what_fits(change: dict[str, Any], message: str) -> None:
    config = TINY["pooled, two transformer layers"]
    with pytest.raises(InvalidInput, match=message):
        build(config)(**(inputs(config) | change))


def test_a_shape_with_unequal_numbers_of_levels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="one of each a level"):
        UNet(replace(MINI, block_out_channels=(32, 32)))


# --- port 1: residuals


@torch.no_grad()
def test_zero_residuals_change_nothing(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    down, mid = residuals(net, words)
    assert len(down) == config.skips
    zero = Residuals(down=tuple(map(torch.zeros_like, down)), mid=torch.zeros_like(mid))
    assert torch.equal(net(**words, residuals=zero), net(**words))


def test_every_residual_reaches_the_output(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    down, mid = residuals(net, words)
    given = [torch.zeros_like(r).requires_grad_() for r in (*down, mid)]
    net(**words, residuals=Residuals(down=tuple(given[:-1]), mid=given[-1])).square().sum().backward()
    assert all(r.grad is not None and r.grad.abs().sum() > 0 for r in given)


def test_a_wrong_number_of_residuals_is_refused(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    down, _ = residuals(net, words)
    with pytest.raises(InvalidInput, match=f"{len(down) - 1} residuals for {len(down)} skips"):
        net(**words, residuals=Residuals(down=tuple(down[1:])))


# --- port 2: inserted layers


@torch.no_grad()
def test_inserted_identities_run_once_each_and_change_nothing_and_come_off_without_trace(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    want, keys = net(**words), list(net.state_dict())
    layers = []
    for stage in stages(net):
        for step in stage.inserted:
            layers.append(Inserted(1.0))
            cast(nn.ModuleDict, step)["motion"] = layers[-1]
    assert torch.equal(net(**words), want)
    assert [layer.calls for layer in layers] == [1] * len(layers)
    for stage in stages(net):
        for step in stage.inserted:
            del cast(nn.ModuleDict, step)["motion"]
    assert torch.equal(net(**words), want)
    assert list(net.state_dict()) == keys


def test_every_inserted_layer_reaches_the_output(config: UNetConfig) -> None:
    net = build(config)
    for stage in stages(net):
        for step in stage.inserted:
            cast(nn.ModuleDict, step)["motion"] = Inserted(1.0)
    net(**inputs(config)).square().mean().backward()
    scales = {name: p.grad for name, p in net.named_parameters() if "inserted" in name}
    assert len(scales) == sum(len(stage.resnets) for stage in stages(net))
    assert [name for name, grad in scales.items() if grad is None or grad == 0] == []


# --- port 3: branches of the attention to the text


@torch.no_grad()
def test_a_zero_branch_changes_nothing_and_comes_off_without_trace(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    want, keys = net(**words), list(net.state_dict())
    attentions = [layer for layer in net.modules() if isinstance(layer, CrossAttention)]
    extra = {"own": torch.ones(2, 64)}
    for attention in attentions:
        attention.branches["image"] = Branch(0.0)
    assert torch.equal(net(**words, extra=extra), want)
    for attention in attentions:
        attention.branches["image"] = Branch(1.0)
    assert not torch.allclose(net(**words, extra=extra), want)
    for attention in attentions:
        del attention.branches["image"]
    assert torch.equal(net(**words), want)
    assert list(net.state_dict()) == keys


@torch.no_grad()
def test_branches_add_before_the_output_projection_and_their_order_does_not_matter() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(8, heads=2, source_channels=6).double()
    x, own = torch.randn(2, 5, 8).double(), torch.randn(2, 4).double()
    ctx = Context(time=torch.zeros(2, 1), tokens=torch.randn(2, 3, 6).double(), extra={"own": own})
    plain = layer(x, ctx)
    layer.branches.update({"a": Branch(1.0), "b": Branch(2.0)})
    both = layer(x, ctx)
    term = 3 * own.repeat(1, 2)[:, None]  # heads are laid side by side
    torch.testing.assert_close(both, plain + term @ cast(nn.Linear, layer.to_out[0]).weight.T)
    layer.branches.clear()
    layer.branches.update({"b": Branch(2.0), "a": Branch(1.0)})
    torch.testing.assert_close(layer(x, ctx), both)


# --- port 4: linear and convolutional layers by name


class Counted(nn.Module):
    """Stands for the layer that it replaces."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


@torch.no_grad()
def test_every_linear_and_convolution_can_be_replaced_by_name(config: UNetConfig) -> None:
    net, words = build(config), inputs(config)
    want, keys = net(**words), list(net.state_dict())
    originals = {name: m for name, m in net.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    wrappers = {name: Counted(m) for name, m in originals.items()}
    for name, wrapper in wrappers.items():
        net.set_submodule(name, wrapper)
    assert torch.equal(net(**words), want)
    assert {name for name, wrapper in wrappers.items() if wrapper.calls != 1} == set()
    for name, original in originals.items():
        net.set_submodule(name, original)
    assert list(net.state_dict()) == keys
