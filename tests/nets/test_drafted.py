"""The drafted UNet: a UNet that reads its draft beside the latent."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from danqing.errors import InvalidInput
from danqing.nets.drafted import MINI, DraftedUNet
from danqing.nets.unet import UNet

TINY = replace(
    MINI,
    block_out_channels=(8, 16, 24),
    attention_heads=(1, 2, 3),
    norm_num_groups=4,
    cross_attention_dim=12,
    pooled_channels=6,
    in_channels=5,
    out_channels=3,
    draft_size=4,
)


@pytest.fixture
def net() -> DraftedUNet:
    torch.manual_seed(0)
    return DraftedUNet(TINY).double().requires_grad_(False)


def call(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latent, time, tokens and summary."""
    draw = torch.Generator().manual_seed(1)
    x, tokens, pooled = (torch.randn(shape, generator=draw).double() for shape in ((2, 3, *size), (2, 7, 12), (2, 6)))
    return x, torch.tensor([3.0, 977.0]), tokens, pooled


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (6, 10)])
def test_it_is_a_unet_that_reads_latent_and_draft(net: DraftedUNet, size: tuple[int, int]) -> None:
    plain = UNet(TINY).double()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("draft.")})
    x, time, tokens, pooled = call(size)
    grid = (pooled @ net.draft.linear.weight.T + net.draft.linear.bias).reshape(2, 2, 4, 4)
    both = torch.cat([x, F.interpolate(grid, size, mode="bilinear")], 1)
    torch.testing.assert_close(
        net(x, time, tokens, pooled=pooled), plain(both, time, tokens, pooled=pooled), rtol=0, atol=1e-12
    )


def test_the_draft_of_a_picture_does_not_depend_on_its_neighbours(net: DraftedUNet) -> None:
    x, time, tokens, pooled = call((4, 4))
    alone = torch.cat(
        [net(x[i : i + 1], time[i : i + 1], tokens[i : i + 1], pooled=pooled[i : i + 1]) for i in range(2)]
    )
    torch.testing.assert_close(net(x, time, tokens, pooled=pooled), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [None, 5])
def test_without_its_summary_it_says_what_is_missing(net: DraftedUNet, width: int | None) -> None:
    x, time, tokens, _ = call((4, 4))
    with pytest.raises(InvalidInput, match="summary of width 6"):
        net(x, time, tokens, pooled=None if width is None else torch.zeros(2, width).double())


def test_the_draft_of_a_part_is_that_part_of_the_draft(net: DraftedUNet) -> None:
    from danqing.tiles import places

    x, _, _, pooled = call((12, 10))
    whole, where = net.beside(x, pooled), places(x).movedim(1, -1).expand(2, -1, -1, -1)  # (2, 12, 10, 2)
    for rows, columns in [(slice(0, 12), slice(0, 10)), (slice(3, 7), slice(5, 9))]:
        part = net.beside(x[..., rows, columns], pooled, where[:, rows, columns])
        torch.testing.assert_close(part, whole[..., rows, columns], rtol=0, atol=1e-12)
