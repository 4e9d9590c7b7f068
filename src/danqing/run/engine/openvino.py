"""Networks compiled by OpenVINO for the processor, and kept on the disk: https://docs.openvino.ai.

OpenVINO computes in bfloat16 what was bfloat16 and what was not. Networks compute the features of time in float32, for
bfloat16 cannot tell step 999 from 1000; so what a graph computes of its float32 inputs before it first rounds is cut
off, and compiled in float32.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ... import atomic
from ..device import threads
from ..native import library
from . import whole
from .engines import Engine

#: What OpenVINO calls the precisions that it computes in.
PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
#: How the inputs of a graph are called, and those that are computed of them in float32.
INPUT, EARLY = "input_{}", "early_{}"
#: Raised whenever `Models` makes something else of the same graph, so that nobody reads what was kept before.
FORM = 1
#: Bytes of graphs that are kept on the disk; of more the oldest are removed.
KEPT = 8 << 30
#: Those in use, so that one that comes back with an adapter is not made anew.
ALIVE: WeakValueDictionary[str, Answers] = WeakValueDictionary()


def folder() -> Path:
    """Where graphs are kept."""
    return library.cache().with_name("openvino")


def reason(where: torch.device) -> str:
    """Why OpenVINO cannot compute on a device, "" if it can."""
    if where.type != "cpu":
        return f"OpenVINO computes on processors here, not on {where.type}"
    return "" if find_spec("openvino") else 'OpenVINO is not installed: run `pip install "danqing[openvino]"`'


def openvino() -> Any:
    """The package, loaded late."""
    return import_module("openvino")


@cache
def core() -> Any:
    return openvino().Core()


def precision_of(program: ExportedProgram) -> str:
    """The one precision of the network's numbers.

    Raises:
        Unfit: OpenVINO does not compute in it here.
    """
    found = {value.dtype for value in program.state_dict.values() if value.is_floating_point()}
    if len(found) != 1 or not found <= PRECISIONS.keys():
        given = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found)) or "no numbers"
        raise whole.Unfit(f"OpenVINO computes in bfloat16 or in float32, and it holds {given}")
    return PRECISIONS[found.pop()]


class Models:
    """A graph in OpenVINO's form.

    Args:
        program: the graph.
        tensors: inputs of its shapes.
        cut: whether what is computed in float32 before the first rounding becomes a model of its own, ``early``, whose
            answers are inputs of ``main``.
    """

    def __init__(self, program: ExportedProgram, tensors: Sequence[Tensor], cut: bool):
        self.main: Any = converted(program)
        for i, port in enumerate(self.main.inputs):
            port.get_tensor().set_names({INPUT.format(i)})
        self.main.reshape({INPUT.format(i): list(tensor.shape) for i, tensor in enumerate(tensors)})
        self.early: Any = None
        if cut:
            self._cut()
        for result in self.main.get_results():
            if narrow(result):  # numpy knows no bfloat16
                wide = openvino().opset13.convert(result.input_value(0), "f32")
                result.input(0).replace_source_output(wide.output(0))
        self.main.validate_nodes_and_infer_types()

    def _cut(self) -> None:
        ov, inputs = openvino(), self.main.get_parameters()
        if not (found := list(rounded(self.main))):
            return
        results = [ov.opset13.result(port) for port, _ in found]
        self.early = ov.Model(results, inputs, "early").clone()
        given = [ov.opset13.parameter(port.get_partial_shape(), ov.Type.f32) for port, _ in found]
        for i, (one, (_, reader)) in enumerate(zip(given, found, strict=True)):
            one.output(0).get_tensor().set_names({EARLY.format(i)})
            reader.replace_source_output(one.output(0))
        self.main = ov.Model(self.main.get_results(), [*inputs, *given], "main")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what OpenVINO and torch say of their own ways, for which nobody who paints can do anything."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def converted(program: ExportedProgram) -> Any:
    """A graph as OpenVINO reads it. ``openvino.convert_model`` does no more, but tells its makers of each call."""
    frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    with quiet():
        decoder = import_module("openvino.frontend.pytorch.fx_decoder").TorchFXPythonDecoder
        source = decoder.from_exported_program(program)  # has to live until it is converted
        return frontend.convert(frontend.load(source))


def rounded(model: Any) -> Iterator[tuple[Any, Any]]:
    """What a model computes of its inputs in float32 and then rounds to bfloat16: each output, and what reads it."""
    moving = {node.get_name() for node in model.get_parameters()}  # what is no constant
    wide, computed = set[str](), set[str]()
    for node in model.get_ordered_ops():
        name, above = node.get_name(), {port.get_node().get_name() for port in node.input_values()}
        if narrow(node):
            if node.get_type_name() == "Convert" and above <= computed:
                yield node.input_value(0), node.input(0)
        elif above <= wide:
            wide.add(name)
            if above & moving:
                moving.add(name)
                computed.add(name)


def narrow(node: Any) -> bool:
    """Whether an operation answers in bfloat16."""
    return any(port.get_element_type().get_type_name() == "bf16" for port in node.outputs())


def kept(name: str, precision: str, make: Callable[[], Any]) -> Any:
    """The compiled model that is kept under a name, or a new one, which is kept then. Whatever is wrong with the folder
    or with what lies there costs time and nothing else."""
    how = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    path = folder() / f"{name}.blob"
    with suppress(Exception), path.open("rb") as file:
        digest, blob = file.read(64), file.read()
        if hashlib.blake2b(blob).digest() == digest:
            return core().import_model(blob, "CPU", how)
    compiled = core().compile_model(make(), "CPU", how)
    with suppress(OSError, RuntimeError):
        folder().mkdir(parents=True, exist_ok=True)
        blob = compiled.export_model().getvalue()
        with atomic.writing(path) as file:
            file.write(hashlib.blake2b(blob).digest())
            file.write(blob)
        prune(path)
    return compiled


def prune(newest: Path) -> None:
    """Remove the oldest graphs until no more than `KEPT` bytes are left; the newest stays."""
    found = sorted((path.stat().st_mtime, path) for path in newest.parent.glob("*.blob") if path != newest)
    total = newest.stat().st_size
    for _, path in reversed(found):
        total += path.stat().st_size
        if total > KEPT:
            path.unlink(missing_ok=True)


class Answers:
    """A graph's answer by OpenVINO.

    Args:
        main, early: the compiled models; ``early`` is asked for where ``main`` reads what it computes.
        program: the graph, whose weights OpenVINO may read where torch has them.
    """

    def __init__(self, main: Any, early: Callable[[], Any], program: ExportedProgram):
        cut = any(EARLY.format(0) in port.get_names() for port in main.inputs)
        self.requests = [model.create_infer_request() for model in ([early(), main] if cut else [main])]
        outputs = next(node.args[0] for node in reversed(program.graph.nodes) if node.op == "output")
        self.dtypes = [node.meta["val"].dtype for node in outputs]
        self._held, self._lock = (*program.state_dict.values(), *program.constants.values()), threading.Lock()

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        inputs = {INPUT.format(i): of_torch(tensor) for i, tensor in enumerate(tensors)}
        with self._lock:
            for request in self.requests[:-1]:
                inputs |= {EARLY.format(i): answer for i, answer in enumerate(asked(request, inputs))}
            found = [torch.from_numpy(answer.data.copy()) for answer in asked(self.requests[-1], inputs)]
        return [one.to(dtype) for one, dtype in zip(found, self.dtypes, strict=True)]


def asked(request: Any, inputs: Mapping[str, Any]) -> list[Any]:
    """The answers of a model, which the next request overwrites."""
    for port in request.model_inputs:
        request.set_tensor(port, next(inputs[name] for name in port.get_names() if name in inputs))
    request.infer()
    return [request.get_tensor(port) for port in request.model_outputs]


def of_torch(tensor: Tensor) -> Any:
    """A tensor as OpenVINO reads it, in the same memory."""
    ov = openvino()
    if tensor.dtype == torch.bfloat16:
        return ov.Tensor(tensor.view(torch.int16).numpy(), ov.Shape(list(tensor.shape)), ov.Type.bf16)
    return ov.Tensor(tensor.numpy(), shared_memory=True)


def build(program: ExportedProgram, tensors: Sequence[Tensor]) -> whole.Ask:
    """Compile a graph in the precision of its network, or take what was kept of it."""
    precision, digest = precision_of(program), whole.digest_of(program, tensors, FORM, version("openvino"))
    models = cache(lambda: Models(program, tensors, cut=precision != "f32"))
    found = ALIVE.get(digest)
    if found is None:
        main = kept(digest, precision, lambda: models().main)
        early = partial(kept, f"{digest}-early", "f32", lambda: models().early)
        ALIVE[digest] = found = Answers(main, early, program)
    return found


def attach(net: nn.Module) -> Callable[[], None]:
    """Have a network compiled when it is first called with a shape."""
    return whole.attach(net, build)


OPENVINO = Engine(
    attach=attach,
    reason=reason,
    aside=whole.aside,
    keeps=True,
    record=lambda: {"openvino": version("openvino")},
    does="Whole networks by OpenVINO, for each size once, kept on the disk; processors alone.",
)
