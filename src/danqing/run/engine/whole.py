"""A network as one graph for each shape that it is given: what the engines share that compile whole networks.

The graph is `torch.export`'s of the network's forward, in which sizes are constants and the tensors of the call, in
whatever tuples, mappings and dataclasses they come, are the inputs. It is true of the network as it was exported, so it
is asked only while every layer and every tensor of it is what it was; an adapter that changes them has another graph.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, cast
from weakref import ref

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ...log import log, timed
from ..device import threads
from ..processor import cpu

#: The answer of a graph: (the inputs, contiguous) -> the outputs.
Ask = Callable[[Sequence[Tensor]], Sequence[Tensor]]
#: Makes it: (the graph, inputs of its shapes) -> its answer.
Build = Callable[[ExportedProgram, Sequence[Tensor]], Ask]
#: Bytes of weights that the graphs of one network may hold together; of a large network two stay nevertheless.
HELD = 4 << 30
#: Graphs of a network that are kept at most.
MOST = 16
#: Stands where a tensor was.
NONE = torch.empty(0)
#: Whether a call lies within that of a network around it, whose graph it is part of.
WITHIN: ContextVar[bool] = ContextVar("within", default=False)


class Unfit(Exception):
    """Why a call is computed by torch."""


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same tuples, lists, mappings and dataclasses with each tensor changed, in their order.

    Raises:
        Unfit: there is something in it that may not be the same next time.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(one, change) for key, one in cast(Mapping[str, Any], value).items()}
    if isinstance(value, tuple | list):
        every = [mapped(one, change) for one in cast(Sequence[Any], value)]
        return type(value)(*every) if hasattr(value, "_fields") else type(value)(every)  # a NamedTuple by its fields
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: mapped(getattr(value, one.name), change) for one in fields(value)})
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Unfit(f"it is given a {type(value).__name__}")


def tensors_of(value: Any) -> list[Tensor]:
    """Its tensors, in the order of `mapped`."""
    found: list[Tensor] = []
    mapped(value, found.append)
    return found


def filled(value: Any, tensors: Sequence[Tensor]) -> Any:
    """A value with other tensors in the place of its own."""
    others = iter(tensors)
    return mapped(value, lambda _: next(others))


class Plain(nn.Module):
    """A network's own forward as a function of tensors alone.

    Args:
        net: the network.
        given: its arguments and keyword arguments, with any tensors in them.
        answered: is told its answer, before the tensors are taken out of that.
    """

    def __init__(self, net: nn.Module, given: Any, answered: Callable[[Any], object]):
        super().__init__()
        self.net, self._given, self._answered = net, given, answered

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        args, kwargs = filled(self._given, tensors)
        answer = type(self.net).forward(self.net, *args, **kwargs)
        self._answered(answer)
        return tuple(tensors_of(answer))


def layers(net: nn.Module) -> Iterator[nn.Module]:
    """A network and all that is in it, each as often as it stands there; quicker than ``modules``."""
    stack = [net]
    while stack:
        yield (layer := stack.pop())
        stack.extend(child for child in layer._modules.values() if child is not None)


def numbers(layer: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers of a layer itself."""
    yield from (tensor for tensor in (*layer._parameters.values(), *layer._buffers.values()) if tensor is not None)


def state(net: nn.Module) -> list[Any]:
    """Equal to an earlier one where nobody has changed a layer or a tensor of the network, as long as whoever keeps it
    keeps the tensors' memory too.

    Raises:
        Unfit: a hook on one of its layers, or what runs them, may do anything, at every call something else.
    """
    found: list[Any] = []
    if "body" in vars(net):
        raise Unfit("in some steps a part of its layers is computed")
    for layer in layers(net):
        if layer is not net and (layer._forward_hooks or layer._forward_pre_hooks):
            raise Unfit("something looks into its layers")
        if layer is not net:  # which would keep itself alive
            found.append(layer)  # itself, so that nothing else is at its address later
        for tensor in numbers(layer):
            version = 0 if tensor.is_inference() else tensor._version
            found += (tensor.data_ptr(), tensor.shape, tensor.dtype, version)
    return found


def reason(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def digest_of(program: ExportedProgram, tensors: Sequence[Tensor], *versions: object) -> str:
    """Equal where the same graph of the same numbers is computed in the same way, by what has these versions, on the
    same machine."""
    machine = (*versions, cpu().model, sorted(cpu().flags), threads(), torch.__version__)
    given = [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]
    found = hashlib.blake2b(repr((machine, given, str(program.graph_signature), str(program.graph))).encode())
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:32]


