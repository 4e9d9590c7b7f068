"""An image prompt: the mean colour of a given picture is one more term of every attention to the words."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from pydantic import Field
from torch import Tensor, nn

from danqing.nets.ports import Context
from danqing.nets.unet import CrossAttention
from danqing.painting.adapters.attachment import Asked, Attached, Attachment, Target, Warn, by_file
from danqing.painting.loaded import LoadedModel
from danqing.painting.say import Say, each
from danqing.pictures import read
from danqing.request.groups import Group, Source
from danqing.request.request import Resolved
from danqing.weights import store


class Likeness(Group, frozen=True):
    """A picture that is to be resembled."""

    image: Source = Field(default="", description="A picture to resemble in its colour.")
    file: str = Field(default="", description="The adapter's file.", examples=["likeness.safetensors"])


class Coloured(nn.Module):
    """W c of the colour c (B, 3), W (d, 3), the same for every query q (B, H, L, d)."""

    def __init__(self, project: Tensor):
        super().__init__()
        self.project = nn.Parameter(project, requires_grad=False)

    def forward(self, q: Tensor, ctx: Context) -> Tensor:
        return (ctx.extra["likeness"].to(q) @ self.project.to(q).T)[:, None, None, : q.shape[-1]].expand_as(q)


def coloured(request: Resolved) -> Say:
    """The colour is said with every term, and 0, which is no picture, with the base."""
    colour = LoadedModel.levels(read.over_white(read.picture(request.group("likeness").image))).mean((2, 3))  # (1, 3)
    more = lambda c, said: replace(said, extra={**said.extra, "likeness": c})  # noqa: E731
    return each(partial(more, colour), partial(more, 0 * colour))


def put(layers: list[CrossAttention], branch: nn.Module) -> Callable[[], object]:
    for layer in layers:
        layer.branches["likeness"] = branch
    return lambda: [layer.branches.pop("likeness") for layer in layers]


def attach(attached: Attached, found: Iterable[tuple[Asked, Tensor]], target: Target, warn: Warn) -> Attached:
    layers = [layer for layer in target.nets["denoiser"].modules() if isinstance(layer, CrossAttention)]
    for asked, project in found:
        attached = attached.add(asked.path, partial(put, layers, Coloured(project)), say=[coloured])
    return attached


READ, USES = lambda asked, target, strict: store.read(asked.path)["project"], ("likeness_image", "likeness_file")
LIKENESS = Attachment(find=by_file("likeness"), read=READ, attach=attach, does="Resembles a picture.", uses=USES)
