"""Laws of calls that compute a network's outermost layers alone: what is taken is what was kept, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from danqing.errors import InvalidInput
from danqing.nets import deep
from danqing.nets.deep import KEEP, TAKE, Deep, Memory
from danqing.nets.mmdit import MMDiT, MMDiTConfig
from danqing.nets.pixel_unet import PixelUNet, PixelUNetConfig
from danqing.nets.ports import Residuals
from danqing.nets.trunk import Backbone, Up
from danqing.nets.unet import UNet, UNetConfig
from danqing.run.engine.whole import Unfit, state

CONFIG = UNetConfig(
    block_out_channels=(8, 16),
    transformer_layers=(1, 1),
    attention_heads=(2, 2),
    norm_num_groups=4,
    cross_attention_dim=12,
)
MMDIT = MMDiTConfig(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    num_layers=4,
    num_attention_heads=2,
    attention_head_dim=8,
    joint_attention_dim=12,
    pooled_projection_dim=6,
    pos_embed_max_size=8,
)
PIXEL = PixelUNetConfig(
    in_channels=4, out_channels=4, block_out_channels=(8, 16), attention_heads=(0, 1), norm_num_groups=4
)


def made(net: nn.Module) -> nn.Module:
    """With weights in every place, those that begin at 0 too."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=draw))
    return net.eval().requires_grad_(False)


@pytest.fixture(params=["unet", "mmdit", "pixels"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return made({"unet": lambda: UNet(CONFIG), "mmdit": lambda: MMDiT(MMDIT), "pixels": lambda: PixelUNet(PIXEL)}[
        request.param
    ]())  # fmt: skip


@pytest.fixture
def unet() -> UNet:
    torch.manual_seed(0)
    return cast(UNet, made(UNet(CONFIG)))


def inputs(seed: int, rows: int = 2, size: tuple[int, int] = (8, 6)) -> dict[str, Tensor]:
    """Of a call; texts are those of every seed."""
    draw = torch.Generator().manual_seed(seed)
    x, time = torch.randn(rows, 4, *size, generator=draw), 900 * torch.rand(rows, generator=draw)
    draw = torch.Generator().manual_seed(99)
    return {"x": x, "time": time, "tokens": torch.randn(rows, 5, 12, generator=draw),
            "pooled": torch.randn(rows, 6, generator=draw)}  # fmt: skip


def ask(net: nn.Module, given: dict[str, Tensor], name: str = "", memory: Any = (), **more: Any) -> Tensor:
    extra = {name: torch.cat([one.mark for one in memory])} if name else {}
    window = more.pop("window", None)
    extra |= {} if window is None else {"window": torch.full((len(given["x"]), 1), window)}
    return net(**given, extra=extra, **more)


def up_steps(net: Backbone) -> list[nn.Module]:
    """The residual blocks on the way up, the outermost last."""
    return [block for stage in net.up_blocks for block in cast(Up, stage).resnets]


def spliced(net: nn.Module, outer: int, then: Any, now: Any) -> Tensor:
    """The answer to ``now``, all of it computed, with what lies deeper put in as it was in ``then``: two calls."""
    if isinstance(net, MMDiT):
        return spliced_blocks(net, outer, then, now)
    assert isinstance(net, Backbone)
    block, skip = up_steps(net)[-outer], net.config.skip_channels[outer - 1]
    seen = list[Tensor]()
    hook = block.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, :-skip]))
    then(net)
    hook.remove()
    hook = block.register_forward_pre_hook(lambda _, given: (torch.cat([seen[0], given[0][:, -skip:]], 1), *given[1:]))
    try:
        return now(net)
    finally:
        hook.remove()


def spliced_blocks(net: MMDiT, outer: int, then: Any, now: Any) -> Tensor:
    seen = list[Tensor]()
    first, last = net.transformer_blocks[outer - 1], net.transformer_blocks[-1]

    def look(_: nn.Module, given: Any, answer: Any) -> None:
        seen.append(answer.image)

    hooks = [layer.register_forward_hook(look) for layer in (first, last)]
    then(net)
    entered, left = seen
    seen.clear()
    now(net)
    hooks.append(last.register_forward_hook(lambda *call: call[-1]._replace(image=seen[0] + (left - entered))))
    answer = now(net)
    for hook in hooks:
        hook.remove()
    return answer


def most(net: Any) -> int:
    return net.config.num_layers - 1 if isinstance(net, MMDiT) else net.config.skips


def test_a_call_that_keeps_answers_what_the_plain_network_does_bit_for_bit(net):
    for outer in range(1, most(net) + 1):
        off, memory, given = Deep(net, outer)(), [Memory(), Memory()], inputs(1)
        kept, unmarked = ask(net, given, KEEP, memory), ask(net, given)
        off()
        assert torch.equal(kept, ask(net, given)) and torch.equal(unmarked, kept)


def test_what_is_taken_of_the_same_call_is_the_whole_answer(net):
    off, memory, given = Deep(net, 1)(), [Memory(), Memory()], inputs(1)
    whole = ask(net, given, KEEP, memory)
    torch.testing.assert_close(ask(net, given, TAKE, memory), whole)
    off()


def test_the_outermost_layers_are_computed_and_all_else_is_as_it_was_kept(net):
    for outer in range(1, most(net) + 1):
        off, memory = Deep(net, outer)(), [Memory(), Memory()]
        ask(net, inputs(1), KEEP, memory)
        found = ask(net, inputs(2), TAKE, memory)
        off()
        meant = spliced(net, outer, lambda one: ask(one, inputs(1)), lambda one: ask(one, inputs(2)))
        torch.testing.assert_close(found, meant, rtol=1e-5, atol=1e-5)
        assert (found - ask(net, inputs(2))).abs().max() > 1e-3 and (found - ask(net, inputs(1))).abs().max() > 1e-3


