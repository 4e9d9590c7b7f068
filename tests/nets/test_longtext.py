"""Laws of long text in an MMDiT: one attention under a mask, neutral within a window, linear beyond it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from danqing.errors import InvalidInput
from danqing.nets.longtext import Windowed
from danqing.nets.mmdit import Block, MMDiT, MMDiTConfig, Streams, Through, whole
from danqing.nets.ports import Context, Residuals

TINY = MMDiTConfig(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    num_layers=3,
    num_attention_heads=2,
    attention_head_dim=8,
    joint_attention_dim=12,
    pooled_projection_dim=10,
    pos_embed_max_size=6,
    dual_attention_layers=(1,),
    qk_norm=True,
)
PLAIN = replace(TINY, dual_attention_layers=(), qk_norm=False)
WIDTH = TINY.width


def build(config: MMDiTConfig = TINY, through: Through | None = None) -> MMDiT:
    """Float64, random in every place: a fresh network's zeros would hide its errors."""
    torch.manual_seed(0)
    net = MMDiT(config).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    net.through = through or net.through
    return net


def inputs(length: int, side: int = 8, batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"x": (4, side, side), "tokens": (length, 12), "pooled": (10,)}
    drawn = {k: torch.randn(batch, *s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}
    return {**drawn, "time": torch.linspace(1000, 20, batch, dtype=torch.float64)}


def streams(length: int, image: int = 4) -> tuple[Streams, Context]:
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randn(2, n, WIDTH, generator=generator, dtype=torch.float64) for n in (image, length)]
    return Streams(*drawn), Context(time=torch.randn(2, WIDTH, generator=generator, dtype=torch.float64))


@contextmanager
def masked(image: int, length: int, window: int) -> Iterator[None]:
    """Within, an attention over picture and text is told who sees whom by a matrix of both."""
    own, place = F.scaled_dot_product_attention, torch.arange(length) // window
    sees = torch.ones(image + length, image + length, dtype=torch.bool)
    sees[image:, image:] = place[:, None] == place

    def told(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        return own(q, k, v, attn_mask=sees if q.shape[2] == len(sees) else None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", told)
        yield


def under_mask(window: int) -> Through:
    def through(block: Block, x: Streams, ctx: Context) -> Streams:
        with masked(x.image.shape[1], x.text.shape[1], window):
            return block(x, ctx)

    return through


class Term(nn.Module):
    """An attention branch: a multiple of the queries."""

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        return 0.3 * q


class Swap(nn.Module):
    """An inserted layer that moves text of one window into another."""

    def forward(self, x: Streams, ctx: Context) -> Streams:
        return x._replace(text=x.text.flip(1))


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("config", [TINY, PLAIN])
@pytest.mark.parametrize("length", [6, 10, 13])
@torch.no_grad()
def test_windows_are_one_attention_under_a_mask(config, length):
    given = inputs(length)
    answer = build(config, Windowed(5))(**given)
    close(answer, build(config, under_mask(5))(**given))
    assert (answer - build(config, whole)(**given)).abs().max() > 1e-4


@torch.no_grad()
def test_adapters_meet_a_long_text_as_they_meet_a_short_one():
    given, residuals = inputs(13), Residuals(down=tuple(torch.randn(2, 2, 16, WIDTH).double()))
    answers = []
    for through in (Windowed(5), under_mask(5)):
        net = build(through=through)
        net.inserted[0]["swap"] = Swap()
        for block in net.transformer_blocks:
            block.attn.branches["term"] = Term()
            block.attn.to_add_out = nn.Sequential(block.attn.to_add_out, nn.Tanh())  # another layer of that name
        answers.append(net(**given, residuals=residuals))
    close(*answers)


def test_the_gradients_are_those_of_the_mask():
    grads = []
    for through in (Windowed(5), under_mask(5)):
        net = build(through=through)
        given = inputs(13)
        given["tokens"].requires_grad_()
        net(**given).square().mean().backward()
        grads.append([given["tokens"].grad, *(p.grad for name, p in net.named_parameters() if name not in DEAD)])
    for ours, theirs in zip(*grads, strict=True):
        assert ours is not None and ours.any()
        close(ours, theirs)


#: Nobody reads the last text stream: what asks for it has no gradient, or one of zeros.
DEAD = {f"transformer_blocks.2.attn.{name}" for name in ("add_q_proj.weight", "add_q_proj.bias", "norm_added_q.weight")}


@pytest.mark.parametrize("length", [1, 4, 5])
@torch.no_grad()
def test_a_text_that_fits_a_window_is_read_bit_for_bit_as_published(length):
    given = inputs(length)
    assert torch.equal(build(through=Windowed(5))(**given), build(through=whole)(**given))


def test_a_network_reads_the_whole_text_until_it_is_given_windows():
    assert MMDiT(TINY).through is whole and Windowed().window == 4096


@torch.no_grad()
def test_one_window_is_the_whole():
    net = build(PLAIN)
    x, ctx = streams(5)
    for block in net.transformer_blocks:
        for ours, theirs in zip(Windowed(5).in_windows(block, x, ctx), block(x, ctx), strict=True):
            close(ours, theirs)


@torch.no_grad()
def test_a_word_reaches_another_window_through_the_picture_alone():
    first, second, _ = build().transformer_blocks
    x, ctx = streams(9)
    changed = x._replace(text=x.text.clone())
    changed.text[:, 7] = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    through = Windowed(3)
    before, after = through(first, x, ctx), through(first, changed, ctx)
    assert torch.equal(after.text[:, :6], before.text[:, :6])
    assert (after.text[:, 6:] != before.text[:, 6:]).any(-1).all()
    assert (after.image != before.image).any(-1).all()
    held = after._replace(image=before.image)
    assert torch.equal(through(second, held, ctx).text[:, :6], through(second, before, ctx).text[:, :6])
    assert (through(second, after, ctx).text != through(second, before, ctx).text).any(-1).all()


@torch.no_grad()
def test_every_further_window_costs_the_same():
    net, costs = build(through=Windowed(16)), []
    for windows in (2, 3, 4, 8):
        with (
            FlopCounterMode(display=False) as counter,
            sdpa_kernel(SDPBackend.MATH),
        ):  # the one whose products are counted
            net(**inputs(16 * windows))
        costs.append(counter.get_total_flops())
    two, three, four, eight = costs
    assert three - two == four - three == (eight - four) / 4 > 0


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that is made within."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))])
        return out


@pytest.mark.parametrize("length", [320, 640])
@torch.no_grad()
def test_nothing_is_larger_than_the_stream_of_picture_and_text(length):
    with Largest() as largest:
        build(through=Windowed(16))(**inputs(length, side=4, batch=1))
    assert largest.numel == (4 + length) * WIDTH
    with Largest() as largest:
        build(through=whole)(**inputs(length, side=4, batch=1))
    assert largest.numel > 3 * length * WIDTH


def test_a_window_without_room_is_refused():
    with pytest.raises(InvalidInput, match="give 1 or more"):
        Windowed(0)
