"""The kernels of `danqing.run.native` against torch's own, in turns: time, and how far each is from float64.

    python benchmarks/native.py
    python benchmarks/native.py --only attention --precision bf16 --runs 20 --threads 2
    python benchmarks/native.py --write     and put the table into docs/kernels.md

The shapes are those of SD 1.5 at 512 px with both guidance halves, and of the default model. The seconds are of the
computing thread where there is one, so that other work on the machine counts less, else of the clock.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from danqing.run.native.attention import attention
from danqing.run.native.convolution import convolution3x3, pack3x3
from danqing.run.native.direct import direct, taps
from danqing.run.native.gated import gated
from danqing.run.native.linear import linear, panels
from danqing.run.native.normalise import group_norm_silu, layer_norm
from danqing.run.precision import NAMES
from danqing.run.record import describe
from marks import put

#: (B, heads, queries, keys, size of a head)
ATTENTION = (
    (2, 8, 4096, 4096, 40),
    (2, 8, 1024, 1024, 80),
    (2, 8, 256, 256, 160),
    (2, 8, 64, 64, 160),
    (2, 8, 4096, 77, 40),
    (2, 8, 1024, 77, 80),
    (1, 1, 4096, 4096, 512),
    (2, 4, 256, 256, 64),
    (2, 4, 64, 64, 64),
    (2, 4, 64, 77, 64),
)
#: (B, channels, height and width)
GROUPS = (
    (2, 320, 64),
    (2, 640, 32),
    (2, 1280, 16),
    (2, 1280, 8),
    (1, 512, 128),
    (1, 128, 512),
    (2, 128, 16),
    (2, 256, 8),
)
#: (B, tokens, channels)
LAYERS = ((2, 4096, 320), (2, 1024, 640), (2, 256, 1280), (2, 64, 256), (2, 77, 768))
#: (B, tokens, channels of what comes out)
GATES = ((2, 4096, 1280), (2, 1024, 2560), (2, 256, 5120), (2, 64, 1024))
#: (B, input channels, output channels, height and width)
CONVOLUTIONS = (
    (2, 320, 320, 64),
    (2, 640, 640, 32),
    (2, 1280, 1280, 16),
    (2, 1280, 1280, 8),
    (2, 960, 320, 64),
    (1, 512, 512, 128),
    (1, 128, 128, 512),
    (1, 64, 32, 256),
    (2, 128, 128, 16),
    (2, 256, 256, 8),
)
#: (B, tokens, channels, outputs) of small linear layers
LINEARS = (
    (2, 256, 320, 128),
    (2, 64, 192, 192),
    (8, 64, 192, 192),
    (2, 64, 192, 1536),
    (2, 64, 768, 192),
    (2, 16, 256, 256),
    (2, 16, 256, 2048),
)
#: (B, input channels, output channels, height and width, stride) of small convolutions
SMALL = ((2, 128, 128, 16, 2), (8, 128, 128, 16, 2), (2, 192, 192, 8, 2), (2, 128, 8, 16, 1))
#: Seconds below which a work is done again and again between two looks at the clock, which takes time itself.
BRIEF = 0.002


class Case(NamedTuple):
    """One shape: ours, torch's, and torch's in float64."""

    name: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    exact: Callable[[], Tensor]


def picture(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def attentions(dtype: torch.dtype) -> Iterator[Case]:
    for batch, heads, queries, keys, size in ATTENTION:
        tensors = [
            torch.randn(batch, n, heads * size).to(dtype).unflatten(2, (heads, size)).transpose(1, 2)
            for n in (queries, keys, keys)
        ]
        name = f"attention {batch} × {heads} × {queries} × {keys} × {size}"
        yield Case(
            name,
            lambda t=tensors: attention(*t),
            lambda t=tensors: F.scaled_dot_product_attention(*t),
            lambda t=tensors: F.scaled_dot_product_attention(*(x[:1, :1].double() for x in t)),
        )


def norms(dtype: torch.dtype) -> Iterator[Case]:
    for batch, channels, side in GROUPS:
        given = (picture(batch, channels, side, side, dtype=dtype), *torch.randn(2, channels).to(dtype))
        yield Case(
            f"GroupNorm + SiLU {batch} × {channels} at {side}²",
            lambda g=given: group_norm_silu(g[0], 32, *g[1:]),
            lambda g=given: F.silu(F.group_norm(g[0], 32, *g[1:])),
            lambda g=given: F.silu(F.group_norm(g[0][:1].double(), 32, *(w.double() for w in g[1:]))),
        )
    for batch, tokens, channels in LAYERS:
        given = (torch.randn(batch, tokens, channels).to(dtype), *torch.randn(2, channels).to(dtype))
        yield Case(
            f"LayerNorm {batch} × {tokens} × {channels}",
            lambda g=given: layer_norm(*g),
            lambda g=given: F.layer_norm(g[0], g[1].shape, *g[1:]),
            lambda g=given: F.layer_norm(g[0][:1].double(), g[1].shape, *(w.double() for w in g[1:])),
        )


def gates(dtype: torch.dtype) -> Iterator[Case]:
    def theirs(x: Tensor) -> Tensor:
        value, gate = x.chunk(2, -1)
        return value * F.gelu(gate)

    for batch, tokens, channels in GATES:
        x = torch.randn(batch, tokens, 2 * channels).to(dtype)
        yield Case(
            f"product with GELU {batch} × {tokens} × {channels}",
            lambda x=x: gated(x),
            lambda x=x: theirs(x),
            lambda x=x: theirs(x[:1].double()),
        )


def convolutions(dtype: torch.dtype) -> Iterator[Case]:
    for batch, inputs, outputs, side in CONVOLUTIONS:
        x, bias = picture(batch, inputs, side, side, dtype=dtype), torch.randn(outputs).to(dtype)
        weight = picture(outputs, inputs, 3, 3, dtype=dtype) / (9 * inputs) ** 0.5
        packed = pack3x3(weight)
        yield Case(
            f"convolution {batch} × {inputs} → {outputs} at {side}²",
            lambda a=(x, packed, bias): convolution3x3(*a),
            lambda a=(x, weight, bias): F.conv2d(*a, padding=1),
            lambda a=(x, weight, bias): F.conv2d(
                a[0][:1, :, :32, :32].double(), a[1].double(), a[2].double(), padding=1
            ),
        )


def linears(dtype: torch.dtype) -> Iterator[Case]:
    for batch, tokens, inputs, outputs in LINEARS:
        x, bias = torch.randn(batch, tokens, inputs).to(dtype), torch.randn(outputs).to(dtype)
        weight = (torch.randn(outputs, inputs) / inputs**0.5).to(dtype)
        packed = panels(weight)
        if packed is not None:
            yield Case(
                f"linear layer {batch} × {tokens} × {inputs} → {outputs}",
                lambda a=(x, packed, outputs, bias): linear(*a),
                lambda a=(x, weight, bias): F.linear(*a),
                lambda a=(x, weight, bias): F.linear(a[0][:1].double(), a[1].double(), a[2].double()),
            )


def small(dtype: torch.dtype) -> Iterator[Case]:
    for batch, inputs, outputs, side, stride in SMALL:
        x, bias = picture(batch, inputs, side, side, dtype=dtype), torch.randn(outputs).to(dtype)
        weight = picture(outputs, inputs, 3, 3, dtype=dtype) / (9 * inputs) ** 0.5
        packed = taps(weight)
        if packed is not None:
            yield Case(
                f"small convolution {batch} × {inputs} → {outputs} at {side}², stride {stride}",
                lambda a=(x, packed, bias, stride, 1): found(direct(*a)),
                lambda a=(x, weight, bias, stride, 1): F.conv2d(*a),
                lambda a=(x, weight, bias), how=(stride, 1): F.conv2d(
                    a[0][:1].double(), a[1].double(), a[2].double(), *how
                ),
            )


def found(answer: Tensor | None) -> Tensor:
    """The answer of a kernel that had the memory it wants."""
    if answer is None:
        raise SystemExit("memory is short")
    return answer


def far(found: Tensor, exact: Tensor) -> float:
    """The largest distance, of what both have, in units of the largest number; a cut's edge is left out."""
    if found.dim() == 4:
        found, exact = (
            x[: exact.shape[0], : exact.shape[1], : exact.shape[2], : exact.shape[3]] for x in (found, exact)
        )
        if found.shape[2:] == (32, 32):
            found, exact = found[..., :31, :31], exact[..., :31, :31]
    else:
        found = found[: exact.shape[0]]
    return float((found.double() - exact).abs().max() / exact.abs().max())


