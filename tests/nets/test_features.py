"""Laws of the features that pictures are compared in."""

import pytest
import torch

from danqing.errors import InvalidInput
from danqing.nets.features import ART, FeatureConfig, Features

TINY = FeatureConfig(image_size=16, widths=(8, 16), norm_num_groups=4, texture=1, features=6)


def net() -> Features:
    torch.manual_seed(0)
    return Features(TINY)


def test_features_have_one_length_and_no_mean():
    found = net()(torch.rand(3, 3, 16, 16) * 2 - 1)
    torch.testing.assert_close(found.mean(1), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.full((3,), 6**0.5), rtol=1e-3, atol=0)


def test_a_batch_is_its_pictures_one_by_one():
    model, x = net(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))


def test_every_weight_gets_a_gradient():
    model = net()
    (model(torch.rand(2, 3, 16, 16)) * torch.randn(2, 6)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_what_ships_is_small_and_another_size_is_refused():
    assert sum(p.numel() for p in Features(ART).parameters()) * 2 < 2e6  # bytes in bf16
    with pytest.raises(InvalidInput, match="16, 16"):
        net()(torch.zeros(1, 3, 8, 8))
