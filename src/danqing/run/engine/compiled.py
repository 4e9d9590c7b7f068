"""Networks compiled by `torch.compile`: operations fused, and on a processor weights packed once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ...log import timed
from . import whole
from .engines import Engine

#: What compiles; another one of torch's makes tests quick.
BACKEND = "inductor"


def reason(where: torch.device) -> str:
    """Why nothing can be compiled for a device, "" if it can."""
    if where.type != "cpu":
        return "" if find_spec("triton") else f"torch.compile needs triton on {where.type}: run `pip install triton`"
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    command = os.environ.get("CXX") or usual
    return "" if shutil.which(command) else f"torch.compile needs a C++ compiler, and {command} was not found"


def build(program: ExportedProgram, tensors: Sequence[Tensor]) -> whole.Ask:
    """Compile a graph and call it once, for the shapes of some inputs. The weights are constants of it: packed in the
    order in which they are multiplied, which is what makes it quick (`freezing`)."""
    from torch._inductor import config

    compiled = torch.compile(bare(program), dynamic=False, fullgraph=True, backend=BACKEND)

    def ask(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        # Copies that know no gradient, in one mode: an input of another kind would have it compiled anew.
        with torch.inference_mode():
            return compiled(*(tensor.clone() for tensor in tensors))

    with config.patch(freezing=True), timed("compiled by torch.compile"):
        ask(tensors)
    return ask


def bare(program: ExportedProgram) -> nn.Module:
    """A graph without what answers no tensors: what was asserted of types while it was traced."""
    module = program.module()
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def attach(net: nn.Module) -> Callable[[], None]:
    """Have a network compiled when it is first called with a shape."""
    return whole.attach(net, build)


COMPILE = Engine(
    attach=attach,
    reason=reason,
    aside=whole.aside,
    keeps=True,
    does="Whole networks by torch.compile, for each size once: minutes before the first picture, kept on the disk.",
)
