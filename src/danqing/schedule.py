"""Schedules t -> (alpha, sigma), and spacings: which times a sampler visits.

    x_t = alpha_t x_0 + sigma_t eps,  kappa_t = sigma_t / alpha_t,  log SNR = log alpha_t^2 / sigma_t^2 = -2 log kappa_t

Time t runs over [0, 1]: t = 0 is clean (sigma = 0) in every schedule, t = 1 the most noise. A published network with
T discrete levels i = 0 .. T-1 keeps them: level i is t = (i + 1) / T, and ``timestep`` gives the number that the
network was trained with. Everything is computed in float64 and returned in the dtype of the argument. Options outside
their domain, which each kind states in ``__post_init__``, raise ``InvalidInput``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from .errors import InvalidInput, UnknownName

#: How many levels a table may have: a thousand times as many as any network was trained with.
MAX_LEVELS = 2**20


class Schedule(Protocol):
    """t -> (alpha, sigma) and back. Tensors of any shape; what is returned has the argument's shape and dtype."""

    @property
    def levels(self) -> int:
        """T, how many discrete levels the network's training counted (1000 where time was continuous)."""
        ...

    @property
    def t_min(self) -> float:
        """The smallest noisy time that a network was trained on; below it only t = 0, clean, is visited."""
        ...

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]: ...

    def time(self, log_snr: Tensor) -> Tensor:
        """The inverse: t with log(alpha_t^2 / sigma_t^2) = log_snr, held to [0, 1]."""
        ...

    def timestep(self, t: Tensor) -> Tensor:
        """The number a published network receives for t: 0 .. T-1 for tables, 1000 sigma for flows."""
        ...


