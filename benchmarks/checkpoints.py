"""Models of real size with random weights: how long they load, in what memory, and that they compute what diffusers
computes.

    python benchmarks/checkpoints.py            prints the table
    python benchmarks/checkpoints.py --write    and puts it into docs/models.md

No published weights are needed: the networks have the published shapes and names, the numbers are drawn. Needs 24 GB of
memory and 20 GB of disk in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from marks import put

MODELS = ("sd15", "sdxl", "sd3")
BETAS = {"kind": "scaled-linear", "start": 0.00085, "end": 0.012}


def drawn(build: type, config: Any, dtype: torch.dtype = torch.float16) -> nn.Module:
    """A network of random weights, small enough that no activation overflows."""
    with torch.device("meta"):
        net = build(config).to(dtype)
    net = net.to_empty(device="cpu")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(
                torch.randn(p.shape, generator=draw) * 0.02
                if p.ndim > 1
                else torch.full(p.shape, float("norm" in name))
            )
    return net


def single_file(folder: Path, model: str, dtype: torch.dtype = torch.float16) -> Path:
    """The single file of a model of random weights."""
    from danqing.nets import autoencoder_kl, clip, mmdit, unet
    from danqing.store.convert import convert
    from danqing.store.model import write_model
    from danqing.weights.load import save

    small, large = ("clip-text", clip.CLIPText, clip.VIT_L_14_TEXT), ("clip-text", clip.CLIPText, clip.VIT_BIGG_14_TEXT)
    first = ("clip-text", clip.CLIPText, clip.SD1_TEXT)
    vae = ("autoencoder-kl", autoencoder_kl.AutoencoderKL)
    shapes: dict[str, dict[str, tuple[str, type, Any]]] = {
        "sd15": {"denoiser": ("unet", unet.UNet, unet.SD1), "codec": (*vae, autoencoder_kl.SD1), "text": first},
        "sdxl": {
            "denoiser": ("unet", unet.UNet, unet.SDXL),
            "codec": (*vae, autoencoder_kl.SDXL),
            "text": first,
            "text_2": large,
        },
        "sd3": {
            "denoiser": ("mmdit", mmdit.MMDiT, mmdit.SD3_MEDIUM),
            "codec": (*vae, autoencoder_kl.SD3),
            "text": small,
            "text_2": large,
        },
    }
    ours = folder / f"{model}-ours"
    ours.mkdir()
    for role, (_, build, config) in shapes[model].items():
        save(drawn(build, config, dtype), ours / f"{role}.safetensors")
    parts = {
        role: (family, f"{role}.safetensors", dataclasses.asdict(config))
        for role, (family, _, config) in shapes[model].items()
    }
    schedule, prediction = ({"kind": "flow", "shift": 3.0}, "flow") if model == "sd3" else (BETAS, "eps")
    write_model(
        ours,
        name=model,
        components=parts,
        tokenizer={"kind": "clip"},
        schedule=schedule,
        prediction=prediction,
        text={"kind": {"sd15": "clip"}.get(model, model)},
        defaults={},
    )
    convert(ours, theirs := folder / f"{model}-theirs")
    shutil.rmtree(ours)
    convert(theirs, file := folder / f"{model}.safetensors")
    shutil.rmtree(theirs)
    return file


def child(code: str, *args: str) -> list[float]:
    """The numbers that a fresh process prints."""
    program = f"import sys, time\nfrom pathlib import Path\n{code}"
    return [float(x) for x in subprocess.check_output([sys.executable, "-c", program, *args], text=True).split()]


def forget(file: str) -> None:
    """Let the system drop a file from its cache, so that the next reader goes to the disk."""
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


READ = """
begin = time.perf_counter()
size = len(Path(sys.argv[1]).read_bytes())
print(time.perf_counter() - begin, size)
"""
#: What Linux says of a process's memory in bytes; its getrusage starts a child at its parent's peak.
STATUS = """
def status(key):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))
"""
LOAD = (
    STATUS
    + """
