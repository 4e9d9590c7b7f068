"""The peak of memory of painting, text to file, each in a process of its own, beside what was stated before.

    python benchmarks/memory.py            prints the tables
    python benchmarks/memory.py --write    and puts them into docs/memory.md
    python benchmarks/memory.py --models sd15 danqing-mini

The networks of Stable Diffusion have random weights in the machine's precision, written once to a folder for temporary
files: 2.1 GB for sd15, 6.9 GB for sdxl, and half of that again in 8 bits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))

#: How large each model paints, in pixels along a side.
SIDES = {"danqing-mini": 128, "sd15": 512, "sdxl": 1024}
#: A small process that starts another, for a child's peak begins at its parent's.
LAUNCH = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(status, usage.ru_maxrss)
"""
#: What decoding adds to a process; the layers have packed their weights before.
DECODE = """
import resource, sys, torch
from danqing import tiles
from danqing.codec import VAECodec
from danqing.nets.autoencoder_kl import AutoencoderKL, SD1
from danqing.run.engine.engines import ENGINES, find_engine
from danqing.run.offload import give_back
from danqing.run.pages import frugal
from danqing.run.precision import find_precision
def status(key):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))
import time
side, how = int(sys.argv[1]), sys.argv[2]
with torch.device("meta"):
    vae = AutoencoderKL(SD1).to(find_precision("cpu"))
vae = vae.to_empty(device="cpu").eval().requires_grad_(False)
for p in vae.parameters():
    p.normal_(0, 0.02) if p.ndim > 1 else p.fill_(0.5)
ENGINES[find_engine(torch.device("cpu"))].attach(vae)
if how != "whole":
    frugal()  # as painting does where it has no room
windows = tiles.fitting((side, side), lambda h, w: how == "whole" or h < side)
codec, z = tiles.Tiled(VAECodec(vae), windows), torch.zeros(1, 4, side, side)
with torch.inference_mode():
    codec.decode(z)
    give_back()
    open("/proc/self/clear_refs", "w").write("5")
    before, begin = status("VmRSS"), time.process_time()
    codec.decode(z)
print(status("VmHWM") - before, time.process_time() - begin)
"""


#: Loading in a process of its own: its seconds, and what is in memory at the peak and afterwards.
LOAD = """
import sys, time, torch
from danqing.painting.load import load
def status(key):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))
before, begin = status("VmRSS"), time.process_time()
load(sys.argv[1], quantise=sys.argv[2])
print(time.process_time() - begin, status("VmHWM") - before, status("RssAnon"))
"""


def peak(model: str, side: int, offload: str, quantise: str = "none") -> int:
    """Bytes, of the command line from text to file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fox.png")
        command = [sys.executable, "-m", "danqing", "paint", "a red fox", "--model", model, "--seed", "1"]
        command += ["--width", str(side), "--height", str(side), "--steps", "2", "--offload", offload, "-o", str(file)]
        command += ["--quantise", quantise]
        found = subprocess.check_output([sys.executable, "-c", LAUNCH, *command], text=True)
        status, size = map(int, found.split())
        if status or not file.exists():
            raise SystemExit(f"{' '.join(command)} failed")
        return size * 1024


def painted(model: str, place: str) -> list[str]:
    """A row for each way to keep its networks."""
    side = SIDES[model]
    asked = [sys.executable, "-m", "danqing", "inspect", place, "--cost", f"{side}x{side}", "--device", "cpu", "--json"]
    told = json.loads(subprocess.check_output(asked, text=True))["peak"]
    rows = []
    for how in ("none", "sequential"):
        before, found = told[how] / 1e9, peak(place, side, how) / 1e9
        rows.append(f"| {model}, {side} px, `--offload {how}` | {before:.2f} GB | {found:.2f} GB |")
    return rows


def quantised(model: str, place: str, folder: Path) -> tuple[list[str], list[str]]:
    """Rows of painting and of loading with weights in 8 bits, made of the file at each load, and kept on the disk."""
    from danqing.store.convert import convert

    side, few = SIDES[model], folder / f"{model}-int8"
    if not few.exists():
        convert(place, few, quantise="int8")
    painted, loaded = list[str](), list[str]()
    for said, where, name in (
        ("`--quantise int8`", place, "int8"),
        ("kept in int8 on the disk", str(few), "none"),
        ("as it is", place, "none"),
    ):
        found = [subprocess.check_output([sys.executable, "-c", LOAD, where, name], text=True) for _ in range(3)]
        seconds, grown, _ = min(tuple(map(float, text.split())) for text in found)
        loaded.append(f"| {model}, {said} | {seconds:.1f} s | {grown / 1e9:.2f} GB |")
        if name == "int8" or where != place:
            painted.append(f"| {model}, {side} px, {said} | | {peak(where, side, 'none', name) / 1e9:.2f} GB |")
    return painted, loaded


def decoded(side: int) -> list[str]:
    """Rows of whole and of tiles."""
    found: dict[str, Any] = {}
    for how in ("whole", "tiles"):
        said = subprocess.check_output([sys.executable, "-c", DECODE, str(side), how], text=True)
        found[how] = [float(number) for number in said.split()]
    (whole, long), (tiles, short) = found["whole"], found["tiles"]
    begin = f"| SD 1.5's autoencoder, {8 * side} px decoded,"
    return [
        f"{begin} whole | {whole / 1e6:.0f} MB | {long:.1f} s |",
        f"{begin} in four tiles | {tiles / 1e6:.0f} MB, {tiles / whole:.2f} × | {short:.1f} s, {short / long:.2f} × |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/memory.md")
    parser.add_argument("--models", nargs="+", choices=SIDES, default=["danqing-mini", "sd15"])
    parser.add_argument("--folder", help="where the files of random weights are kept, or are already")
    parser.add_argument("--decode", nargs="*", type=int, default=[64, 128], help="cells along a side")
    args = parser.parse_args()
    from benchmarks.checkpoints import single_file

    from danqing.run.precision import find_precision
    from danqing.run.record import describe

    machine, rows, loads = describe("cpu"), list[str](), list[str]()
    with tempfile.TemporaryDirectory() as beside:
        for model in args.models:
            file = Path(args.folder or beside, f"{model}.safetensors")
            if model != "danqing-mini" and not file.exists():
                file = single_file(file.parent, model, find_precision("cpu"))
            place = str(file) if file.exists() else model
            rows += painted(model, place)
            few, more = quantised(model, place, Path(beside))
            rows, loads = [*rows, *few], [*loads, *more]
            print(*rows[-4:], *more, sep="\n", flush=True)
    lines = [row for side in args.decode for row in decoded(side)]
    computed = f"{machine['instructions']}, {machine['precision']}, {machine['threads']} threads"
    text = [
        f"Measured by `python benchmarks/memory.py` on {machine['cpu']} ({computed}, torch {machine['torch']}), two "
        "steps, text to file.",
        "",
        "| painted | stated | measured |",
        "|---|---|---|",
        *rows,
        "",
        "| loaded | seconds of the process | adds to the process |",
        "|---|---|---|",
        *loads,
        "",
        "| decoded | adds to the process | seconds of the process |",
        "|---|---|---|",
        *lines,
    ]
    print("\n".join(text))
    if args.write:
        put("docs/memory.md", f"memory {machine['instructions']}", "\n".join(text))


if __name__ == "__main__":
    main()
