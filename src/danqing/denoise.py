"""Denoisers: a backbone, a schedule and what the backbone's output means, made into E[x_0 | x_t].

A parametrisation is four numbers for each time. The backbone F answers, for x_t = alpha x_0 + sigma eps,

    F(c_in x_t, c_time) = a x_0 + b eps

and that is both the target of training and, solved for x_0 with the equation of x_t, the estimate of sampling:

    x_0 = c_skip x_t + c_out F,      c_skip = b / (b alpha - a sigma),      c_out = -sigma / (b alpha - a sigma)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .errors import InvalidInput, UnknownName
from .nets.ports import NO_RESIDUALS, Residuals
from .schedule import Schedule
from .types import Conditioning, Denoise, Denoised

#: What steers a network through port 1, as a ControlNet: (c_in x_t (B, C, H, W), time (B,), the conditioning of B
#: pictures), as the network is given them, -> residuals.
Control = Callable[[Tensor, Tensor, Conditioning], Residuals]

#: Stands for sigma = 0 where a formula divides by sigma; every such quotient is exact or vanishes in the limit.
TINY = 1e-20


class Parametrisation(NamedTuple):
    """F = a x_0 + b eps, of (alpha, sigma); ``c_in`` scales the input, ``time`` stands in for the timestep."""

    a: Callable[[Tensor, Tensor], Tensor]
    b: Callable[[Tensor, Tensor], Tensor]
    c_in: Callable[[Tensor, Tensor], Tensor] = lambda alpha, sigma: torch.ones_like(alpha)
    time: Callable[[Tensor, Tensor], Tensor] | None = None


def edm(data: float = 0.5, sign: float = 1.0) -> Parametrisation:
    """Karras et al. 2022, table 1, kappa for their sigma; ``data`` is the standard deviation of x_0, ``sign`` the
    network's: -1 where F is v, as of data 1 it is."""

    def norm(alpha: Tensor, sigma: Tensor) -> Tensor:
        return (sigma.square() + (data * alpha).square()).sqrt()

    return Parametrisation(
        a=lambda alpha, sigma: sign * sigma / (data * norm(alpha, sigma)),
        b=lambda alpha, sigma: -sign * data * alpha / norm(alpha, sigma),
        c_in=lambda alpha, sigma: 1 / norm(alpha, sigma),
        time=lambda alpha, sigma: (sigma / alpha).log() / 4,
    )


PARAMETRISATIONS: Mapping[str, Parametrisation] = {
    "eps": Parametrisation(a=lambda alpha, sigma: 0 * alpha, b=lambda alpha, sigma: torch.ones_like(alpha)),
    "x0": Parametrisation(a=lambda alpha, sigma: torch.ones_like(alpha), b=lambda alpha, sigma: 0 * alpha),
    "v": Parametrisation(a=lambda alpha, sigma: -sigma, b=lambda alpha, sigma: alpha),
    "score": Parametrisation(a=lambda alpha, sigma: 0 * alpha, b=lambda alpha, sigma: -1 / sigma),
    "flow": Parametrisation(a=lambda alpha, sigma: -torch.ones_like(alpha), b=lambda alpha, sigma: 0 * alpha + 1),
    "edm": edm(),
    "edm-v": edm(data=1.0, sign=-1.0),
}
#: "score" of a network that is told sigma itself for the time, as `nets.pixel_unet.ScoreUNet` is.
SCORE_OF_SIGMA = PARAMETRISATIONS["score"]._replace(time=lambda alpha, sigma: sigma)


class Coefficients(NamedTuple):
    """All of a parametrisation at some times; each of the shape of t."""

    skip: Tensor
    out: Tensor
    c_in: Tensor
    time: Tensor
    a: Tensor
    b: Tensor


def coefficients(kind: Parametrisation, schedule: Schedule, t: Tensor) -> Coefficients:
    """c_skip, c_out, c_in, c_time, a, b at t (any shape), in float32 at least: float16 has no TINY."""
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    alpha, sigma = schedule(t)
    sigma = sigma.clamp_min(TINY)
    a, b = kind.a(alpha, sigma), kind.b(alpha, sigma)
    under = b * alpha - a * sigma
    time = schedule.timestep(t) if kind.time is None else kind.time(alpha, sigma)
    return Coefficients(b / under, -sigma / under, kind.c_in(alpha, sigma), time, a, b)


