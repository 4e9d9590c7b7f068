"""Attention to another picture ("reference-only"): while a UNet estimates, its self-attentions read what they read of a
second picture, noised as far, beside the first one's cells.

Nothing is trained for it. Source: Zhang 2023, sd-webui-controlnet's preprocessor reference_only, and diffusers'
community pipeline stable_diffusion_reference, whose answers it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .unet import Attention

#: The parts of a UNet, of which those of the same width are ordered.
PARTS = ("down_blocks", "up_blocks", "mid_block")


class Look(NamedTuple):
    """How a picture is looked at.

    Args:
        weight: 0 to 1, the part of the attentions that do, the widest first.
        fidelity: 0 to 1, how far the base of guidance does not.
    """

    weight: float = 1.0
    fidelity: float = 0.5


class Seen(NamedTuple):
    """What the attentions have read of a picture: how it is looked at, which rows are the base, (B, 1) of 0 and 1, and
    of each attention its input, (B, M, C)."""

    look: Look
    base: Tensor
    read: Mapping[nn.Module, Tensor]


def attentions(net: nn.Module) -> dict[Attention, float]:
    """The self-attentions of a UNet, each with the weight above which it looks: i/n of the i-th, the widest first."""
    found = [(name, layer) for name, layer in net.named_modules() if type(layer) is Attention]
    part = {name: next((i for i, part in enumerate(PARTS) if name.startswith(part)), len(PARTS)) for name, _ in found}
    ordered = sorted(found, key=lambda one: (-one[1].to_q.in_features, part[one[0]]))
    return {layer: i / len(ordered) for i, (_, layer) in enumerate(ordered)}


class Looking:
    """A network's self-attentions, which read what was `seen`.

    ``y = W_o softmax(q [k, k']ᵀ / √d) [v, v']``, k' and v' of what they were given of the pictures; of the base's rows
    ``f y_plain + (1 - f) y``, f the mean of the fidelities.
    """

    def __init__(self, net: nn.Module):
        self.layers = attentions(net)
        self.seen: list[Seen] = []
        self._reading: dict[nn.Module, Tensor] | None = None

    @contextmanager
    def reading(self) -> Iterator[dict[nn.Module, Tensor]]:
        """Within, calls of the network look at nothing, and what its attentions are given is noted in the answer."""
        self._reading = {}
        try:
            yield self._reading
        finally:
            self._reading = None

    def put(self) -> Callable[[], None]:
        """Put it on the network; the returned call takes it off."""
        off = ExitStack()
        for layer, least in self.layers.items():
            off.callback(layer.register_forward_hook(partial(self._attend, least)).remove)
        off.callback(self.seen.clear)
        return off.close

    def _attend(self, least: float, layer: nn.Module, given: tuple[Tensor, object], plain: Tensor) -> Tensor | None:
        x = given[0]
        if self._reading is not None:
            self._reading[layer] = x
            return None
        now = [one for one in self.seen if one.look.weight > least]
        if not now or not isinstance(layer, Attention):
            return None
        y = layer.over(x, torch.cat([x, *(one.read[layer] for one in now)], 1))
        kept = sum(one.look.fidelity for one in now) / len(now) * now[0].base[..., None].to(x)  # (B, 1, 1)
        return torch.lerp(y, plain, kept)