def _widest(device: torch.device) -> torch.dtype:
    """Float64, or float32 on the one device that has nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def _wide(t: Tensor) -> Tensor:
    return t.to(_widest(t.device))


def _kappa(log_snr: Tensor) -> Tensor:
    return torch.exp(-0.5 * _wide(log_snr))


def _require(schedule: Schedule, holds: bool, domain: str) -> None:
    """Refuse options outside their domain; every kind counts two levels at least."""
    if not holds:
        raise InvalidInput(f"{schedule} is no schedule: give {domain}")
    levels = schedule.levels
    if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= MAX_LEVELS:
        raise InvalidInput(f"{schedule} is no schedule: give a whole number of levels from 2 up to {MAX_LEVELS:,}")


# Tables -------------------------------------------------------------------------------------------------------------


class Table:
    """T discrete levels; between two of them log kappa is linear in t, as k-diffusion interpolates.

    A logarithm cannot reach kappa = 0 (from level 0 down to clean) nor kappa = inf (zero terminal SNR); on such an
    end segment the angle atan(kappa) is linear in t instead. A kind states ``kappas``, (T,) increasing, and whether
    it preserves variance (alpha^2 + sigma^2 = 1) or holds alpha = 1.
    """

    count: int
    preserving: bool = True

    def kappas(self) -> Tensor:
        raise TypeError(f"{type(self).__name__} is a Table without levels: it must state kappas()")

    @property
    def levels(self) -> int:
        return self.count

    @property
    def t_min(self) -> float:
        return 1 / self.levels

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        nodes, where = _nodes(self, t.device), _wide(t) * self.levels  # nodes (T + 1,): clean, then level 0 .. T-1
        low = where.floor().clamp(0, self.levels - 1).long()
        kappa = _between(nodes[low], nodes[low + 1], where - low)
        if not self.preserving:
            return torch.ones_like(t), kappa.to(t.dtype)
        return torch.rsqrt(1 + kappa.square()).to(t.dtype), torch.rsqrt(1 + kappa.pow(-2)).to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        nodes, kappa = _nodes(self, log_snr.device), _kappa(log_snr)
        low = (torch.searchsorted(nodes, kappa.contiguous()) - 1).clamp(0, self.levels - 1)
        part = _part(nodes[low], nodes[low + 1], kappa).clamp(0, 1)
        return ((low + part) / self.levels).to(log_snr.dtype)

    def timestep(self, t: Tensor) -> Tensor:
        return (t * self.levels - 1).clamp_min(0)


@lru_cache(maxsize=32)
def _nodes(table: Table, device: torch.device) -> Tensor:
    kappas = table.kappas()
    return torch.cat([kappas.new_zeros(1), kappas]).to(device, _widest(device))


def _between(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
    """kappa at ``part`` of the way from a to b: geometric, or by angle where an end is 0 or infinite."""
    geometric = torch.exp(torch.lerp(a.log(), b.log(), part))
    angle = torch.lerp(a.atan(), b.atan(), part)
    angular = torch.where(angle < math.pi / 2, angle.tan(), torch.inf)
    return torch.where((a > 0) & b.isfinite(), geometric, angular)


def _part(a: Tensor, b: Tensor, kappa: Tensor) -> Tensor:
    """The inverse of ``_between``."""
    geometric = (kappa.log() - a.log()) / (b.log() - a.log())
    angular = (kappa.atan() - a.atan()) / (b.atan() - a.atan())
    return torch.where((a > 0) & b.isfinite(), geometric, angular)


def _from_betas(betas: Tensor, zero_snr: bool) -> Tensor:
    """kappa_i = sqrt(1 - abar_i) / sqrt(abar_i), abar_i = prod_(j <= i) (1 - beta_j).

    With ``zero_snr``, sqrt(abar) is shifted to end at 0 and scaled to keep its first value (Lin et al. 2023,
    algorithm 1).
    """
    alphas = torch.cumprod(1 - betas, 0).sqrt()
    if zero_snr:
        alphas = (alphas - alphas[-1]) * alphas[0] / (alphas[0] - alphas[-1])
    return (1 - alphas.square()).sqrt() / alphas


@dataclass(frozen=True, kw_only=True)
class Linear(Table):
    """beta_i linear in i (Ho et al. 2020)."""

    start: float = 1e-4
    end: float = 0.02
    count: int = 1000
    zero_snr: bool = False

    def __post_init__(self):
        _require(self, 0 < self.start <= self.end < 1, "0 < start <= end < 1")

    def kappas(self) -> Tensor:
        return _from_betas(torch.linspace(self.start, self.end, self.count, dtype=torch.float64), self.zero_snr)


@dataclass(frozen=True, kw_only=True)
class ScaledLinear(Table):
    """sqrt(beta_i) linear in i (Rombach et al. 2022); the defaults are those of Stable Diffusion 1, 2 and XL."""

    start: float = 0.00085
    end: float = 0.012
    count: int = 1000
    zero_snr: bool = False

    def __post_init__(self):
        _require(self, 0 < self.start <= self.end < 1, "0 < start <= end < 1")

    def kappas(self) -> Tensor:
        roots = torch.linspace(self.start**0.5, self.end**0.5, self.count, dtype=torch.float64)
        return _from_betas(roots.square(), self.zero_snr)


@dataclass(frozen=True, kw_only=True)
class Cosine(Table):
    """abar(u) = cos^2((u + s) / (1 + s) pi / 2), beta_i = min(1 - abar((i+1)/T) / abar(i/T), 0.999).

    (Nichol & Dhariwal 2021, equation 17.)
    """

    s: float = 0.008
    count: int = 1000
    zero_snr: bool = False

    def __post_init__(self):
        _require(self, 0 <= self.s < math.inf, "0 <= s")

    def kappas(self) -> Tensor:
        u = torch.arange(self.count + 1, dtype=torch.float64) / self.count
        abar = torch.cos((u + self.s) / (1 + self.s) * math.pi / 2).square()
        return _from_betas((1 - abar[1:] / abar[:-1]).clamp_max(0.999), self.zero_snr)


@dataclass(frozen=True, kw_only=True)
class VE(Table):
    """alpha = 1, sigma geometric from sigma_min to sigma_max over T levels (Song et al. 2021, appendix C)."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    count: int = 1000
    preserving = False

    def __post_init__(self):
        _require(self, 0 < self.sigma_min < self.sigma_max < math.inf, "0 < sigma_min < sigma_max")

    def kappas(self) -> Tensor:
        ends = math.log(self.sigma_min), math.log(self.sigma_max)
        return torch.linspace(*ends, self.count, dtype=torch.float64).exp()


