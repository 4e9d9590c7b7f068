"""How good painted pictures are, against real ones: as distributions of features, and as pictures.

Features are vectors (N, D) of N pictures, of any network (`danqing.nets.features` ships); which one is part of every
number here, so
numbers of different features cannot be compared, and those of different counts hardly: the measures say how they depend
on N.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InvalidInput

#: Weights of red, green and blue in the brightness that the eye sees (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
#: How many distances are held at once, at most.
ROWS = 1024


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) and a root R (min(N, D), D) of the covariance, C = R^T R with the divisor N - 1, in float64.

    R is the triangle of the QR decomposition of the centred features, which is known to the last digits also where C
    has no full rank.

    Raises:
        InvalidInput: fewer than two pictures.
    """
    if features.ndim != 2 or len(features) < 2:
        raise InvalidInput(
            f"features of shape {tuple(features.shape)} have no covariance: give (N, D) of two pictures at least"
        )
    features = features.double()
    mean = features.mean(0)
    return mean, torch.linalg.qr((features - mean) / (len(features) - 1) ** 0.5, mode="r").R


def between(mean_a: Tensor, root_a: Tensor, mean_b: Tensor, root_b: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians (Dowson & Landau 1982), with roots as `moments` gives them:

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^(1/2) C_b C_a^(1/2))^(1/2))

    The eigenvalues of the symmetric product are the squares of the singular values of R_a R_b^T; taken from there, none
    that is small loses half of its digits to a square root, and none is negative.
    """
    shared = torch.linalg.svdvals(root_a @ root_b.mT).sum()
    return max(
        0.0, float((mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * shared)
    )


def frechet(a: Tensor, b: Tensor) -> float:
    """The squared Fréchet distance of two sets of features as Gaussians, (N, D) and (M, D) (Heusel et al. 2017).

    It is biased upwards: two sets of N out of one Gaussian of covariance v I are not 0 apart, but D (D + 5) v / 2N on
        average, for
    large N. So compare at equal counts alone, and beside the distance of as many real pictures.

    Raises:
        InvalidInput: fewer than two pictures in one of them, or features of different length.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InvalidInput(
            f"features of shape {tuple(a.shape)} and {tuple(b.shape)} are not of one kind: give (N, D) and (M, D)"
        )
    return between(*moments(a), *moments(b))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|, (N, M); without the shortcut over products, so that a vector is at no distance from itself."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def radii(features: Tensor, k: int = 3) -> Tensor:
    """The distance of each of (N, D) to its k-th nearest neighbour among the others, (N,).

    Raises:
        InvalidInput: there are not so many others.
    """
    if not 1 <= k < len(features):
        raise InvalidInput(f"{len(features)} pictures have no neighbours number {k}: give more than {k} pictures")
    return torch.cat(
        [_distances(part, features).kthvalue(k + 1).values for part in features.split(ROWS)]
    )  # the first is itself


def covered(points: Tensor, by: Tensor, k: int = 3) -> float:
    """The share of ``points`` (N, D) within the manifold of ``by`` (M, D): no farther from one of them than its k-th
    neighbour is.

    Precision is the share of painted pictures within the manifold of real ones, recall that of real ones within that of
    the painted (Kynkäänniemi et al. 2019, section 2; k = 3 as there). Both rise with M, slowly.
    """
    reach = radii(by, k)
    return float(torch.cat([(_distances(part, by) <= reach).any(1) for part in points.split(ROWS)]).double().mean())


def nearest(features: Tensor, others: Tensor) -> Tensor:
    """The distance of each of (N, D) to the nearest of (M, D), (N,): 0 where it is a copy."""
    return torch.cat([_distances(part, others).amin(1) for part in features.split(ROWS)])


def spread(features: Tensor) -> float:
    """The mean distance of two different pictures, (N, D), N at least 2; unbiased."""
    total = sum(float(_distances(part, features).double().sum()) for part in features.split(ROWS))
    return total / (len(features) * (len(features) - 1))


def sharpness(pictures: Tensor) -> Tensor:
    """The variance of the Laplacian of the brightness, (B,), of pictures (B, 3, H, W), at least 3 px high and wide.

    ``L(x, y) = Y(x+1, y) + Y(x-1, y) + Y(x, y+1) + Y(x, y-1) - 4 Y(x, y)``: of an edge that is blurred to w pixels it
    falls as 1/w^3. Noise is sharp too. Source: Pech-Pacheco et al. 2000, section 3.
    """
    y = torch.einsum("c,bchw->bhw", pictures.new_tensor(LUMA, dtype=torch.float32), pictures.float())[:, None]
    kernel = y.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return F.conv2d(y, kernel[None, None]).flatten(1).var(1, correction=0)


def psnr(x: Tensor, y: Tensor) -> float:
    """``-10 log10`` of the mean squared difference of pictures in [0, 1], in dB; 100 for equal ones."""
    return -10 * math.log10(max(float((x - y).square().mean()), 1e-10))


def ssim(x: Tensor, y: Tensor, window: int = 11, std: float = 1.5) -> Tensor:
    """Structural similarity of pictures (B, C, H, W) in [-1, 1]: (B,), 1 for equal ones (Wang et al. 2004, eq. 13, its
    Gaussian window and constants)."""
    row = torch.exp(-((torch.arange(window, device=x.device) - window // 2) ** 2) / (2 * std**2))
    kernel = torch.outer(row, row).to(x) / row.sum() ** 2

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel.expand(x.shape[1], 1, window, window), groups=x.shape[1])

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    cov, c1, c2 = mean(x * y) - mean_x * mean_y, (0.01 * 2) ** 2, (0.03 * 2) ** 2
    similar = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similar.mean((1, 2, 3))