import torch
from danqing.painting.load import load
before = status("VmRSS")
begin = time.perf_counter()
painter = load(sys.argv[1])
seconds = time.perf_counter() - begin
nets = [painter.codec.vae, *painter.adapters.nets.values()]
held = sum(p.numel() * p.element_size() for net in nets for p in net.parameters())
print(seconds, held, status("VmHWM") - before)
"""
)
PAINT = (
    STATUS
    + """
from danqing.painting.load import load
from danqing.request.request import Request
painter = load(sys.argv[1])
begin = time.perf_counter()
picture = painter.paint(Request(prompt="a red fox", seed=1, width=512, height=512, steps=2))
print(time.perf_counter() - begin, status("VmHWM"))
"""
)
SWITCH = (
    STATUS
    + """
from danqing.painting.load import _painter, load
def turn():
    for name in sys.argv[1:]:
        _painter.cache_clear()
        load(name)
turn(); turn()
first = status("VmRSS")
for _ in range(10):
    turn()
print(first, status("VmRSS"))
"""
)


def parity() -> float:
    """The largest difference of one call of SD1's UNet from diffusers', in parts of the largest value, in fp32."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from danqing.nets import unet

    ours: Any = drawn(unet.UNet, unet.SD1).float().eval()
    theirs: Any = UNet2DConditionModel(**unet.diffusers_config(unet.SD1)).eval()
    theirs.load_state_dict(ours.state_dict())
    draw = torch.Generator().manual_seed(1)
    x, tokens, t = (
        torch.randn(1, 4, 64, 64, generator=draw),
        torch.randn(1, 77, 768, generator=draw),
        torch.tensor([500.0]),
    )
    with torch.inference_mode():
        a, b = ours(x, t, tokens), theirs(x, t, tokens).sample
    return float((a - b).abs().max() / b.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    args = parser.parse_args()
    from danqing.run.record import describe

    machine, lines = describe(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {model: str(single_file(folder, model)) for model in args.models}
        for model, file in files.items():
            for state, before in (("from the disk", forget), ("from the system's cache", lambda file: None)):
                reads, loads = [], []
                for _ in range(3):  # in turn, for disk and memory have their moods
                    before(file)
                    reads.append(child(READ, file))
                    before(file)
                    loads.append(child(LOAD, file))
                (read, size), seconds = min(reads), min(load[0] for load in loads)
                lines.append(f"| {model}: {size / 1e9:.2f} GB read once {state} | {read:.2f} s |")
                lines.append(f"| {model}: loaded {state} | {seconds:.2f} s, {seconds / read:.2f} × |")
            held, peak = loads[0][1], min(load[2] for load in loads)
            lines.append(
                f"| {model}: peak of loading, weights {held / 1e9:.2f} GB | {peak / 1e9:.2f} GB, {peak / held:.2f} × |"
            )
            took, top = child(PAINT, file)
            lines.append(f"| {model}: 512 px, 2 steps | {took:.1f} s, {top / 1e9:.1f} GB at the peak |")
        first, last = child(SWITCH, next(iter(files.values())), "danqing-mini")
        lines.append(f"| 20 switches between two models: resident memory | {100 * (last / first - 1):+.1f} % |")
    lines.append(f"| one call of SD1's UNet against diffusers, fp32 | {parity():.1e} of the largest value |")
    head = (
        f"Measured by `python benchmarks/checkpoints.py` on {machine['cpu']} ({machine['instructions']}, "
        f"{machine['threads']} threads, "
    )
    head += (
        f"{machine['precision']}, torch {machine['torch']}), random weights in fp16 files; reading once is into memory."
    )
    table = [head, "", "| | |", "|---|---|", *lines]
    print("\n".join(table))
    if args.write:
        put("docs/models.md", "checkpoints", "\n".join(table))


if __name__ == "__main__":
    main()
