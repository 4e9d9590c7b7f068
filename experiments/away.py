"""Train in a packed folder, wherever it lies, and leave what has been learned for the way home.

    cd packed && python -m experiments.away draft --minutes 9 --out home --batch 1024
    cd packed && python -m experiments.away painter --minutes 9 --out home --batch 1024 --kind drafted

Pictures, recoloured copies, their latents and the model's weights are made of what the folder holds, once; then
`experiments.draft` or `experiments.painter` goes on from them, with the options given here. Home go the averaged
weights that were trained, in pieces of at most 16 MiB and 60 MiB in all, in bf16 or where that is too much in 8 bits,
and the training's log.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danqing.store.shipped import DEFAULT
from danqing.weights import store
from experiments.data import ledger
from experiments.data.recoloured import make_recoloured
from experiments.parcels import MIB, narrowed, pieces, read_pictures, seal, unsealed, widened

PIECE, ALL = 16 * MIB, 60 * MIB
HEADER = 64 * 1024  # what a piece's names may take
#: What latents are made of beforehand; of composites each epoch makes its own.
SOURCES = ("singles", "portraits", "recoloured")
#: Which weights each training learns: the names of those that stand still begin so.
STANDING: Mapping[str, tuple[str, ...]] = {"draft": (), "painter": ("tower.", "denoiser.net.draft.")}


def arrive(packed: Path, workers: int) -> None:
    """Make the data and the weights of a packed folder, ``data/``, ``runs/`` and the model's; once.

    Raises:
        InvalidFile: the folder misses a file, or one is damaged.
    """
    said = unsealed(packed)
    data, model = packed / "data", packed / "danqing_models" / DEFAULT
    if (data / "ledger.jsonl").is_file():
        return
    wide = widened(store.read(packed / "weights.safetensors"))
    of = {role: {name.removeprefix(f"{role}."): t for name, t in wide.items() if name.startswith(f"{role}.")}
          for role in ("denoiser", "codec", "text", "draft")}  # fmt: skip
    files = json.loads((model / "model.json").read_text(encoding="utf-8"))["components"]
    for role, head in said["heads"].items():
        store.write(model / files[role]["file"], {name: t.bfloat16() for name, t in of[role].items()}, head)
    if of["draft"]:
        known = {
            f"{part}.{name}": t
            for part, role in (("tower", "text"), ("draft", "draft"))
            for name, t in of[role].items()
        }
        carried = packed / "runs" / "draft" / f"cooled-{0:09}" / "last.pt"
        carried.parent.mkdir(parents=True)
        torch.save({"step": 0, "ema": {"model": known}}, carried)
    data.mkdir(exist_ok=True)
    for array in ("singles", "portraits"):
        lines = lzma.decompress((packed / "art" / f"ledger_{array}.jsonl.xz").read_bytes()).decode()
        (data / f"ledger_{array}.jsonl").write_text(lines + "\n", encoding="utf-8")
        pictures = np.stack(read_pictures(packed / "art" / f"{array}.zip"))
        if pictures.shape[3] == 4:
            np.save(data / f"{array}_alpha.npy", pictures[..., 3])
        np.save(data / f"{array}.npy", pictures[..., :3])
    shutil.copy(model / "tokenizer.json", data / "tokenizer.json")
    singles = ledger.read_records(data / "ledger_singles.jsonl")
    ledger.write_records(data / "ledger_recoloured.jsonl", make_recoloured(data, singles, print, workers))
    ledger.join(data)


def newest(folder: Path) -> Path:
    """The checkpoint of a training's last branch, if the run has not gone on since, else the run's own."""
    run = folder / "last.pt"
    step = torch.load(run, map_location="cpu", weights_only=True)["step"]
    for branch in sorted(folder.glob("cooled-*/last.pt"), reverse=True)[:1]:
        if torch.load(branch, map_location="cpu", weights_only=True)["step"] > step:
            return branch
    return run


def learned(checkpoint: Path, part: str) -> dict[str, Tensor]:
    """The averaged weights that a training of this part has learned, in bf16."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"]["model"]
    return {name: t.bfloat16() for name, t in state.items() if not name.startswith(STANDING[part])}


def leave(out: Path, tensors: Mapping[str, Tensor], part: str, log: Path, piece: int = PIECE, limit: int = ALL) -> None:
    """Write weights in pieces with the log and a manifest into an empty or new folder."""
    out.mkdir(parents=True, exist_ok=True)
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    (out / "log.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    samples = max((json.loads(line).get("samples", 0) for line in lines), default=0)
    if sum(t.numel() * t.element_size() for t in tensors.values()) > limit - MIB:
        tensors = narrowed(tensors)
    for index, some in enumerate(pieces(tensors, piece - HEADER)):
        store.write(out / f"weights-{index:02}.safetensors", some)
    seal(out, {"part": part, "samples": samples})


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="all other options are the training's own: `python -m experiments.painter --help`",
    )
    parser.add_argument("part", choices=STANDING)
    parser.add_argument("--out", type=Path, required=True, help="where the weights are left")
    parser.add_argument("--minutes", type=float, required=True, help="in all, the making of the data included")
    args, rest = parser.parse_known_args()
    packed, out, cores = Path.cwd(), args.out.resolve(), os.cpu_count() or 1
    arrive(packed, cores)
    if not (packed / "data" / f"latents-{SOURCES[-1]}.npy").is_file():
        encoding = ["experiments.latents", "--threads", str(cores), "--sources", *SOURCES]
        subprocess.run([sys.executable, "-m", *encoding], check=True)
    left = args.minutes - (time.monotonic() - began) / 60 - 0.5  # minutes, less those of leaving
    training = [
        f"experiments.{args.part}",
        "--name",
        args.part,
        "--resume",
        "--minutes",
        f"{left:.2f}",
        "--ahead",
        str(max(1, cores // 4)),
    ]
    subprocess.run([sys.executable, "-m", *training, *rest], check=True)
    folder = packed / "runs" / args.part
    leave(out, learned(newest(folder), args.part), args.part, folder / "log.jsonl")


if __name__ == "__main__":
    main()
