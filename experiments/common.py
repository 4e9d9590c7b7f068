"""What every training run shares: the folder with checkpoint, log, curve and sample grids, and pictures laid out in a grid."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from danqing.learn.loop import Training
from danqing.run.precision import autocast

DATA, RUNS = Path("data"), Path("runs")


def to_bytes(x: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] to bytes (B, H, W, 3)."""
    return ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def grid(pictures: np.ndarray | Sequence[np.ndarray], columns: int) -> Image.Image:
    """Pictures (B, H, W, 3) of bytes, row by row."""
    pictures = np.asarray(pictures)
    _, height, width, _ = pictures.shape
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = picture
    return Image.fromarray(sheet)


class Journal:
    """The log of a run, one JSON line every few steps; lines past the step that a run resumes from are dropped."""

    def __init__(self, path: Path, step: int):
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= step] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in kept))
        self.file = path.open("a")

    def write(self, **values: float) -> None:
        self.file.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}) + "\n")
        self.file.flush()


def curve(folder: Path) -> None:
    """Draw log.jsonl as curve.png: every logged loss over the steps."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    names = [n for n in rows[-1] if n not in ("step", "seconds", "hours")] if rows else []
    figure, axes = plt.subplots(1, max(1, len(names)), figsize=(4 * max(1, len(names)), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=False):
        axis.plot([r["step"] for r in rows], [r.get(name, math.nan) for r in rows])
        axis.set_title(name)
        axis.set_yscale("log")
    figure.tight_layout()
    figure.savefig(folder / "curve.png")
    plt.close(figure)


def drive(
    run: Training,
    folder: Path,
    steps: int,
    *,
    minutes: float = math.inf,
    save_every: float = 240.0,
    log_every: int = 20,
    sample_every: int = 500,
    sample: Callable[[], Image.Image] | None = None,
) -> None:
    """Run a training to its end (or for so many minutes), resuming from ``folder``; the step, not the clock, orders everything.

    Args:
        save_every: seconds between checkpoints.
        sample: draws a sheet of samples, kept as samples-<step>.png.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill saves first, as Ctrl-C does
    checkpoint = folder / "last.pt"
    if run.resume(checkpoint):
        print(f"resumed at step {run.step}", flush=True)
    journal = Journal(folder / "log.jsonl", run.step)
    began = saved = time.monotonic()
    sums: dict[str, float] = {}
    try:
        for progress in run.run(steps):
            for name, value in progress.losses.items():
                sums[name] = sums.get(name, 0.0) + value / log_every
            sums["seconds"] = sums.get("seconds", 0.0) + progress.seconds / log_every
            if progress.step % log_every == 0:
                journal.write(step=progress.step, **sums)
                if progress.step % (10 * log_every) == 0:
                    print(progress.step, {k: round(v, 4) for k, v in sums.items()}, flush=True)
                sums = {}
            now = time.monotonic()
            if now - saved > save_every:
                run.save(checkpoint)
                saved = now
            if sample is not None and progress.step % sample_every == 0:
                sample().save(folder / f"samples-{progress.step:06}.png")
                curve(folder)
            if now - began > minutes * 60:
                break
    finally:
        run.save(checkpoint)
    print(f"step {run.step} after {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True


@contextmanager
def fast(device: torch.device) -> Iterator[None]:
    """Autocast, and on a CPU attention as plain matrix products: its fused backward pass is the slower one there by a tenth of a step."""
    kernel = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with autocast(device), kernel:
        yield
