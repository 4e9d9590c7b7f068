"""References: given pictures that a UNet's self-attentions read while it paints. Nothing is trained for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...codec import Codec
from ...denoise import Denoiser
from ...errors import InvalidInput
from ...levels import levels_of
from ...nets.deep import KEEP, TAKE
from ...nets.looking import Look, Looking, Seen, attentions
from ...nets.perturbed import MARK
from ...noise import Noise
from ...pictures import read as pictures
from ...pictures.past import hash_of
from ...request.reference import Reference
from ...request.request import Request, Resolved
from ...types import Conditioning
from ..say import During, Say, each
from ..steps import window
from .attachment import NO_FILE, Asked, Attached, Attachment, Target, Warn

#: What of a conditioning's extras is said of the picture that is painted, and not of one that is looked at: where a
#: tile lies, that attention is perturbed, and what is kept of it.
OWN = ("where", "window", MARK, KEEP, TAKE)
#: A picture's sides become multiples of so many cells.
CELLS = 2


class How(NamedTuple):
    """How a picture is looked at: the request's reference, its tensors' name, and the size that is painted."""

    reference: Reference
    name: str
    size: tuple[int, int]


def settled(request: Request, net: nn.Module, model: str) -> Request:
    """The request as it is.

    Raises:
        InvalidInput: the network has no attentions that could look. InvalidFile: a picture cannot be read.
    """
    for reference in request.references:
        pictures.picture(reference.image)
        if reference.weight and not attentions(net):
            raise InvalidInput(
                f"reference: it is read through the self-attentions of a UNet that reads words, and {model} has none: "
                "leave it out, or use another model"
            )
    return request


def find(request: Resolved, warn: Warn) -> Iterator[Asked]:
    """The references that count in some step; of the others it warns."""
    for i, reference in enumerate(request.references):
        first, last, steps = window(request, reference.start, reference.end)
        if not reference.weight or first >= last:
            why = "its weight is 0" if not reference.weight else f"none of {steps} steps lies in its times"
            warn(f"a reference changes nothing: {why}.")
            continue
        size = (request.width, request.height)
        yield Asked(NO_FILE, f"{hash_of(reference.image)} {size}", How(reference, f"reference {i}", size))


def read(asked: Asked, target: Target, strict: bool) -> Tensor:
    """The picture's latent, (1, C, h, w), in its own shape and about as large as what is painted."""
    how: How = asked.how
    image = pictures.over_white(pictures.picture(how.reference.image))
    return encoded(image, how.size, target.codec, next(target.nets["denoiser"].parameters()).device)


@torch.inference_mode()
def encoded(image: Image.Image, size: tuple[int, int], codec: Codec, device: torch.device) -> Tensor:
    """A picture, resized to as many pixels as ``size`` has, as a latent."""
    m, share = CELLS * codec.factor, (size[0] * size[1] / (image.width * image.height)) ** 0.5
    width, height = (max(m, round(side * share / m) * m) for side in image.size)
    shown = image.resize((width, height), Image.Resampling.LANCZOS)
    levels = levels_of(torch.from_numpy(np.asarray(shown).copy()).permute(2, 0, 1)[None])
    return codec.encode(levels.to(device))


class Glance:
    """Before each call of a denoiser, one more for each reference that is spoken of, whose picture is noised as far.

    Args:
        denoiser: whose network looks.
        members: each how it is used.
    """

    def __init__(self, denoiser: Denoiser, members: Sequence[How]):
        self.denoiser, self.members = denoiser, members
        self.looking, self._busy = Looking(denoiser.net), False

    def put(self) -> Callable[[], object]:
        """Put it on; the returned call takes it off."""
        off = ExitStack()
        off.callback(self.looking.put())
        off.callback(self.denoiser.register_forward_pre_hook(self._before).remove)
        return off.close

    def _before(self, denoiser: nn.Module, given: tuple[Tensor, Tensor, Conditioning]) -> None:
        if self._busy:
            return
        x, t, cond = given
        cond = cond.expand(len(x))
        self._busy = True
        try:
            now = [how for how in self.members if how.name in cond.extra]
            self.looking.seen[:] = [self._seen(how, t, cond) for how in now]
        finally:
            self._busy = False

    def _seen(self, how: How, t: Tensor, cond: Conditioning) -> Seen:
        latent, noise, base = (cond.extra[name] for name in names(how.name))
        extra = {name: value for name, value in cond.extra.items() if name not in OWN}
        concat = None if cond.concat is None else nn.functional.interpolate(cond.concat, latent.shape[-2:])
        controls, self.denoiser.controls = self.denoiser.controls, ()  # whose hints lie over the other picture
        try:
            with self.looking.reading() as found:
                bare = replace(cond, concat=concat, extra=extra, maps={})
                self.denoiser(self.denoiser.noisy(latent, noise, t), t, bare)
        finally:
            self.denoiser.controls = controls
        return Seen(Look(how.reference.weight, how.reference.fidelity), base, found)


def names(name: str) -> tuple[str, str, str]:
    """Under which a reference's latent, its noise, and who is the base are said."""
    return name, f"{name} noise", f"{name} base"


def said(how: How, latent: Tensor, request: Resolved) -> Say:
    """With every term and the base the picture and its noise; within the reference's times."""
    noise = Noise.of(request.seed, [request.index], how.name)(latent)

    def more(base: float, cond: Conditioning) -> Conditioning:
        own: Any = zip(names(how.name), (latent, noise, latent.new_full((1, 1), base)), strict=True)
        return replace(cond, extra={**cond.extra, **dict(own)})

    return During(each(partial(more, 0.0), partial(more, 1.0)), how.reference.start, how.reference.end)


def attach(attached: Attached, found: Iterable[tuple[Asked, Tensor]], target: Target, warn: Warn) -> Attached:
    """All references together: a network's attentions read them side by side."""
    every = list(found)
    if not every:
        return attached
    glance = Glance(target.denoiser, [asked.how for asked, _ in every])
    say = (partial(said, asked.how, latent) for asked, latent in every)
    return replace(attached, on=(*attached.on, glance.put), say=(*attached.say, *say))


REFERENCES = Attachment(
    find=find,
    read=read,
    attach=attach,
    settle=settled,
    does="References, pictures that a UNet's self-attentions look at while it paints.",
    uses=("references",),
)
