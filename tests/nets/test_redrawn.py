"""Laws of what draws a picture anew: it begins with the picture as it is, and words decide what becomes of it."""

import pytest
import torch
from torch import Tensor

from danqing.nets.redrawn import Redrawn


@pytest.fixture
def net() -> Redrawn:
    torch.manual_seed(0)
    return Redrawn(4, 12, (16, 32)).eval().requires_grad_(False)


def given(count: int = 3) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, 8, 8, generator=draws), torch.randn(count, 12, generator=draws)


def ready(net: Redrawn) -> Redrawn:
    draws = torch.Generator().manual_seed(2)
    for p in net.parameters():
        p.add_(0.2 * torch.randn(p.shape, generator=draws))
    return net


def test_a_picture_begins_as_it_is(net: Redrawn) -> None:
    latent, summary = given()
    assert torch.equal(net(latent, summary), latent)


def test_pictures_and_words_both_count_and_each_picture_alone(net: Redrawn) -> None:
    latent, summary = given()
    made = ready(net)(latent, summary)
    assert (net(latent, summary.flip(0)) - made).abs().max() > 0.1 < (net(latent.flip(0), summary) - made).abs().max()
    torch.testing.assert_close(torch.cat([net(latent[i : i + 1], summary[i : i + 1]) for i in range(3)]), made)
