"""One step of a control network at the size of Stable Diffusion 1.5, beside diffusers' of the same weights.

    python benchmarks/control.py [--size 512] [--rounds 5] [--dtype bf16]

Weights are random, rounds interleaved, times medians in seconds, on a CPU those of the process, so that who else
computes there counts little. A step is what a sampler asks of it for prompt and
negative prompt at once; diffusers embeds the hint anew in each, danqing once a picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import cast

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from danqing.nets.controlnet import ControlNet, ControlNetConfig, Shown, diffusers_arguments

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, default=512)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--dtype", choices=DTYPES, default="fp32")
    options.add_argument("--device", default="cpu")
    given = options.parse_args()
    torch.manual_seed(0)
    where, dtype = torch.device(given.device), DTYPES[given.dtype]
    config = ControlNetConfig()
    reference = ControlNetModel(**diffusers_arguments(config)).eval()
    with torch.no_grad():
        for p in reference.parameters():
            if not p.any():
                p.normal_(std=0.02)
    ours = ControlNet(config).eval()
    ours.load_state_dict(reference.state_dict())
    theirs = cast("Callable[..., tuple[list[Tensor], Tensor]]", reference.to(where, dtype))  # pyright: ignore[reportCallIssue, reportArgumentType]
    ours = ours.to(where, dtype)
    draw: dict[str, object] = {"device": where, "dtype": dtype}
    x = torch.randn(2, 4, given.size // 8, given.size // 8, **draw)  # pyright: ignore[reportArgumentType, reportCallIssue]
    tokens = torch.randn(2, 77, 768, **draw)  # pyright: ignore[reportArgumentType, reportCallIssue]
    hint = torch.rand(1, 3, given.size, given.size, **draw)  # pyright: ignore[reportArgumentType, reportCallIssue]
    t = torch.full((2,), 500.0, device=where)
    seen = ours.see(hint)
    steps: dict[str, Callable[[], object]] = {
        "danqing": lambda: ours(x, t, tokens, shown=[Shown(seen)]),
        "diffusers": lambda: theirs(x, t, tokens, hint.expand(2, -1, -1, -1), return_dict=False),
    }
    found = ours(x, t, tokens, shown=[Shown(seen)])
    down, mid = theirs(x, t, tokens, hint.expand(2, -1, -1, -1), return_dict=False)
    apart = max(float((a - b).abs().max()) for a, b in zip((*found.down, found.mid), (*down, mid), strict=True))
    clock = time.perf_counter if where.type == "cuda" else time.process_time
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.rounds):
        for name, step in steps.items():
            begin = clock()
            step()
            if where.type == "cuda":
                torch.cuda.synchronize()
            took[name].append(clock() - begin)
    medians = {name: statistics.median(times) for name, times in took.items()}
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.3f} s a step")
    print(f"ratio {medians['danqing'] / medians['diffusers']:.3f}, residuals at most {apart:.2g} apart")


if __name__ == "__main__":
    main()
