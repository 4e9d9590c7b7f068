"""The adapter protocol: what attaches to a network and comes off without trace, in any order.

A layer of a network may stand behind wrappers (the memory of `danqing.run.textcache`, what a LoRA adds). A wrapper
holds what it wraps as its child ``inner``, and the name of a layer is the one without any ``inner``: `layers` lists
them so, and `place` finds where a layer stands at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Protocol

from torch import nn

from ..errors import InvalidInput

Detach = Callable[[], None]
INNER = "inner"
#: The layers whose weight an adapter may change (port 4): each is linear in its weight and its bias together.
ADAPTABLE = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Adapter(Protocol):
    """Something that a network can wear."""

    def attach(self, target: nn.Module) -> Detach:
        """Put it on; what is returned takes it off again, whatever was put on or taken off meanwhile."""
        ...


@contextmanager
def attached(target: nn.Module, *adapters: Adapter) -> Iterator[nn.Module]:
    """Within the context ``target`` wears the adapters; after it every module and every bit is what it was.

    Raises:
        InvalidInput: an adapter does not fit; then none stays on.
    """
    with ExitStack() as stack:
        for adapter in adapters:
            stack.callback(adapter.attach(target))
        yield target


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """Name -> layer of every layer that an adapter may change; names as if no wrapper stood around any."""
    found: dict[str, nn.Module] = {}

    def walk(module: nn.Module, name: str) -> None:
        children = dict(module.named_children())
        if INNER in children:
            walk(children[INNER], name)
        elif isinstance(module, ADAPTABLE):
            if name and module.weight is not None:
                found[name] = module
        else:
            for child, below in children.items():
                walk(below, f"{name}.{child}" if name else child)

    walk(net, "")
    return found


class Place(NamedTuple):
    """Where a layer stands: ``holder.attr is here``."""

    holder: nn.Module
    attr: str
    here: nn.Module


def place(net: nn.Module, name: str, mark: str = "") -> Place:
    """The place of a layer behind all wrappers, or that of the first module on the way with ``mark`` among its
    attributes.

    Raises:
        InvalidInput: there is no such layer.
    """
    holder, attr, here = net, "", net

    def wrapped() -> bool:
        return mark not in vars(here) and INNER in here._modules

    for part in name.split("."):
        while wrapped():
            here = here.get_submodule(INNER)
        child = here._modules.get(part)  # looked up hundreds of times whenever a LoRA comes and goes
        if child is None:
            raise InvalidInput(
                f"this network has no layer {name!r}: attach to the network that the adapter was read for"
            )
        holder, attr, here = here, part, child
    while wrapped():
        holder, attr, here = here, INNER, here.get_submodule(INNER)
    return Place(holder, attr, here)
