"""A wrapper of guidance: no estimate lies further from its mean than so many deviations of the unguided one."""

from pydantic import Field
from torch import Tensor

from danqing.painting.guidance import At, Wrapper
from danqing.request.groups import Group
from danqing.request.request import Resolved
from danqing.types import Denoise, Denoised


class Threshold(Group, frozen=True):
    """How far guidance may leave what is usual."""

    limit: float = Field(default=0.0, ge=0, le=100, description="Deviations that a guided estimate may leave; 0 any.")


def wrap(guided: Denoise, at: At, request: Resolved) -> Denoise:
    """After Saharia et al. 2022, section 2.3, with the deviation of the conditional estimate for the percentile."""
    limit = request.group("threshold").limit
    if not limit:
        return guided

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        found = guided(x, t)
        usual, axes = found.x0 if found.cond is None else found.cond, tuple(range(1, x.ndim))
        mean, far = usual.mean(axes, keepdim=True), limit * usual.std(axes, keepdim=True)
        return found._replace(x0=found.x0.clamp(mean - far, mean + far))

    return denoise


WRAPPER = Wrapper(wrap=wrap, does="Keeps guided estimates near usual ones.", uses=("threshold_limit",))
