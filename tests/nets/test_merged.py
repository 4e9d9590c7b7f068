"""Laws of merged cells: what is alike says what it said, nothing else is touched, and it comes off without trace."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.nets.test_deep import CONFIG, made
from torch import nn

from danqing.errors import InvalidInput
from danqing.nets.looking import Look, Looking, Seen
from danqing.nets.merged import MOST, Merge, drawn, planned
from danqing.nets.perturbed import MARK, perturb
from danqing.nets.unet import UNet

SIZES = st.integers(2, 9)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return made(UNet(CONFIG))


@torch.inference_mode()
def seen(net: nn.Module, batch: int = 2, side: int = 8, **more: Any) -> torch.Tensor:
    return net(numbers(batch, 4, side, side + 2), torch.full((batch,), 500.0), numbers(batch, 7, 12, seed=1), **more)


def traces(net: nn.Module) -> list[Any]:
    return [(type(m), sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]


@settings(max_examples=30, deadline=None)
@given(height=SIZES, width=SIZES, seed=st.integers(0, 99))
def test_each_block_has_one_destination_and_every_cell_is_one_or_a_source(height, width, seed):
    cells = drawn(height, width, seed)
    assert sorted([*cells.into.tolist(), *cells.sources.tolist()]) == list(range(height * width))
    blocks = torch.div(cells.into, width, rounding_mode="floor") // 2 * (width // 2) + cells.into % width // 2
    assert blocks.tolist() == list(range((height // 2) * (width // 2)))


@settings(max_examples=40, deadline=None)
@given(
    height=SIZES,
    width=SIZES,
    ratio=st.floats(0.05, MOST),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_equal_cells_are_merged_and_parted_exactly(height, width, ratio, seed, dtype):
    cells = drawn(height, width, seed)
    count = min(int(ratio * height * width), len(cells.sources))
    x = numbers(1, 5, seed=seed).to(dtype).expand(height * width, 5)
    plan = planned(x, cells, count)
    small = plan.merged(x)
    assert len(small) == height * width - count
    assert torch.equal(small, x[: len(small)]) and torch.equal(plan.parted(small), x)


@settings(max_examples=30, deadline=None)
@given(height=SIZES, width=SIZES, share=st.floats(0, 1), seed=st.integers(0, 99))
def test_what_is_not_merged_stays_and_sums_are_kept(height, width, share, seed):
    cells = drawn(height, width, seed)
    x, count = numbers(height * width, 5, seed=seed).double(), int(share * len(cells.sources))
    plan = planned(x, cells, count)
    small = plan.merged(x)
    few = len(plan.stay) - len(plan.stands)
    assert torch.equal(plan.parted(small)[plan.stay[:few]], x[plan.stay[:few]])
    assert torch.allclose(small[:few].sum(0) + (small[few:] * plan.stands).sum(0), x.sum(0))


def test_it_moves_the_answer_by_the_seed_and_comes_off_without_trace(net):
    before, plain = traces(net), seen(net)
    answers = []
    for seed in (0, 0, 1):
        off = Merge(net, 0.5, seed)()
        answers.append(seen(net))
        off()
        assert traces(net) == before and torch.equal(seen(net), plain)
    assert torch.equal(answers[0], answers[1]) and not torch.equal(answers[0], answers[2])
    assert 0 < float((answers[0] - plain).norm() / plain.norm()) < 0.5


def test_too_few_to_merge_is_the_network_as_it_is(net):
    plain = seen(net)
    off = Merge(net, 1e-6)()
    assert torch.equal(seen(net), plain)
    off()


def test_a_picture_depends_on_no_neighbour(net):
    off = Merge(net, 0.5)()
    layer = net.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    layer_cells = layer.over.args[1]
    layer_cells.look(layer, (numbers(1, 8, 4, 6),))
    with torch.inference_mode():
        x = numbers(3, 24, 8)
        whole = layer(x, None)
        assert all(torch.allclose(layer(x[i : i + 1], None)[0], whole[i], atol=1e-6) for i in range(3))
    off()


def test_who_looks_into_the_attentions_sees_all_cells(net):
    marked = {MARK: torch.ones(2, 1)}
    unperturb = perturb(net, ["down_blocks.0"])
    wanted = seen(net, extra=marked)
    off = Merge(net, 0.5)()
    got = seen(net, extra=marked)
    unperturb()
    off()
    assert got.shape == wanted.shape and not torch.equal(got, wanted)  # what is not perturbed is merged
    looking = Looking(net)
    unput, base = looking.put(), torch.zeros(2, 1)
    with looking.reading() as read:
        seen(net)
    looking.seen[:] = [Seen(Look(1.0, 0.0), base, read)]
    wanted = seen(net)
    off = Merge(net, 0.5)()
    got = seen(net)
    off()
    unput()
    assert torch.equal(got, wanted)  # an attention that looks at another picture is as it is


def test_a_network_without_grids_of_cells_is_refused():
    with pytest.raises(InvalidInput, match="merge_tokens: a Linear"):
        Merge(nn.Linear(2, 2), 0.5)()
