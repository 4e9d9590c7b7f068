"""A training step of a LoRA at the size of Stable Diffusion 1.5: seconds and memory, beside the same loop over the
modules of diffusers and peft.

    taskset -c 0 python benchmarks/adapters.py [--size 512] [--steps 4] [--rank 8] [--write]

Weights are random and in bf16, those of the LoRA in fp32, one picture a step, latents and text as if computed before,
gradient checkpointing on, AdamW, one thread. Each kind runs in a process of its own, in turns; seconds are those of the
process, the median of its steps without the first one, and memory is the most that it held.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from marks import put

#: The layers that are changed: the projections of every attention.
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
NAMES = {"ours": "danqing", "theirs": "diffusers and peft"}
#: A small process that starts another, for a child's peak begins at its parent's.
LAUNCH = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss)
sys.exit(status != 0)
"""
Step = Callable[[], Tensor]


def filled(net: nn.Module) -> Any:
    """A network of the meta device with random weights in bf16, which stand still."""
    net = net.to(torch.bfloat16).to_empty(device="cpu").requires_grad_(False)
    for p in net.parameters():
        p.normal_(0, 0.02) if p.ndim > 1 else p.fill_(0.5)
    return net


def ours(side: int, rank: int) -> tuple[Step, int]:
    """A step, and how many numbers learn."""
    from danqing.adapt.learned import Changes
    from danqing.denoise import Denoiser
    from danqing.learn.objectives.denoising import Denoising
    from danqing.learn.objectives.draws import uniform
    from danqing.learn.training.recompute import checkpointed
    from danqing.nets.unet import UNet, UNetConfig
    from danqing.schedule import ScaledLinear
    from danqing.teach.adapters.frozen import _outermost  # pyright: ignore[reportPrivateUsage]
    from danqing.types import Conditioning

    with torch.device("meta"):
        net = UNet(UNetConfig())
    net = filled(net)
    checkpointed(net, _outermost(net))
    denoiser = Denoiser(net, ScaledLinear(), "eps").requires_grad_(False)
    names = [n for n, m in net.named_modules() if n.endswith(LAYERS) and isinstance(m, nn.Linear)]
    changes = Changes({"denoiser": net}, {"denoiser": names}, rank=rank, alpha=rank)
    changes.attach({"denoiser": net})
    optimiser = torch.optim.AdamW(changes.parameters(), 1e-4, fused=True)
    x0, text = torch.randn(1, 4, side, side), torch.randn(1, 77, 768, dtype=torch.bfloat16)
    objective, noise = Denoising(times=uniform), torch.Generator().manual_seed(0)

    def step() -> Tensor:
        loss = objective(denoiser, (x0, Conditioning(tokens=text)), noise)["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss

    return step, sum(p.numel() for p in changes.parameters())


def theirs(side: int, rank: int) -> tuple[Step, int]:
    """The same of diffusers' training script for LoRAs: autocast, fp32 changes."""
    import torch.nn.functional as F
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    with torch.device("meta"):
        net: Any = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    net = filled(net)
    net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(LAYERS)))
    cast_training_params(net, dtype=torch.float32)
    net.enable_gradient_checkpointing()
    net.train()
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, 1e-4, fused=True)
    x0, text = torch.randn(1, 4, side, side), torch.randn(1, 77, 768, dtype=torch.bfloat16)
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")

    def step() -> Tensor:
        eps, t = torch.randn_like(x0), torch.randint(0, 1000, (1,))
        with torch.autocast("cpu", torch.bfloat16):
            noisy: Any = scheduler.add_noise(x0, eps, t)  # pyright: ignore[reportArgumentType]
            out = net(noisy.bfloat16(), t, text, return_dict=False)[0]
        loss = F.mse_loss(out.float(), eps)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        return loss

    return step, sum(p.numel() for p in learned)


def one(kind: str, size: int, rank: int, steps: int) -> dict[str, Any]:
    """What a process of its own measures."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    step, numbers = {"ours": ours, "theirs": theirs}[kind](size // 8, rank)
    took = list[float]()
    for _ in range(1 + steps):
        begin = time.process_time()
        step()
        took.append(time.process_time() - begin)
    return {"seconds": took[1:], "numbers": numbers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4, help="that are timed in each process")
    parser.add_argument("--turns", type=int, default=2, help="processes of each kind")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/adapters.md")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.size, args.rank, args.steps)), flush=True)
        return
    took, peaks, numbers = {kind: list[float]() for kind in NAMES}, dict.fromkeys(NAMES, 0), dict[str, int]()
    own = [str(__file__), "--size", str(args.size), "--rank", str(args.rank), "--steps", str(args.steps)]
    for turn in range(args.turns):
        for kind in list(NAMES)[:: -1 if turn % 2 else 1]:
            command = [sys.executable, "-c", LAUNCH, sys.executable, *own, "--one", kind]
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            told = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.splitlines()
            found = json.loads(told[-2])
            took[kind] += found["seconds"]
            peaks[kind], numbers[kind] = max(peaks[kind], int(told[-1])), found["numbers"]
            print(kind, found, told[-1], flush=True)
    lines = [
        f"| a step of a LoRA of rank {args.rank}, SD 1.5, {args.size} px | seconds | peak of memory | learned |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {title} | {statistics.median(took[k]):.1f} | {peaks[k] / 2**20:.2f} GiB | {numbers[k] / 1e6:.2f}M |"
        for k, title in NAMES.items()
    ]
    print("\n".join(lines))
    if args.write:
        put("docs/adapters.md", "full-size", "\n".join(lines))


if __name__ == "__main__":
    main()
