"""The process in which ways to compute are tried: ``python -m danqing.measure.machine.tried`` answers line by line.

A way that hangs or crashes takes this process with it and no other. `races` asks; what is written to standard output
by whoever else goes to standard error.
"""

from __future__ import annotations

import copy
import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...nets.blocks import ResnetBlock
from ...nets.ports import Context
from ...nets.unet import EPS, SD1, Transformer
from ...painting.load import load
from ...painting.painter import Painter
from ...request.request import Request
from ...run.engine.engines import ENGINES
from ...run.measured import Choice
from ...run.native.switch import given, turn
from ...run.pages import keep
from ...run.precision import NAMES, precision_name, speedup, training_precision
from ...run.processor import allowed, cores
from ...store.find import AnyModel
from ...store.shipped import DEFAULT

CPU = torch.device("cpu")
#: What is slower than fp32 by this factor in single layers is not tried in whole networks: it may be a hundred times.
SLOW = 0.5
#: What takes more seconds to make ready is made so twice, and the lesser time counts: what was compiled is kept on the
#: disk, so that the next process has it sooner.
COMPILED = 0.5


@dataclass(frozen=True, kw_only=True)
class Work:
    """A call that painting is made of.

    Args:
        net: in fp32, computed by plain torch. inputs, named: what it is called with, in fp32.
        answer: what it says to them.
    """

    net: nn.Module
    inputs: tuple[Any, ...]
    named: Mapping[str, Any]
    answer: Tensor

    @classmethod
    def of(cls, net: nn.Module, *inputs: Any, **named: Any) -> Work:
        net = net.eval().requires_grad_(False)
        return cls(net=net, inputs=inputs, named=named, answer=net(*inputs, **named))

    def asked(self, dtype: torch.dtype) -> Callable[[nn.Module], Tensor]:
        """The call, of a network in another type."""
        # The time stays as it is, as a denoiser has it.
        inputs = [each if i == 1 and each.ndim == 1 else cast(each, dtype) for i, each in enumerate(self.inputs)]
        named = cast(self.named, dtype)
        return lambda net: net(*inputs, **named)

    def distance(self, other: Tensor) -> float:
        """|y - y0| / |y0| of an answer y: 0 for the same."""
        return float((other.float() - self.answer).norm() / self.answer.norm())


