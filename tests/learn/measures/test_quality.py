"""The measures of quality are those of distributions and pictures whose answers are known."""

import math

import pytest
import torch
from scipy.linalg import sqrtm

from danqing.errors import InvalidInput
from danqing.learn.measures.quality import (
    between,
    covered,
    frechet,
    moments,
    nearest,
    psnr,
    radii,
    sharpness,
    spread,
    ssim,
)

DOUBLE = torch.float64


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=noise(seed), dtype=DOUBLE)


def test_the_root_of_the_moments_is_one_of_the_covariance():
    for count in (40, 4):  # more pictures than features, and fewer
        mean, root = moments(x := normal(count, 7))
        torch.testing.assert_close(root.mT @ root, torch.cov(x.T))
        torch.testing.assert_close(mean, x.mean(0))


def test_the_distance_of_gaussians_with_one_basis_is_that_of_their_means_and_deviations():
    """Where C_a and C_b commute, d = |m_a - m_b|^2 + |s_a - s_b|^2 with the deviations s along the axes they share."""
    axes = torch.linalg.qr(normal(5, 5)).Q
    a, b = normal(5, seed=1).abs(), normal(5, seed=2).abs()
    b[0] = 0  # also where one has no extent
    m = normal(5, seed=3)
    found = between(m, a[:, None] * axes.mT, torch.zeros_like(m), b[:, None] * axes.mT)
    assert found == pytest.approx(float(m.square().sum() + (a - b).square().sum()))


def test_the_distance_is_that_of_the_definition_by_a_matrix_square_root():
    a, b = normal(50, 6), normal(60, 6, seed=1) @ normal(6, 6, seed=2) + 1
    ca, cb = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    want = float((a.mean(0) - b.mean(0)).square().sum()) + float((ca + cb - 2 * sqrtm(ca @ cb).real).trace())
    assert frechet(a, b) == pytest.approx(want)


@pytest.mark.parametrize("count", [200, 9])
def test_the_distance_is_zero_to_itself_symmetric_and_blind_to_order_and_rotation(count):
    a, b = normal(count, 12), 2 * normal(count, 12, seed=1) + 0.3
    turn = torch.linalg.qr(normal(12, 12, seed=2)).Q
    assert frechet(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet(a, b) == pytest.approx(frechet(b, a)) == pytest.approx(frechet(a.flip(0) @ turn, b @ turn))
    assert frechet(3 * a, 3 * b) == pytest.approx(9 * frechet(a, b))
    assert frechet(a + 1, a) == pytest.approx(12)


def test_the_bias_of_equal_distributions_is_what_is_stated_and_halves_with_twice_the_pictures():
    """D (D + 5) / 2N for white features: 2 D / N of the means, D (D + 1) / 2N of the covariances."""
    for count in (400, 800):
        found = [frechet(normal(count, 4, seed=i), normal(count, 4, seed=1000 + i)) for i in range(100)]
        assert sum(found) / 100 == pytest.approx(4 * 9 / (2 * count), rel=0.15)


def test_the_radius_is_the_distance_to_the_kth_other_one():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(line, 1).tolist() == [1, 1, 2, 4] and radii(line, 3).tolist() == [7, 6, 4, 7]
    assert radii(torch.zeros(4, 2), 2).tolist() == [0] * 4  # copies are at no distance
    with pytest.raises(InvalidInput, match="more than 4"):
        radii(line, 4)


def test_everything_covers_itself_and_nothing_far_away():
    x = normal(300, 5)
    assert covered(x, x) == 1 and covered(x + 100, x) == 0


def test_a_lost_mode_costs_recall_and_an_invented_one_precision():
    """Real: two modes; painted: the first of them, and one of its own."""
    real = torch.cat([normal(200, 3), normal(200, 3, seed=1) + 50])
    painted = torch.cat([normal(200, 3, seed=2), normal(200, 3, seed=3) - 50])
    assert covered(painted, real) == pytest.approx(0.5, abs=0.05) and covered(real, painted) == pytest.approx(
        0.5, abs=0.05
    )
    assert covered(painted[:200], real) > 0.9 and covered(real, painted[:200]) < 0.55


def test_blocks_of_rows_change_nothing(monkeypatch):
    x, y = normal(50, 4), normal(30, 4, seed=1)
    whole = radii(x), covered(x, y), nearest(x, y), spread(x)
    monkeypatch.setattr("danqing.learn.measures.quality.ROWS", 7)
    parts = radii(x), covered(x, y), nearest(x, y), spread(x)
    torch.testing.assert_close(parts, whole)


def test_a_copy_is_at_no_distance_and_the_spread_of_a_normal_is_known():
    """E |x - y| of two draws of N(0, I) in D dimensions is 2 Gamma((D + 1) / 2) / Gamma(D / 2)."""
    x = normal(600, 3)
    assert nearest(x[5:9], x).tolist() == [0] * 4
    assert nearest(x[:1] + 40, x[:1]).item() == pytest.approx(40 * 3**0.5)
    assert spread(x) == pytest.approx(2 * math.gamma(2) / math.gamma(1.5), rel=0.03)
    assert spread(torch.tensor([[0.0], [2.0]])) == 2


def test_sharpness_knows_no_plain_ground_slope_or_side_and_grows_with_contrast():
    plain = torch.full((1, 3, 8, 8), 77)
    slope = torch.arange(8.0).expand(1, 3, 8, 8)
    x = torch.randint(0, 100, (4, 3, 9, 8), generator=noise())
    assert sharpness(plain).item() == pytest.approx(0, abs=1e-6) and sharpness(slope).item() == pytest.approx(
        0, abs=1e-6
    )
    torch.testing.assert_close(sharpness(x), sharpness(x.flip(-1).transpose(-1, -2)))
    torch.testing.assert_close(sharpness(2 * x + 30), 4 * sharpness(x))


def test_an_edge_of_twice_the_width_has_an_eighth_of_the_sharpness():
    """A cubic edge of width w has a second derivative of about 1/w^2 over a length w: a mean square of 1/w^3."""

    def edge(width: float) -> torch.Tensor:
        t = ((torch.arange(400.0) - 200) / width).clamp(-0.5, 0.5) + 0.5
        return (255 * t * t * (3 - 2 * t)).expand(1, 3, 5, 400)

    assert float(sharpness(edge(40)) / sharpness(edge(80))) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("shapes", [((1, 3), (4, 3)), ((4, 3), (4, 2)), ((4,), (4,))])
def test_what_has_no_distance_is_refused(shapes):
    with pytest.raises(InvalidInput):
        frechet(*map(torch.zeros, shapes))


def test_a_difference_of_a_tenth_is_twenty_decibels():
    assert psnr(torch.full((3, 4, 4), 0.6), torch.full((3, 4, 4), 0.5)) == pytest.approx(20, abs=1e-4)


def test_structural_similarity_is_one_of_equal_pictures_alone_symmetric_and_below_by_contrast_as_its_formula_says():
    x = normal(2, 3, 16, 16).clamp(-1, 1)
    torch.testing.assert_close(ssim(x, x), torch.ones(2, dtype=DOUBLE))
    y = normal(2, 3, 16, 16, seed=1).clamp(-1, 1)
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    # Even pictures differ by their light alone.
    flat, other = torch.full((1, 1, 16, 16), 0.4, dtype=DOUBLE), torch.full((1, 1, 16, 16), 0.6, dtype=DOUBLE)
    c = (0.01 * 2) ** 2
    assert float(ssim(flat, other)) == pytest.approx((2 * 0.4 * 0.6 + c) / (0.4**2 + 0.6**2 + c))