class Graph(NamedTuple):
    """A graph that was made of a network.

    Args:
        key: of the call: its values, and the shapes of its tensors.
        state: of the network.
        held: its tensors, so that no others come to lie where they do.
        answer: of the network's forward, whose tensors are left out.
        ask: None where it could not be made.
        why: it could not, or "".
    """

    key: str
    state: list[Any]
    held: list[Tensor]
    answer: Any = None
    ask: Ask | None = None
    why: str = ""


class Whole:
    """What stands in the place of a network's forward: it asks a graph where there can be one, else torch.

    With gradients, in autocast, and for a network that reads no fractions (token ids: it is asked once a picture, and
    soon done), torch computes.
    """

    def __init__(self, net: nn.Module, build: Build):
        self._net, self.build = ref(net), build
        self.graphs: list[Graph] = []  # the latest first
        self._lock = threading.RLock()

    @property
    def net(self) -> nn.Module:
        """The network, which holds this and is not held by it."""
        return cast(nn.Module, self._net())

    def __deepcopy__(self, memo: dict[int, Any]) -> Whole:
        return Whole(memo[id(self.net)], self.build)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if WITHIN.get():
            return type(self.net).forward(self.net, *args, **kwargs)
        try:
            tensors = tensors_of((args, kwargs))
            where = {tensor.device.type for tensor in tensors}
            plain = torch.is_grad_enabled() or any(map(torch.is_autocast_enabled, where))
            if not plain and any(tensor.is_floating_point() for tensor in tensors):
                graph = self._graph((args, kwargs), tensors)
                if graph.ask is not None:
                    return filled(graph.answer, graph.ask([tensor.contiguous() for tensor in tensors]))
        except Unfit:
            pass
        token = WITHIN.set(True)  # what torch computes it computes to the last layer
        try:
            return type(self.net).forward(self.net, *args, **kwargs)
        finally:
            WITHIN.reset(token)

    def why(self) -> str:
        """Why torch computes the network as it is now, "" where it need not."""
        try:
            now = state(self.net)
        except Unfit as unfit:
            return str(unfit)
        return next((graph.why for graph in self.graphs if graph.why and graph.state == now), "")

    def _graph(self, given: tuple[tuple[Any, ...], dict[str, Any]], tensors: Sequence[Tensor]) -> Graph:
        key = repr(mapped(given, lambda one: (tuple(one.shape), one.dtype, one.device)))
        now = state(self.net)
        with self._lock:
            found = next((graph for graph in self.graphs if graph.key == key and graph.state == now), None)
            found = self._made(key, now, given, tensors) if found is None else found
            if not self.graphs or found is not self.graphs[0]:
                rest = [graph for graph in self.graphs if graph is not found]
                size = sum(tensor.nbytes for tensor in self.net.parameters())
                self.graphs[:] = [found, *rest][: max(2, min(MOST, HELD // max(size, 1)))]
        return found

    def _made(self, key: str, now: list[Any], given: Any, tensors: Sequence[Tensor]) -> Graph:
        name, token = type(self.net).__name__, WITHIN.set(True)
        held = [tensor.detach() for layer in layers(self.net) for tensor in numbers(layer)]
        try:
            with torch.inference_mode(False), torch.no_grad(), timed(f"{name}: a graph made"):
                inputs = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
                answers = list[Any]()  # of no tensors that hold numbers
                plain = Plain(self.net, mapped(given, lambda _: NONE), answers.append)
                program = torch.export.export(plain, inputs, strict=False)
                return Graph(key, now, held, answers[-1], self.build(program, inputs))
        except Exception as error:  # of a foreign compiler, which raises whatever it likes
            log.warning("%s: torch computes it, for %s", name, reason(error))
            return Graph(key, now, held, why=reason(error))
        finally:
            WITHIN.reset(token)


def attach(net: nn.Module, build: Build) -> Callable[[], None]:
    """Have a network computed by graphs, and each of its parts that has parts, for those that are called one by one (an
    autoencoder's two halves); what is returned takes that back."""
    parts = [net, *(part for part in net.children() if any(True for _ in part.children()))]
    for part in parts:
        vars(part)["forward"] = Whole(part, build)

    def detach() -> None:
        for part in parts:
            del vars(part)["forward"]

    return detach


def aside(net: nn.Module) -> str:
    """Why torch computes a network, "" where its engine does."""
    whole = vars(net).get("forward")
    return whole.why() if isinstance(whole, Whole) else ""
