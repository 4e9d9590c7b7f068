"""What perturbed-attention guidance does to a network: for whom it is asked, self-attentions become the identity.

Source: Ahn et al. 2024, "Self-rectifying diffusion sampling with perturbed-attention guidance", section 4.2; of joint
attention the published pipelines, where cells still see the text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

from torch import nn

from ..errors import InvalidInput
from .mmdit import JointAttention
from .pixel_unet import CellAttention
from .unet import Attention

#: The name in ``extra`` by which a call asks for the perturbed network.
MARK = "perturbed"
#: The attentions of a picture to itself; one of a subclass, as to the text, is none.
KINDS = (Attention, CellAttention, JointAttention)


def attentions(net: nn.Module) -> dict[str, nn.Module]:
    """The attentions of a picture to itself, by name."""
    return {name: layer for name, layer in net.named_modules() if type(layer) in KINDS}


def chosen(net: nn.Module, layers: Collection[str] = ()) -> dict[str, nn.Module]:
    """Those of some layers, the beginnings of their names; of none given those in the middle of the network.

    Raises:
        InvalidInput: a layer that has none.
    """
    every = attentions(net)
    if not every:
        raise InvalidInput(f"pag: a {type(net).__name__} has no attention of the picture to itself: leave pag out")
    if not layers:
        middle = [name for name in every if name.startswith("mid_block.")] or [[*every][len(every) // 2]]
        return {name: every[name] for name in middle}
    found: dict[str, nn.Module] = {}
    for layer in layers:
        within = {name: one for name, one in every.items() if name == layer or name.startswith(f"{layer}.")}
        if not within:
            possible = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in every))
            raise InvalidInput(f"pag_layers: {layer} was given; possible are {possible}, and what lies within them")
        found |= within
    return found


def perturb(net: nn.Module, layers: Collection[str] = ()) -> Callable[[], None]:
    """From now on those attentions are `apart` in calls that are marked by ``extra[MARK]``; the returned call takes
    that back.

    Raises:
        InvalidInput: as `chosen`.
    """
    off = ExitStack()
    for layer in chosen(net, layers).values():
        off.callback(layer.register_forward_hook(_apart).remove)
    return off.close


def _apart(layer: Any, given: tuple[Any, ...], answer: Any) -> Any:
    return layer.apart(*given) if MARK in given[-1].extra else answer