def test_no_deeper_layer_is_called(net):
    layers = [layer for _, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    called = set[nn.Module]()
    hooks = [layer.register_forward_hook(lambda one, *_: called.add(one)) for layer in layers]
    sizes = list[int]()
    for outer in range(1, most(net) + 1):
        off, memory = Deep(net, outer)(), [Memory(), Memory()]
        ask(net, inputs(1), KEEP, memory)
        assert called == set(layers)
        called.clear()
        ask(net, inputs(2), TAKE, memory)
        off()
        sizes.append(len(called))
    for hook in hooks:
        hook.remove()
    assert sizes == sorted(set(sizes)) and sizes[0] < len(layers) / 2 and sizes[-1] < len(layers)


def test_it_comes_off_without_trace(net):
    before, state = dict(vars(net)), ask(net, inputs(1))
    off = Deep(net, 1)()
    off()
    assert vars(net) == before and torch.equal(ask(net, inputs(1)), state)


def test_while_it_is_on_no_graph_of_the_whole_network_is_asked(net):
    off, before = Deep(net, 1)(), ask(net, inputs(1))
    with pytest.raises(Unfit, match="a part of its layers"):
        state(net)
    off()
    assert state(net) and torch.equal(ask(net, inputs(1)), before)


def test_rows_of_several_pictures_are_each_its_own(net):
    """Asked together, as alone; frames of a clip bear one mark, windows of a picture are told apart."""
    off, (a, b) = Deep(net, 1)(), (Memory(), Memory())
    ask(net, inputs(1), KEEP, [a, b])
    together = ask(net, inputs(2), TAKE, [a, b])
    for row, memory in enumerate((a, b)):
        alone = ask(net, {name: value[row : row + 1] for name, value in inputs(2).items()}, TAKE, [memory])
        torch.testing.assert_close(alone[0], together[row])
    clip = Memory()
    ask(net, inputs(1), KEEP, [clip, clip])
    assert torch.equal(ask(net, inputs(2), TAKE, [clip, clip]), together)
    tiled = [Memory(), Memory()]
    ask(net, inputs(1), KEEP, tiled, window=1)
    ask(net, inputs(3), KEEP, tiled, window=2)
    assert torch.equal(ask(net, inputs(2), TAKE, tiled, window=1), together)
    assert not torch.equal(ask(net, inputs(2), TAKE, tiled, window=2), together)
    off()


def residuals_of(net: Any, given: dict[str, Tensor], seed: int) -> Residuals:
    draw = torch.Generator().manual_seed(seed)
    if isinstance(net, MMDiT):
        shapes, mid = [(2, given["x"][0, 0].numel() // 4, net.config.width)] * net.config.skips, None
    else:
        (height, width), per = given["x"].shape[2:], net.config.layers_per_block
        sizes = [(height >> (i > per), width >> (i > per)) for i in range(net.config.skips)]
        shapes = [(2, c, *size) for c, size in zip(net.config.skip_channels, sizes, strict=True)]
        mid = torch.randn(2, net.config.block_out_channels[-1], height // 2, width // 2, generator=draw)
    return Residuals(down=tuple(torch.randn(shape, generator=draw) for shape in shapes), mid=mid)


def test_controls_steer_the_outermost_layers_in_every_call_and_the_others_as_they_did(net):
    one, other = (residuals_of(net, inputs(1), seed) for seed in (5, 6))
    whole = ask(net, inputs(1), residuals=one)
    for outer in range(1, most(net) + 1):
        off, memory = Deep(net, outer)(), [Memory(), Memory()]
        assert torch.equal(ask(net, inputs(1), KEEP, memory, residuals=one), whole)
        found = ask(net, inputs(2), TAKE, memory, residuals=other)
        off()
        if not isinstance(net, MMDiT):
            then, now = (lambda n, i=i, r=r: ask(n, inputs(i), residuals=r) for i, r in ((1, one), (2, other)))
            torch.testing.assert_close(found, spliced(net, outer, then, now), rtol=1e-5, atol=1e-5)
        assert (found - whole).abs().max() > 1e-3


def test_residuals_of_another_network_are_refused_as_ever(unet):
    off, memory = Deep(unet, 1)(), [Memory(), Memory()]
    with pytest.raises(InvalidInput, match="1 residuals for 6 skips"):
        ask(unet, inputs(1), KEEP, memory, residuals=Residuals(down=(torch.zeros(2, 8, 8, 6),)))
    off()


def test_odd_sides_go_through(unet):
    for outer in range(1, most(unet) + 1):
        off, memory = Deep(unet, outer)(), [Memory(), Memory()]
        given = inputs(1, size=(7, 5))
        assert torch.equal(ask(unet, given, KEEP, memory), ask(unet, given))
        torch.testing.assert_close(ask(unet, given, TAKE, memory), ask(unet, given))
        off()


def test_what_nobody_holds_is_forgotten():
    memory = Memory()
    number = memory.number
    assert number in deep._memories
    del memory
    assert number not in deep._memories


def test_numbers_and_networks_that_cannot_be_are_refused(net):
    for outer in (0, most(net) + 1):
        with pytest.raises(InvalidInput, match=f"deep_outer: {outer} was given; possible .* is 1 to {most(net)}"):
            Deep(net, outer)()
    with pytest.raises(InvalidInput, match="a Linear has no outermost layers.*forecast"):
        Deep(nn.Linear(1, 1))()
