"""Laws of resampling, against scipy's."""

import pytest
import torch
from scipy.signal import upfirdn as scipys

from danqing.nets.upfirdn import TAPS, downsample, low_pass, upfirdn, upsample


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_it_is_scipys_along_both_sides(up, down):
    row, x = torch.tensor([1.0, 2.0, 4.0, -1.0], dtype=torch.float64), drawn(1, 2, 5, 7)
    mine = upfirdn(x, torch.outer(row, row), up=up, down=down, before=3, after=3 - (up - 1))
    theirs = scipys(row.numpy(), scipys(row.numpy(), x.numpy(), up, down, axis=2), up, down, axis=3)
    torch.testing.assert_close(mine, torch.from_numpy(theirs))


def test_enlarging_and_reducing_keep_a_constant_picture_inside_the_borders():
    x = torch.ones(1, 1, 8, 8)
    for y in (upsample(x, low_pass()), downsample(x, low_pass())):
        torch.testing.assert_close(y[..., 2:-2, 2:-2], torch.ones_like(y[..., 2:-2, 2:-2]))


def test_a_picture_without_high_frequencies_comes_back_nearly_from_up_then_down():
    """The low pass there and back has the response cos^6 of a quarter of the frequency, 1 - 3/4 (w/2)^2 for small w."""
    w = 0.2
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    wave = torch.cos(w * x)[None, None].double()
    back = downsample(upsample(wave, low_pass().double()), low_pass().double())
    # Of a cosine, all that a symmetric filter can do is to scale it; at a frequency of w/2 [1 3 3 1]/8 is cos^3(w/4).
    ratio = (back / wave)[0, 0, 8:-8, 8:-8]
    torch.testing.assert_close(
        ratio.median(), torch.tensor(torch.tensor(w / 4).cos().item() ** 6).double(), rtol=1e-3, atol=0
    )
    assert y.shape == x.shape


def test_enlarging_is_four_times_the_transpose_of_reducing():
    """<up x, y> = 4 <x, down y>: so the gradient of the one is the other."""
    x, y, taps = drawn(1, 2, 6, 6), drawn(1, 2, 12, 12), low_pass().double()
    torch.testing.assert_close((upsample(x, taps) * y).sum(), 4 * (x * downsample(y, taps)).sum())


def test_the_filter_sums_to_one_and_is_its_own_mirror():
    taps = low_pass(TAPS)
    assert taps.sum() == 1 and torch.equal(taps, taps.flip(0, 1)) and torch.equal(taps, taps.T)


def test_it_can_be_differentiated_twice():
    taps = low_pass().double()
    assert torch.autograd.gradgradcheck(lambda x: upsample(x, taps).square(), drawn(1, 1, 2, 2).requires_grad_())
