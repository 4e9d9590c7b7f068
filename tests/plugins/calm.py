"""A motion module: a layer after every step of the UNet that draws the frames of a clip towards their mean."""

from collections.abc import Callable, Iterable
from functools import partial

from pydantic import Field
from torch import Tensor, nn

from danqing.nets.ports import Context
from danqing.nets.trunk import Stage
from danqing.painting.adapters.attachment import Asked, Attached, Attachment, Target, Warn, by_file
from danqing.request.groups import Group
from danqing.weights import store


class Calm(Group, frozen=True):
    """How much the frames of a clip differ."""

    file: str = Field(default="", description="The motion module's file.", examples=["calm.safetensors"])


class Together(nn.Module):
    """x + r (mean over the clip's frames - x); a still stays as it is."""

    def __init__(self, rate: Tensor):
        super().__init__()
        self.rate = nn.Parameter(rate, requires_grad=False)

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        if "frame" not in ctx.extra:
            return x
        clips = x.unflatten(0, (-1, ctx.extra["frame"].shape[1]))  # (clips, F, C, H, W)
        return (clips + self.rate.to(x) * (clips.mean(1, keepdim=True) - clips)).flatten(0, 1)


def put(places: list[nn.ModuleDict], module: nn.Module) -> Callable[[], object]:
    for place in places:
        place["calm"] = module
    return lambda: [place.pop("calm") for place in places]


def attach(attached: Attached, found: Iterable[tuple[Asked, Tensor]], target: Target, warn: Warn) -> Attached:
    stages = [layer for layer in target.nets["denoiser"].modules() if isinstance(layer, Stage)]
    places = [place for stage in stages for place in stage.inserted]
    for asked, rate in found:
        attached = attached.add(asked.path, partial(put, places, Together(rate)))
    return attached


CALM = Attachment(
    find=by_file("calm"),
    read=lambda asked, target, strict: store.read(asked.path)["rate"],
    attach=attach,
    does="Draws the frames of a clip towards their mean.",
    uses=("calm_file",),
)
