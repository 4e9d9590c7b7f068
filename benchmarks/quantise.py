"""What weights in few bits cost and save: size, seconds and how far a picture moves, by every quantiser.

    python benchmarks/quantise.py                       prints the tables
    python benchmarks/quantise.py --write               and puts them into docs/quantise.md
    python benchmarks/quantise.py --large sd15.safetensors    measures a large model's painting too

Seconds are of the process, the quantisers in turns; memory is the peak of a process that loads and paints. A large
model's numbers may be drawn (`benchmarks/checkpoints.py` makes such files): then they say nothing of its pictures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from danqing.run.precision import find_precision
from danqing.run.quantise.layers import Quantised
from danqing.run.quantise.quantisers import QUANTISERS
from danqing.run.record import describe

ROOT = Path(__file__).parents[1]
#: How many of the milestones' prompts are painted.
PROMPTS = 24
PAINT = """
import sys
from danqing.painting.load import load
from danqing.request.request import Request
painter = load(sys.argv[1], quantise=sys.argv[2])
painter.paint(Request(prompt="a red fox", seed=1, steps=2, finish=(), quantise=sys.argv[2]))
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) // 1000)
"""


def size(*nets: nn.Module) -> int:
    """The bytes of networks' weights."""
    whole = 0
    for net in nets:
        whole += sum(number.nbytes for number in net.parameters())
        whole += sum(layer.stored.size for layer in net.modules() if isinstance(layer, Quantised))
        whole += sum(vars(layer)["held"].weight.nbytes for layer in net.modules() if "held" in vars(layer))
    return whole


def peak(model: str, name: str) -> int:
    """MB of a process that loads a model and paints two steps."""
    return int(subprocess.check_output([sys.executable, "-c", PAINT, model, name], text=True).split()[-1])


def far(one: Any, other: Any) -> float:
    """PSNR in dB."""
    import numpy as np

    error = ((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2).mean()
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def pictures(rounds: int) -> list[str]:
    """The default model's."""
    from danqing.measure.evaluation.prompts import CHINESE, ENGLISH
    from danqing.painting.load import load
    from danqing.request.request import Request

    prompts = [*ENGLISH, *CHINESE][:: len(ENGLISH + CHINESE) // PROMPTS][:PROMPTS]
    lines = ["| danqing-mini | weights | peak | s a picture | PSNR, mean | PSNR, least |", "|---|---|---|---|---|---|"]
    usual: list[Any] = []
    for name in QUANTISERS:
        painter: Any = load(quantise=name)
        asked = [Request(prompt=p, seed=i + 1, finish=(), quantise=name) for i, p in enumerate(prompts)]
        painter.paint(asked[0])
        took, found = list[float](), list[Any]()
        for each in asked:
            begin = time.process_time()
            found.append(painter.paint(each).image)
            took.append(time.process_time() - begin)
        usual = usual or found
        held = size(*painter.adapters.target.nets.values()) / 1e6
        dbs = [far(a, b) for a, b in zip(found, usual, strict=True)]
        far_off = f"{sum(dbs) / len(dbs):.1f} dB | {min(dbs):.1f} dB" if name != "none" else "| "
        lines.append(f"| `{name}` | {held:.0f} MB | {peak('danqing-mini', name)} MB | {median(took):.2f} | {far_off} |")
        print(lines[-1], flush=True)
    return lines


@torch.inference_mode()
def large(rounds: int, file: str) -> list[str]:
    """One call of SD 1.5's UNet, of random weights, for both halves of the guidance; and a painting's memory."""
    from danqing.nets.unet import SD1, UNet
    from danqing.run.engine.engines import ENGINES, find_engine

    where, dtype = torch.device("cpu"), find_precision()
    nets: dict[str, Any] = {}
    for name in QUANTISERS:
        torch.manual_seed(0)
        nets[name] = UNet(SD1).to(dtype).eval().requires_grad_(False)
        QUANTISERS[name].attach("denoiser", nets[name])
        ENGINES[find_engine(where)].attach(nets[name])
    x, tokens = torch.randn(2, 4, 64, 64).to(dtype), torch.randn(2, 77, 768).to(dtype)
    took: dict[str, list[float]] = {name: [] for name in nets}
    for i in range(rounds + 1):
        for name, net in nets.items():
            begin = time.process_time()
            net(x, torch.full((2,), 500.0), tokens)
            if i:
                took[name].append(time.process_time() - begin)
    head = "| SD 1.5's UNet, 512 px, one call for both halves of the guidance | weights | s |"
    lines = [head + " peak of painting 512 px |" * bool(file), "|---|---|---|" + "---|" * bool(file)]
    for name, net in nets.items():
        more = f" {peak(file, name)} MB |" if file else ""
        lines.append(f"| `{name}` | {size(net) / 1e6:.0f} MB | {median(took[name]):.2f} |{more}")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--large", default="", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    machine = describe()
    computed = f"{machine['instructions']}, {machine['precision']}, {machine['engine']}, torch {machine['torch']}"
    lines = [
        f"Measured by `python benchmarks/quantise.py` on {machine['cpu']} ({computed}, {machine['threads']} thread).",
        "",
        *pictures(args.rounds),
        "",
        *large(args.rounds, args.large),
    ]
    print("\n".join(lines))
    if args.write:
        put("docs/quantise.md", f"quantise {machine['instructions']}", "\n".join(lines))


if __name__ == "__main__":
    main()