# Closed forms -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VP:
    """log alpha_t = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2, alpha^2 + sigma^2 = 1 (Song et al. 2021, VP)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    levels: int = 1000

    def __post_init__(self):
        _require(self, 0 < self.beta_min <= self.beta_max < math.inf, "0 < beta_min <= beta_max")

    @property
    def t_min(self) -> float:
        return 1 / self.levels

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        u = _wide(t)
        log_alpha = -u.square() * (self.beta_max - self.beta_min) / 4 - u * self.beta_min / 2
        return log_alpha.exp().to(t.dtype), (-torch.expm1(2 * log_alpha)).sqrt().to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        c = 2 * torch.log1p(_kappa(log_snr).square())  # -4 log alpha = slope t^2 + 2 beta_min t
        c = c.clamp_max(slope + 2 * self.beta_min)  # its value at t = 1
        return (c / (self.beta_min + (self.beta_min**2 + slope * c).sqrt())).clamp(0, 1).to(log_snr.dtype)

    def timestep(self, t: Tensor) -> Tensor:
        return t * (self.levels - 1)


@dataclass(frozen=True, kw_only=True)
class EDM:
    """alpha = 1, sigma_t = sigma_max t^rho (Karras et al. 2022): steps uniform in t are theirs with sigma_min -> 0.

    The published steps, which end at sigma_min, are uniform in t from 1 to t_min = (sigma_min / sigma_max)^(1 / rho).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    levels: int = 1000

    def __post_init__(self):
        holds = 0 < self.sigma_min < self.sigma_max < math.inf and 0 < self.rho < math.inf
        _require(self, holds, "0 < sigma_min < sigma_max and 0 < rho")

    @property
    def t_min(self) -> float:
        return (self.sigma_min / self.sigma_max) ** (1 / self.rho)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), (self.sigma_max * _wide(t).pow(self.rho)).to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        return (_kappa(log_snr) / self.sigma_max).pow(1 / self.rho).clamp(0, 1).to(log_snr.dtype)

    def timestep(self, t: Tensor) -> Tensor:
        return t * (self.levels - 1)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """sigma_t = shift t / (1 + (shift - 1) t), alpha_t = 1 - sigma_t; networks receive 1000 sigma_t.

    The straight path of rectified flow (Liu et al. 2022; Lipman et al. 2022), its time shifted towards noise for
    more pixels (Esser et al. 2024, section 5.3.2).
    """

    shift: float = 1.0
    levels: int = 1000

    def __post_init__(self):
        _require(self, 0 < self.shift < math.inf, "0 < shift")

    @property
    def t_min(self) -> float:
        return 1 / self.levels

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        u = _wide(t)
        under = 1 + (self.shift - 1) * u
        return ((1 - u) / under).to(t.dtype), (self.shift * u / under).to(t.dtype)

    def time(self, log_snr: Tensor) -> Tensor:
        sigma = 1 / (1 + 1 / _kappa(log_snr))
        return (sigma / (self.shift - (self.shift - 1) * sigma)).to(log_snr.dtype)

    def timestep(self, t: Tensor) -> Tensor:
        return self.levels * self(t)[1]


#: What a model's record may name, and the class that it means; the record's other fields are the class's arguments.
SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "linear": Linear,
    "scaled-linear": ScaledLinear,
    "cosine": Cosine,
    "vp": VP,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
}


# Spacings -----------------------------------------------------------------------------------------------------------


