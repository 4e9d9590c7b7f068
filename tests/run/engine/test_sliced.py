"""Laws of attention a few queries at a time: the same rows, and never more scores than stated."""

from functools import partial

import pytest
import torch
from torch import nn

from danqing.nets.operations import Attend
from danqing.run.cost import counted
from danqing.run.device import find_device
from danqing.run.engine import sliced
from danqing.run.engine.engines import ENGINES, find_engine


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("masked", ["none", "rows", "keys"])
@pytest.mark.parametrize("rows", [1, 5, 7, 100])
def test_parted_queries_see_what_they_see_together(rows, masked, monkeypatch):
    q, k, v = draw(2, 3, 23, 8), draw(2, 3, 31, 8, seed=1), draw(2, 3, 31, 5, seed=2)
    mask = {"none": None, "rows": draw(1, 1, 23, 31, seed=3), "keys": draw(2, 1, 1, 31, seed=4) > -1}[masked]
    monkeypatch.setattr(sliced, "SCORES", rows * 2 * 3 * 31 * 8)
    net = nn.ModuleList([Attend()])
    whole = net[0](q, k, v, mask, 0.3)
    off = ENGINES["sliced"].attach(net)
    assert type(net[0]) is sliced.SlicedAttend
    torch.testing.assert_close(net[0](q, k, v, mask, 0.3), whole, rtol=1e-12, atol=1e-12)
    off()
    assert type(net[0]) is Attend


def test_scores_stay_under_what_is_stated_however_long_the_stream(monkeypatch):
    monkeypatch.setattr(sliced, "SCORES", 1 << 20)
    for length in (1000, 4000):
        q = torch.empty(1, 2, length, 8, device="meta")
        asked = [partial(attend, q, q, q) for attend in (Attend(), sliced.SlicedAttend())]
        plain, parted = (counted(each, fused=False)[1] for each in asked)
        assert parted.scores <= 1 << 20 < plain.scores == 2 * length**2 * 4
        assert parted.peak < (2 << 20) + 4 * 2 * q.numel() + 1 < plain.peak
        assert parted.flops == plain.flops


def test_it_is_the_engine_where_no_kernel_is_fused(monkeypatch):
    monkeypatch.delenv("DANQING_ENGINE", raising=False)
    assert find_engine(torch.device("mps")) == "sliced" and find_engine(torch.device("cuda")) == "torch"
    assert find_engine(find_device("cpu")) in ("packed", "torch")
