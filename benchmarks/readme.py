"""Run every line of the README that begins with danqing, as it stands there, in an empty folder; the gate does.

    python benchmarks/readme.py

Files that the lines name are made before: pictures, a mask, a checkpoint. Lines that fetch from the network, or take
hours, are held to their help. Exit code 1: a line failed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw

README = Path(__file__).parents[1] / "README.md"
#: What is not done here: it fetches, or takes long.
ELSEWHERE = ("danqing pull", "danqing compare", "danqing evaluate", "danqing learn")
#: As a new user's: no settings, no models.
HOME = {"XDG_CONFIG_HOME": "home", "XDG_DATA_HOME": "home", "XDG_CACHE_HOME": "home", "LOCALAPPDATA": "home"}


def lines() -> list[str]:
    """The commands of the README's blocks, without their comments, one by one."""
    text = re.sub(r"<!-- door -->.*?<!-- /door -->", "", README.read_text("utf-8"), flags=re.DOTALL)
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    parts = (part.strip() for block in blocks for line in block.splitlines() for part in _split(line.split(" #")[0]))
    return [part for part in parts if part.startswith("danqing ")]


def _split(line: str) -> list[str]:
    """Commands between semicolons that stand in no quotes."""
    return re.findall(r"""(?:"[^"]*"|[^;"])+""", line)


def stand_ins() -> None:
    """The files that the lines name."""
    drawing = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(drawing).ellipse((24, 24, 104, 104), fill="orange")
    for name in ("fox.png", "photo.jpg", "in.png", "a.png", "b.png"):
        drawing.save(name)
    Image.new("L", (128, 128), 255).save("mask.png")
    import torch

    from danqing.weights import store

    for name in ("a.safetensors", "b.safetensors"):
        store.write(name, {"x": torch.rand(2)})
    torch.save({"model.diffusion_model.x": torch.zeros(2), "x.weight": torch.ones(2)}, "old.ckpt")


def run(line: str) -> bool:
    """Whether a line does what it says."""
    words = shlex.split(line)
    if line.startswith(ELSEWHERE):
        words = [*words[:2], "--help"]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, encoding="utf-8")
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}  {time.monotonic() - began:4.1f} s  {line}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr)
    return done.returncode == 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update({name: str(Path(folder) / place) for name, place in HOME.items()})
        subprocess.run([sys.executable, "-m", "danqing", "paint", "a fox, 3d style", "-o", "fox.png"], check=True)
        painted = Path("fox.png").read_bytes()
        stand_ins()
        Path("fox.png").write_bytes(painted)  # it carries its recipe
        mask = Image.open("fox.png").size
        Image.new("L", mask, 255).save("mask.png")
        failed = [line for line in lines() if not run(line)]
        os.chdir(README.parent)
    if failed:
        sys.exit(f"{len(failed)} lines of the README fail")


if __name__ == "__main__":
    main()
