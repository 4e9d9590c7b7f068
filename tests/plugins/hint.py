"""A control: a given picture steers what the middle of the UNet says, through one convolution that a file holds."""

from collections.abc import Iterable
from dataclasses import replace

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from danqing.nets.ports import Residuals
from danqing.painting.adapters.attachment import Asked, Attached, Attachment, Target, Warn, by_file
from danqing.painting.loaded import LoadedModel
from danqing.painting.say import Say, each
from danqing.pictures import read
from danqing.request.groups import Group, Source
from danqing.request.request import Resolved
from danqing.types import Conditioning
from danqing.weights import store


class Hint(Group, frozen=True):
    """A picture that says where things lie."""

    image: Source = Field(default="", description="A picture that says where things lie.", examples=["edges.png"])
    file: str = Field(default="", description="The control's file.", examples=["hint.safetensors"])
    weight: float = Field(default=1.0, ge=0, le=10, description="How strongly it steers; 0 not at all.")


def shown(request: Resolved) -> Say:
    """Lays the picture, at the size that is painted, over every term and the base."""
    picture = read.over_white(read.picture(request.group("hint").image)).resize((request.width, request.height))
    maps = {"hint": LoadedModel.levels(picture)}  # (1, 3, H, W)
    more = lambda said: replace(said, maps={**said.maps, **maps})  # noqa: E731
    return each(more, more)


def attach(attached: Attached, found: Iterable[tuple[Asked, Tensor]], target: Target, warn: Warn) -> Attached:
    halvings = 2 ** (len(target.nets["denoiser"].config.block_out_channels) - 1)
    for asked, kernel in found:

        def control(x: Tensor, time: Tensor, cond: Conditioning, kernel: Tensor = asked.how.weight * kernel):
            hint = F.adaptive_avg_pool2d(cond.maps["hint"].to(x), (x.shape[2] // halvings, x.shape[3] // halvings))
            return Residuals(mid=F.conv2d(hint, kernel.to(x)))

        attached = attached.add(asked.path, lambda: target.denoiser.add_control(control), say=[shown])
    return attached


HINT = Attachment(
    find=by_file("hint"),
    read=lambda asked, target, strict: store.read(asked.path)["kernel"],  # (C, 3, 1, 1)
    attach=attach,
    does="Steers by a picture through one convolution.",
    uses=("hint_image", "hint_file", "hint_weight"),
)
