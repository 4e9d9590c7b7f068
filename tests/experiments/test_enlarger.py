"""Laws of the training that enlarges: it begins at the nearest pixels, all of it learns, and its pairs belong
together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from experiments.enlarger import Large, Restoring, charbonnier, primed

from danqing.errors import InvalidInput
from danqing.nets.srvgg import SRVGGNetCompact, SRVGGNetCompactConfig
from danqing.noise import keyed


def network() -> SRVGGNetCompact:
    torch.manual_seed(0)
    return primed(SRVGGNetCompact(SRVGGNetCompactConfig(channels=8, convolutions=3)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures, the second held out: one of noise, and one of nothing that covers nothing."""
    pictures = np.zeros((2, 64, 64, 4), np.uint8)
    pictures[0] = np.random.default_rng(0).integers(0, 256, (64, 64, 4))
    pictures[0, ..., :3] = np.maximum(pictures[0, ..., :3], 255 - pictures[0, ..., 3:])  # colours on white
    pictures[1, ..., :3] = 255
    np.save(tmp_path / "large.npy", pictures)
    rows = [{"index": 0, "split": "train"}, {"index": 1, "split": "heldout_pair"}]
    (tmp_path / "ledger_large.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_it_begins_at_the_nearest_pixels_and_an_even_picture_excites_no_layer():
    net, x = network(), torch.rand(2, 3, 6, 5, generator=keyed("x"))
    assert torch.equal(net(x), F.interpolate(x, scale_factor=4, mode="nearest"))
    assert net.body[0](torch.full((1, 3, 5, 5), 0.7))[..., 1:-1, 1:-1].abs().max() < 1e-5


def test_the_row_keeps_the_mean_square_of_a_normal_signal():
    net = primed(SRVGGNetCompact(SRVGGNetCompactConfig(channels=256, convolutions=4)))
    h = before = torch.randn(1, 256, 12, 12, generator=keyed("signal"))
    with torch.no_grad():
        for layer in net.body[1:-1]:  # PReLU, convolution, ..., PReLU
            h = layer(h)
    slope = 0.25
    assert float(h.square().mean() / before.square().mean()) == pytest.approx((1 + slope**2) / 2, rel=0.1)


def test_the_truth_costs_nothing_and_every_parameter_learns():
    x = torch.rand(2, 3, 6, 6, generator=keyed("x"))
    y = F.interpolate(x, scale_factor=4, mode="nearest")
    assert Restoring()(network(), (x, y), keyed(0))["loss"].item() == pytest.approx(0, abs=1e-7)
    net = network()
    torch.nn.init.normal_(net.body[-1].weight)  # pyright: ignore[reportArgumentType]  # which is zero at first, and stops the others
    Restoring()(net, (x, y.flip(-1)), keyed(0))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_large_differences_cost_their_size_and_small_ones_their_square():
    one = torch.ones(3)
    assert float(charbonnier(1e3 * one, 0.05)) == pytest.approx(1e3, rel=1e-4)
    assert float(charbonnier(1e-3 * one, 0.05)) == pytest.approx(1e-6 / 0.1, rel=1e-2)


def test_crops_are_those_of_the_key_in_the_range_and_what_is_held_out_is_apart(data: Path):
    large = Large.load(data)
    assert (large.train, large.apart) == ([0], [1])
    crops = [large.crop(0, 16, keyed(i)) for i in range(24)]
    assert all(c.shape == (3, 16, 16) and c.min() >= 0 and c.max() <= 1 for c in crops)
    assert all(torch.equal(c, large.crop(0, 16, keyed(i))) for i, c in enumerate(crops))
    assert len({c.numpy().tobytes() for c in crops}) > 20


def test_what_covers_nothing_takes_the_colour_beneath(data: Path):
    large = Large.load(data)
    shades = {tuple(large.crop(1, 16, keyed(i)).mean((1, 2)).tolist()) for i in range(20)}
    assert (1.0, 1.0, 1.0) in shades and len(shades) > 4
    assert all(float(large.crop(1, 16, keyed(i)).std((1, 2)).max()) < 1e-6 for i in range(20))


def test_a_folder_without_large_pictures_says_what_makes_them(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"experiments\.data\.large"):
        Large.load(tmp_path)