def _like(c: Tensor, x: Tensor) -> Tensor:
    """(B,) against (B, ...), in at least float32."""
    return c.to(torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.ndim - 1))


def _clean(x: Tensor, c: Coefficients, out: Tensor) -> Tensor:
    """c_skip x_t + c_out F."""
    return (_like(c.skip, x) * x + _like(c.out, x) * out).to(x.dtype)


class Denoiser(nn.Module):
    """E[x_0 | x_t, cond] = c_skip x_t + c_out F(c_in x_t, c_time, cond); see the module for the coefficients.

    Args:
        net: the backbone F: (x (B, C, H, W), time (B,), tokens (B, L, D), *, pooled, extra, residuals) -> (B, C_out, H,
            W).
        schedule: t -> (alpha, sigma).
        prediction: a name of ``PARAMETRISATIONS``, or a parametrisation.

    Raises:
        UnknownName: no such prediction.
        InvalidInput: eps, score or edm with a schedule whose end holds no signal (alpha = 0): they say nothing of x_0.
    """

    def __init__(self, net: nn.Module, schedule: Schedule, prediction: str | Parametrisation):
        super().__init__()
        if isinstance(prediction, str) and prediction not in PARAMETRISATIONS:
            raise UnknownName("prediction", prediction, PARAMETRISATIONS)
        self.net, self.schedule = net, schedule
        self.controls: tuple[Control, ...] = ()
        self.prediction = PARAMETRISATIONS[prediction] if isinstance(prediction, str) else prediction
        top = coefficients(self.prediction, schedule, torch.ones(1, dtype=torch.float64))
        if not (top.skip.isfinite().all() and top.time.isfinite().all()):
            raise InvalidInput(
                f"prediction {prediction!r} cannot go with {schedule}: at t = 1 there is no signal (alpha = 0), where"
                " this output says nothing of the picture. Use v, flow or x0, or a schedule that keeps some signal."
            )

    def forward(self, x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        """E[x_0 | x_t, cond], like x: x (B, C, H, W), t (B,) in [0, 1], cond of B pictures or of one for all."""
        c = coefficients(self.prediction, self.schedule, t)
        return Denoised(_clean(x, c, self._net(x, c, cond)))

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """F itself, what ``target`` is the target of, (B, C, H, W) in the dtype of x."""
        return self._net(x, coefficients(self.prediction, self.schedule, t), cond)

    def add_control(self, control: Control) -> Callable[[], None]:
        """Add a control's residuals to those of others; the returned call takes it off, in any order.

        The control is no part of the denoiser: its parameters are not this module's.
        """
        added = partial(control)  # an object of its own, for a control may be added twice
        self.controls = (*self.controls, added)

        def detach() -> None:
            self.controls = tuple(other for other in self.controls if other is not added)

        return detach

    def noisy(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha_t x_0 + sigma_t eps; x0, eps (B, C, H, W), t (B,)."""
        alpha, sigma = self.schedule(t)
        return (_like(alpha, x0) * x0 + _like(sigma, x0) * eps).to(x0.dtype)

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What training asks of ``predict(noisy(x0, eps, t), t)``: a x_0 + b eps; x0, eps (B, C, H, W), t (B,)."""
        c = coefficients(self.prediction, self.schedule, t)
        return (_like(c.a, x0) * x0 + _like(c.b, x0) * eps).to(x0.dtype)

    def _net(self, x: Tensor, c: Coefficients, cond: Conditioning) -> Tensor:
        # The sample and the time keep their precision; only what enters the network takes the network's.
        dtype = next((p.dtype for p in self.net.parameters() if p.is_floating_point()), x.dtype)
        cond = cond.expand(len(x)).map(lambda v: v.to(dtype) if v.is_floating_point() else v)
        inputs = (_like(c.c_in, x) * x).to(dtype)
        time = c.time.to(torch.promote_types(x.dtype, torch.float32))
        residuals = sum((control(inputs, time, cond) for control in self.controls), NO_RESIDUALS)
        if cond.concat is not None:
            inputs = torch.cat([inputs, cond.concat], 1)  # (B, C + C_concat, H, W)
        extra = {**cond.extra, **cond.maps}
        return self.net(inputs, time, cond.tokens, pooled=cond.pooled, extra=extra, residuals=residuals).to(x.dtype)


class LearnedVariance(Denoiser):
    """A Denoiser whose network also says the variance of a step back: of its 2 C channels the first half is F, the
    second u.

        v = (u + 1) / 2,      log var = v log beta + (1 - v) log beta~,      of each number

    beta and beta~ are the variance of x_p given x_q and that of x_q given x_p and x_0: the best one lies between, for
    data that are noise at the one end, for data that are a single picture at the other (Nichol & Dhariwal 2021,
    equation 15).

    It is a Denoiser like any other, whose answer says v too, as ``variance``, for `solve.learned.LearnedDDPM`.
    """

    def parts(self, x: Tensor, t: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """F and v, each of the shape of x, from one look at the network."""
        return self._halves(x, coefficients(self.prediction, self.schedule, t), cond)

    def forward(self, x: Tensor, t: Tensor, cond: Conditioning) -> Denoised:
        """E[x_0 | x_t, cond] and v; see `Denoiser.forward`."""
        c = coefficients(self.prediction, self.schedule, t)
        out, v = self._halves(x, c, cond)
        return Denoised(_clean(x, c, out), variance=v)

    def _halves(self, x: Tensor, c: Coefficients, cond: Conditioning) -> tuple[Tensor, Tensor]:
        out = super()._net(x, c, cond)
        if out.shape[1] != 2 * x.shape[1]:
            raise InvalidInput(
                f"a learned variance wants {2 * x.shape[1]} channels of the network, which writes {out.shape[1]}"
            )
        out, u = out.chunk(2, dim=1)
        return out, (u + 1) / 2

    def _net(self, x: Tensor, c: Coefficients, cond: Conditioning) -> Tensor:
        return self._halves(x, c, cond)[0]


class FixedVariance(LearnedVariance):
    """A network without a variance of its own, where one is asked for: v is a constant.

    v = 0 is beta~ and v = 1 is beta, the two of Ho et al. 2020, section 3.2.
    """

    def __init__(self, net: nn.Module, schedule: Schedule, prediction: str | Parametrisation, *, v: float = 1.0):
        super().__init__(net, schedule, prediction)
        self.v = v

    def _halves(self, x: Tensor, c: Coefficients, cond: Conditioning) -> tuple[Tensor, Tensor]:
        out = Denoiser._net(self, x, c, cond)
        return out, torch.full_like(out, self.v)


def convert(value: Tensor, x: Tensor, t: Tensor, schedule: Schedule, source: str, to: str) -> Tensor:
    """One parametrisation's output as another's: a' x_0 + b' eps, with x_0 and eps solved from F = a x_0 + b eps and

        x_t = alpha x_0 + sigma eps:      eps = (alpha F - a x_t) / (b alpha - a sigma)

    value, x: (B, ...), t: (B,) in (0, 1]. Raises UnknownName.
    """
    for name in (source, to):
        if name not in PARAMETRISATIONS:
            raise UnknownName("prediction", name, PARAMETRISATIONS)
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    here, there = (coefficients(PARAMETRISATIONS[name], schedule, t) for name in (source, to))
    alpha, sigma = schedule(t)
    under = here.b * alpha - here.a * sigma.clamp_min(TINY)
    x0 = _like(here.skip, x) * x + _like(here.out, x) * value
    eps = _like(alpha / under, x) * value - _like(here.a / under, x) * x
    return (_like(there.a, x) * x0 + _like(there.b, x) * eps).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Hold an estimate to the consistency boundary f(x, 0) = x: wraps a Denoise, c_skip x_t + c_out x_0 with

        c_skip = d^2 / (s^2 + d^2),  c_out = s / sqrt(s^2 + d^2),  s = scaling * timestep

    (Song et al. 2023, equation 25; Luo et al. 2023, latent consistency models, whose scaling is 10).
    """

    denoise: Denoise
    schedule: Schedule
    data: float = 0.5
    scaling: float = 10.0

    def __call__(self, x: Tensor, t: Tensor) -> Denoised:
        s = self.scaling * self.schedule.timestep(t)
        norm = s.square() + math.pow(self.data, 2)
        skip, out = _like(self.data**2 / norm, x), _like(s / norm.sqrt(), x)
        return self.denoise(x, t).map(lambda x0: (skip * x + out * x0).to(x.dtype))
