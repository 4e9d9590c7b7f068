"""Offload: of all networks the one that computes is in memory; the others' numbers are in their files until they are
asked again.

A picture asks its networks one after another: the text encoders once, the denoiser in every step, the autoencoder at
the end. So the peak is that of the largest network instead of that of all. It changes no byte of a picture, for every
network computes with the same numbers; a further picture costs the time of reading and packing them again. diffusers
calls this model offload, A1111 ``--medvram``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import UnknownName
from ..log import log
from ..weights.mappings import put_down
from .device import free
from .pages import frugal
from .quantise.layers import Quantised
from .shared import Attach

#: The environment variable that chooses; `--offload` sets it.
VARIABLE = "DANQING_OFFLOAD"
CHOICES = ("auto", "none", "sequential")
#: The attribute under which a network keeps its `Offloaded`.
MARK = "danqing_offloaded"
#: What painting takes at most, in parts of its weights: packed ones, panels, activations.
SHARE = 2.0


def given() -> str:
    """What is chosen: "auto", "none" or "sequential".

    Raises:
        UnknownName: the variable says something else.
    """
    choice = os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise UnknownName(f"offload in {VARIABLE}", choice, CHOICES)
    return choice


def turn(choice: str) -> None:
    """Choose, for models that are loaded from now on by this process and those that it starts.

    Raises:
        UnknownName: there is no such choice; nothing is changed.
    """
    if choice not in CHOICES:
        raise UnknownName("offload", choice, CHOICES)
    os.environ[VARIABLE] = choice


def found(choice: str, where: torch.device, weights: int) -> str:
    """What a choice comes to, "none" or "sequential": itself, and of "auto" what the device has room for.

    Args:
        choice: of `CHOICES`.
        weights: bytes of those of all networks, in the precisions that they compute in.
    """
    if choice != "auto":
        return choice
    room = free(where)
    decided = "sequential" if SHARE * weights > room else "none"
    log.info("offload: %s, for weights of %.2f GB and %.2f GB free", decided, weights / 1e9, room / 1e9)
    return decided


class Room:
    """The memory that networks share, one of them in it at a time.

    Whoever is called brings itself in and the others out, and stays for as long as the call lasts. Threads wait for
    each other.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._inside: WeakSet[Offloaded] = WeakSet()

    def __deepcopy__(self, memo: object) -> Room:
        return self

    def enter(self, *parts: Offloaded) -> None:
        """Have these inside and nobody else, until `leave`, which is due even if that fails."""
        self._lock.acquire()
        if leaving := self._inside - set(parts):
            for other in leaving:
                self._inside.discard(other)
                other.put_out()
            give_back()
        for part in parts:
            if part not in self._inside:
                part.bring_in()
                self._inside.add(part)

    def leave(self) -> None:
        self._lock.release()

    @contextmanager
    def holding(self, *parts: Offloaded) -> Iterator[None]:
        """Within the context these are inside, all of them: for adapters, which read the numbers that they change."""
        try:
            self.enter(*parts)
            yield
        finally:
            self.leave()


def give_back(*nets: nn.Module) -> None:
    """Let the system have what nobody uses: glibc keeps freed pieces of up to 32 MB for itself.

    Args:
        nets: that wait; what they have read of files that are mapped comes back from there when they are asked.
    """
    for layer in (layer for net in nets for layer in net.modules() if isinstance(layer, Quantised)):
        layer.stored.moved(put_down)  # which nobody writes to
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


#: That of this process.
ROOM = Room()


class Offloaded:
    """A network whose numbers are in memory while it computes. Made of one that nothing is attached to.

    Its layers, their shapes, types and device stay what they are. Outside of its calls every number is NaN, of which
    one alone is in memory, so that a use of them that `Room` does not know of cannot pass for a result.

    Args:
        net: the network, called by itself or by one of its children.
        read: its numbers by their names in ``net.state_dict()``, on its device.
        room: that it shares.
    """

    def __init__(self, net: nn.Module, read: Callable[[], Mapping[str, Tensor]], room: Room = ROOM):
        frugal()
        self.read, self.room = read, room
        self.places = dict[str, tuple[nn.Module, str, Tensor]]()
        for name, tensor in net.state_dict().items():
            path, _, last = name.rpartition(".")
            none = torch.full((), float("nan"), dtype=tensor.dtype, device=tensor.device)
            self.places[name] = net.get_submodule(path), last, none.expand(tensor.shape)
        vars(net)[MARK] = self
        for module in (net, *net.children()):
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave, always_call=True)
        self.put_out()

    def __deepcopy__(self, memo: object) -> Offloaded:
        return self  # of whom a copy of a layer, an adapter's, is a part

    def put_out(self) -> None:
        """Let go of every number."""
        for layer, name, none in self.places.values():
            _put(layer, name, none)

    def bring_in(self) -> None:
        """Read every number again."""
        numbers = self.read()
        for key, (layer, name, _) in self.places.items():
            _put(layer, name, numbers[key])

    def _enter(self, *_: Any) -> None:
        self.room.enter(self)

    def _leave(self, *_: Any) -> None:
        self.room.leave()


def _put(layer: nn.Module, name: str, value: Tensor) -> None:
    """Give a layer a number: its parameter, its buffer, or one that it keeps in its own way."""
    setattr(layer, name, nn.Parameter(value, requires_grad=False) if name in layer._parameters else value)


def there(attach: Attach, nets: Iterable[nn.Module]) -> Attach:
    """The same attaching and taking off, while the networks are in memory whose numbers it may read."""
    parts = [vars(net)[MARK] for net in nets if MARK in vars(net)]
    if not parts:
        return attach

    def attached() -> Callable[[], object]:
        with ROOM.holding(*parts):
            off = attach()

        def detach() -> None:
            with ROOM.holding(*parts):
                off()

        return detach

    return attached
