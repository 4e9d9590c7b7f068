"""What attaches to a UNet at the size of Stable Diffusion 1.5 costs a step: a control network beside diffusers' of the
same weights, and an IP-Adapter beside the bare UNet.

    python benchmarks/control.py [--size 512] [--rounds 5] [--dtype bf16] [--only ip] [--write]

Weights are random, rounds interleaved, each round in another order; times are medians in seconds, on a CPU those of the
process, so that who else computes there counts little, and a ratio is the median of the rounds' own. A step is what a
sampler asks for prompt and negative prompt at once; diffusers embeds the hint anew in each, danqing once a picture.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from danqing.nets.controlnet import ControlNet, ControlNetConfig, Shown, diffusers_arguments
from danqing.nets.ip_adapter import Branch, IPAdapter, IPAdapterConfig, places
from danqing.nets.unet import UNet, UNetConfig
from marks import put

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Steps = Mapping[str, Callable[[], object]]
#: Under which name the picture's tokens are said.
NAME = "picture"


def timed(steps: Steps, rounds: int, where: torch.device) -> tuple[dict[str, float], float]:
    """Medians of the seconds, and the median of the rounds' ratios of the first step to the second."""
    clock = time.perf_counter if where.type == "cuda" else time.process_time
    took: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for i in range(rounds):
        for name in list(steps)[:: -1 if i % 2 else 1]:
            begin = clock()
            steps[name]()
            if where.type == "cuda":
                torch.cuda.synchronize()
            took[name].append(clock() - begin)
    first, second = took.values()
    ratio = statistics.median(a / b for a, b in zip(first, second, strict=True))
    return {name: statistics.median(times) for name, times in took.items()}, ratio


def control(size: int, draw: Mapping[str, Any]) -> tuple[Steps, float]:
    """A step of ours and of diffusers', and how far apart their residuals are at most."""
    config = ControlNetConfig()
    reference = ControlNetModel(**diffusers_arguments(config)).eval()
    with torch.no_grad():
        for p in reference.parameters():
            if not p.any():
                p.normal_(std=0.02)
    ours = ControlNet(config).eval()
    ours.load_state_dict(reference.state_dict())
    theirs = cast("Callable[..., tuple[list[Tensor], Tensor]]", reference.to(**draw))
    ours = ours.to(**draw)
    x, tokens = torch.randn(2, 4, size // 8, size // 8, **draw), torch.randn(2, 77, 768, **draw)
    hint, t = torch.rand(1, 3, size, size, **draw), torch.full((2,), 500.0, device=draw["device"])
    seen = ours.see(hint)
    steps: Steps = {
        "danqing": lambda: ours(x, t, tokens, shown=[Shown(seen)]),
        "diffusers": lambda: theirs(x, t, tokens, hint.expand(2, -1, -1, -1), return_dict=False),
    }
    found = ours(x, t, tokens, shown=[Shown(seen)])
    down, mid = theirs(x, t, tokens, hint.expand(2, -1, -1, -1), return_dict=False)
    return steps, max(float((a - b).abs().max()) for a, b in zip((*found.down, found.mid), (*down, mid), strict=True))


def prompted(size: int, draw: Mapping[str, Any]) -> Steps:
    """A step of a UNet with an IP-Adapter of four tokens, and the bare one."""
    net = UNet(UNetConfig()).eval().to(**draw)
    adapter = IPAdapter(IPAdapterConfig()).eval().to(**draw)
    tokens, branches = adapter(torch.randn(2, 1024, **draw)), list[tuple[Any, Branch]]()
    for i, layer in enumerate(places(net).values()):
        branches.append((layer, Branch(NAME, *adapter.keys_values(tokens, i), layer.heads)))
    x, text = torch.randn(2, 4, size // 8, size // 8, **draw), torch.randn(2, 77, 768, **draw)
    t, extra = torch.full((2,), 500.0, device=draw["device"]), {NAME: torch.tensor([0, 1], device=draw["device"])}

    def with_it() -> None:
        for layer, branch in branches:
            layer.branches[NAME] = branch
        net(x, t, text, extra=extra)
        for layer, _ in branches:
            layer.branches.pop(NAME)

    return {"with an IP-Adapter": with_it, "bare": lambda: net(x, t, text)}


@torch.inference_mode()
def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=512)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--dtype", choices=DTYPES, default="fp32")
    options.add_argument("--device", default="cpu")
    options.add_argument("--only", choices=("control", "ip"))
    options.add_argument("--write", action="store_true", help="put the table into docs/control.md")
    given = options.parse_args()
    torch.manual_seed(0)
    where = torch.device(given.device)
    draw: dict[str, Any] = {"device": where, "dtype": DTYPES[given.dtype]}
    lines = [f"| a step, {given.size} px, {given.dtype} | seconds | beside | ratio |", "|---|---|---|---|"]
    if given.only != "ip":
        steps, apart = control(given.size, draw)
        took, ratio = timed(steps, given.rounds, where)
        print(f"residuals at most {apart:.2g} apart")
        lines.append(f"| ControlNet | {took['danqing']:.2f} | diffusers' {took['diffusers']:.2f} | {ratio:.3f} |")
        del steps
    if given.only != "control":
        took, ratio = timed(prompted(given.size, draw), given.rounds, where)
        lines.append(
            f"| UNet with an IP-Adapter | {took['with an IP-Adapter']:.2f} | bare {took['bare']:.2f} | {ratio:.3f} |"
        )
    print("\n".join(lines))
    if given.write:
        put("docs/control.md", "steps", "\n".join(lines))


if __name__ == "__main__":
    main()
