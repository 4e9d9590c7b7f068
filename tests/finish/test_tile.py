"""Laws of tiles: they cover the picture once, stay within their size, and agree with the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from danqing.errors import InvalidInput
from danqing.finish.tile import kept, needed_halo, spans, windows
from danqing.nets.rrdb import X2, X4, RRDBNet
from danqing.nets.srvgg import VIDEO, SRVGGNetCompact


@given(st.integers(1, 400), st.integers(16, 200), st.integers(0, 40), st.sampled_from([1, 2, 4]))
def test_what_is_kept_covers_a_side_once_and_what_is_read_is_small_and_aligned(
    cells: int, tile: int, halo: int, multiple: int
) -> None:
    length, aligned = cells * multiple, -(-halo // multiple) * multiple
    if length > tile and (tile - 2 * aligned) // multiple < 1:
        with pytest.raises(InvalidInput, match="no pixel of its own"):
            spans(length, tile, halo, multiple)
        return
    found = spans(length, tile, halo, multiple)
    assert found[0].start == 0 and found[-1].stop == length
    assert all(a.stop == b.start for a, b in pairwise(found))
    for span in found:
        assert span.after - span.before <= tile
        assert span.before == (max(0, span.start - aligned) if len(found) > 1 else 0)
        assert span.after == (min(length, span.stop + aligned) if len(found) > 1 else length)
        assert all(border % multiple == 0 for border in span)


NETS: dict[str, Any] = {}
for name, make in {
    "rrdb x4": lambda: RRDBNet(replace(X4, channels=4, growth=2, blocks=1)),
    "rrdb x2, folded": lambda: RRDBNet(replace(X2, channels=4, growth=2, blocks=1)),
    "compact x3": lambda: SRVGGNetCompact(replace(VIDEO, channels=4, convolutions=3, scale=3)),
}.items():
    torch.manual_seed(0)
    NETS[name] = make().double().requires_grad_(False)


@pytest.mark.parametrize("name", NETS)
def test_with_a_halo_of_the_reach_tiles_are_the_whole(name: str) -> None:
    net = NETS[name]
    scale, reach, fold = net.config.scale, net.config.reach, net.config.unshuffle
    x = torch.rand(1, 3, 60, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tile = 2 * reach + 12
    assert tile < 100
    whole, pieced = net(x), torch.full((1, 3, scale * 60, scale * 100), torch.nan, dtype=torch.float64)
    for window in windows(60, 100, tile, reach, fold):
        rows, columns = window
        answer = net(x[..., rows.before : rows.after, columns.before : columns.after])
        pieced[..., scale * rows.start : scale * rows.stop, scale * columns.start : scale * columns.stop] = kept(
            answer, window, scale
        )
    torch.testing.assert_close(pieced, whole, rtol=0, atol=1e-12)


class Blur(nn.Module):
    """A mean over (2n + 1)² pixels: all of its reach matters alike."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(x, 2 * self.n + 1, 1, self.n, count_include_pad=True)


def test_a_network_that_needs_all_of_its_reach_gets_it_and_no_more() -> None:
    assert needed_halo(Blur(20), 1, 20, scale=1) <= 32
    assert needed_halo(Blur(12), 1, 12, scale=1) == 12
    assert needed_halo(Blur(40), 1, 40, scale=1, tolerance=1e-9) == 40


def test_a_deep_network_that_forgets_what_is_far_gets_less_than_its_reach() -> None:
    torch.manual_seed(0)
    net = RRDBNet(replace(X4, channels=4, growth=2, blocks=8)).requires_grad_(False)
    assert net.config.reach == 124
    assert needed_halo(net, 3, net.config.reach, scale=4) == 16