def measured(case: Case, runs: int, clock: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Milliseconds of ours and of torch's, in turns, after two that are not counted; brief ones many times a turn."""
    times: tuple[list[float], list[float]] = ([], [])
    counts = [1, 1]
    for run in range(-1, runs + 1):
        for which, work in enumerate((case.ours, case.theirs)):
            begin = clock()
            for _ in range(counts[which]):
                work()
            took = (clock() - begin) / counts[which]
            if run == 0:
                counts[which] = max(1, math.ceil(BRIEF / max(took, 1e-6)))
            elif run > 0:
                times[which].append(1000 * took)
    return times


def row(precision: str, case: Case, ours: list[float], theirs: list[float]) -> str:
    """The line of the table for one shape."""
    exact = case.exact()
    mine, other = statistics.median(ours), statistics.median(theirs)
    return (
        f"| {precision} {case.name} | {mine:.3g} ({min(ours):.3g}) | {other:.3g} ({min(theirs):.3g}) "
        f"| {mine / other:.2f} ({min(ours) / min(theirs):.2f}) "
        f"| {far(case.ours(), exact):.1e}, {far(case.theirs(), exact):.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only the shapes whose name holds this")
    parser.add_argument("--precision", nargs="*", default=["bf16", "fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/kernels.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    machine = describe()
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    lines = [
        f"Measured by `python benchmarks/native.py` on {machine['cpu']} ({machine['instructions']}, torch "
        f"{machine['torch']}), {args.threads} thread{'s' * (args.threads > 1)}, in turns: the median of {args.runs}, "
        "and the least.",
        "",
        "| | ours, ms | torch, ms | ratio | error of ours, of torch |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    with torch.inference_mode():
        for precision in args.precision:
            for cases in (attentions, norms, gates, linears, small, convolutions):
                for case in cases(NAMES[precision]):
                    if args.only in case.name:
                        lines.append(row(precision, case, *measured(case, args.runs, clock)))
                        print(lines[-1], flush=True)
    if args.write:
        put("docs/kernels.md", f"kernels {machine['instructions']}", "\n".join(lines))


if __name__ == "__main__":
    main()