class Spacing(Protocol):
    """(schedule, steps) -> the times t_0 > ... > t_N visited, float64, N = steps, the last one 0: clean."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor: ...


def _closed(times: Tensor) -> Tensor:
    """Append the clean end."""
    return torch.cat([times, times.new_zeros(1)])


def _check(steps: int, most: float = math.inf) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= most:
        limit = "up" if most == math.inf else f"to {most}, the levels of this schedule"
        raise InvalidInput(f"steps is {steps!r}: give a whole number from 1 {limit}")


def _at_levels(schedule: Schedule, i: Tensor) -> Tensor:
    """The times of levels i, then clean: (i + 1) / T, or evenly from t_min to 1 where t_min is not level 0 (EDM)."""
    t = (i + 1) / schedule.levels
    return _closed(t + (schedule.t_min - 1 / schedule.levels) * (1 - t) / (1 - 1 / schedule.levels))


def leading(schedule: Schedule, steps: int, offset: int = 1) -> Tensor:
    """Levels i_k = k floor(T / N) + offset, from the clean end up; the noisiest are left out (DDIM; offset 1 in SD).

    An offset that would lead past level T-1 (1 of T steps out of T) is lowered to end there.
    """
    _check(steps, schedule.levels)
    if offset < 0:
        raise InvalidInput(f"offset is {offset!r}: give a whole number from 0 up")
    i = torch.arange(steps, dtype=torch.float64) * (schedule.levels // steps)
    return _at_levels(schedule, (i + min(offset, schedule.levels - 1 - int(i[-1]))).flip(0))


def trailing(schedule: Schedule, steps: int) -> Tensor:
    """Levels i_k = round(T - k T / N) - 1, from pure noise down (Lin et al. 2023, table 2)."""
    _check(steps, schedule.levels)
    k = torch.arange(steps, dtype=torch.float64)
    return _at_levels(schedule, (schedule.levels - k * schedule.levels / steps).round() - 1)


def linspace(schedule: Schedule, steps: int) -> Tensor:
    """t uniform from 1 to t_min, both visited, then clean."""
    _check(steps)
    return _closed(torch.linspace(1, schedule.t_min, steps, dtype=torch.float64))


def sgm_uniform(schedule: Schedule, steps: int) -> Tensor:
    """t uniform from 1 to t_min in N steps, where the last goes to clean instead of t_min."""
    _check(steps)
    return _closed(torch.linspace(1, schedule.t_min, steps + 1, dtype=torch.float64)[:-1])


def _ends(schedule: Schedule) -> tuple[float, float]:
    """(kappa_max, kappa_min) of the schedule; one level below the top where the top is infinite."""
    t = torch.tensor([1.0, 1 - 1 / schedule.levels, schedule.t_min], dtype=torch.float64)
    alpha, sigma = schedule(t)
    top, below, bottom = (sigma / alpha).tolist()
    return (top if math.isfinite(top) else below), bottom


def _visit(schedule: Schedule, kappas: Tensor) -> Tensor:
    return _closed(schedule.time(-2 * kappas.log()))


def karras(schedule: Schedule, steps: int, rho: float = 7.0) -> Tensor:
    """kappa^(1/rho) uniform between the schedule's ends, then clean (Karras et al. 2022, equation 5)."""
    _check(steps)
    top, bottom = (end ** (1 / rho) for end in _ends(schedule))
    return _visit(schedule, (top + (bottom - top) * torch.linspace(0, 1, steps, dtype=torch.float64)).pow(rho))


def exponential(schedule: Schedule, steps: int) -> Tensor:
    """log kappa uniform between the schedule's ends, then clean: equal steps in log SNR."""
    _check(steps)
    top, bottom = (math.log(end) for end in _ends(schedule))
    return _visit(schedule, torch.linspace(top, bottom, steps, dtype=torch.float64).exp())


SPACINGS: Mapping[str, Spacing] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "karras": karras,
    "exponential": exponential,
    "sgm-uniform": sgm_uniform,
}


def spacing(name: str) -> Spacing:
    """The spacing of that name; raises ``UnknownName`` with the nearest."""
    if name not in SPACINGS:
        raise UnknownName("spacing", name, SPACINGS)
    return SPACINGS[name]


def schedule(kind: str, **options: float) -> Schedule:
    """The schedule of that kind, as a model's record states it; raises ``UnknownName`` or ``InvalidInput``."""
    if kind not in SCHEDULES:
        raise UnknownName("schedule", kind, SCHEDULES)
    try:
        return SCHEDULES[kind](**options)
    except TypeError as error:
        raise InvalidInput(f"schedule {kind!r} does not take these options: {options}. {error}") from error