class Level(nn.Module):
    """What most of a large network is made of: the two blocks of the first level of Stable Diffusion 1."""

    def __init__(self) -> None:
        super().__init__()
        channels = SD1.block_out_channels[0]
        self.residual = ResnetBlock(channels, channels, groups=SD1.norm_num_groups, eps=EPS, time_channels=4 * channels)
        self.transformer = Transformer(channels, depth=1, heads=8, config=SD1)

    def forward(self, x: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """x (B, C, H, W), time (B, 1280), tokens (B, L, 768)."""
        ctx = Context(time=time, tokens=tokens)
        return self.transformer(self.residual(x, ctx), ctx)


class Taken(Exception):
    """The call is there; nothing more is to be painted."""


@torch.inference_mode()
def small(model: AnyModel = DEFAULT) -> Work:
    """The first call of a model's network for a picture of its own size, taken down where it is made."""
    painter = load(model, "cpu", "fp32", engine="torch")
    assert isinstance(painter, Painter)
    call: list[Any] = []

    def take(net: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        call.extend((inputs, named))
        raise Taken

    hook = painter.denoiser.net.register_forward_pre_hook(take, with_kwargs=True)
    try:
        painter.paint(Request(prompt="a red fox", seed=1, finish="none"))
    except Taken:
        pass
    finally:
        hook.remove()
    inputs, named = call
    return Work.of(painter.denoiser.net, *inputs, **named)


@torch.inference_mode()
def large(size: int = 32) -> Work:
    """Blocks of Stable Diffusion 1, of random weights, for a latent of so many cells along a side."""
    torch.manual_seed(0)
    net, channels = Level(), SD1.block_out_channels[0]
    x, time = torch.randn(1, channels, size, size), torch.randn(1, 4 * channels)
    return Work.of(net, x, time, torch.randn(1, 77, SD1.cross_attention_dim))


def cast(value: Any, dtype: torch.dtype) -> Any:
    """A tensor, or what a mapping holds of them, in another type; all else as it is."""
    if isinstance(value, Mapping):
        return {name: cast(each, dtype) for name, each in value.items()}
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


class Trials:
    """The ways that are being tried, each with networks of its own.

    Args:
        works: by their names.
    """

    def __init__(self, works: Mapping[str, Work]):
        self.works = works
        self.ready: dict[Choice, dict[str, Any]] = {}
        with torch.inference_mode():
            self.run(rule())  # what is slow once a process is nobody's
        self.ready.clear()

    @torch.inference_mode()
    def run(self, choice: Choice) -> dict[str, Any]:
        """Seconds of one call of each work; the first time also those of making ready with the first call, and how far
        the answers are from those of fp32. ``why`` says why there is nothing of that."""
        if choice.kernels != (given() or "on"):
            turn(choice.kernels)
        torch.set_num_threads(choice.threads)
        dtype = NAMES[choice.precision]
        if dtype != torch.float32 and (ratio := speedup(dtype)) < SLOW:
            return {"why": f"in {choice.precision} single layers take {1 / ratio:.0f} times what they take in fp32"}
        found: dict[str, Any] = {"first": {}, "seconds": {}, "distance": {}}
        nets = self.ready.setdefault(choice, {})
        for name, work in self.works.items():
            asked = work.asked(dtype)
            if name not in nets:
                nets[name], found["first"][name], answer = _ready(work, choice, asked)
                found["distance"][name] = distance = work.distance(answer)
                if not math.isfinite(distance):
                    self.drop(choice)
                    return {"why": "its answers are not finite"}
                if found["first"][name] > COMPILED:
                    del nets[name], answer
                    gc.collect()  # what is alive would be found again sooner than on the disk
                    nets[name], again, _ = _ready(work, choice, asked)
                    found["first"][name] = min(found["first"][name], again)
            begin = time.perf_counter()
            asked(nets[name])
            found["seconds"][name] = time.perf_counter() - begin
        return found

    def drop(self, choice: Choice) -> None:
        """Let go of the networks of a way that is tried no more."""
        self.ready.pop(choice, None)


def _ready(work: Work, choice: Choice, asked: Callable[[nn.Module], Tensor]) -> tuple[nn.Module, float, Tensor]:
    """A network of a work as it computes in a way, the seconds that this and its first call took, and its answer."""
    net = copy.deepcopy(work.net).to(NAMES[choice.precision])
    begin = time.perf_counter()
    ENGINES[choice.engine].attach(net)
    answer = asked(net)
    return net, time.perf_counter() - begin, answer


def rule() -> Choice:
    """What is chosen where nothing was measured."""
    engine = "torch" if ENGINES["packed"].reason(CPU) else "packed"
    return Choice(
        precision=precision_name(training_precision(CPU)), engine=engine, kernels="on", threads=torch.get_num_threads()
    )


def here() -> dict[str, Any]:
    """What there is to be tried: what is usual, the engines with why they cannot compute here, numbers of threads."""
    counts = {2**power for power in range(allowed().bit_length())} | {cores(), allowed()}
    return {
        "rule": asdict(rule()),
        "engines": {name: engine.reason(CPU) for name, engine in ENGINES.usable().items()},
        "threads": sorted(counts),
    }


def answers(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """What there is, then the answer to each line, which names a way."""
    said = here()
    trials = Trials({"the default model": small(), "blocks of Stable Diffusion": large()})
    yield said
    for line in lines:
        asked = json.loads(line)
        choice = Choice(**asked["choice"])
        if asked.get("drop"):
            trials.drop(choice)
            yield {}
            continue
        try:
            yield trials.run(choice)
        except Exception as error:  # an engine may be anybody's
            yield {"why": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def main() -> None:
    """Answer on standard output, which nobody else gets."""
    keep()  # as painting from the command line does
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for answer in answers(iter(sys.stdin)):
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
