"""What every training run shares: the folder with checkpoint, log, curve and sample grids, and pictures laid out in a grid."""

from __future__ import annotations

import json
import math
import os
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
    """The log of a run, one JSON line every few steps; lines past the step that a run resumes from are dropped, and so is one
    that a crash cut short."""

    def __init__(self, path: Path, step: int):
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text("".join(line + "\n" for line in kept))
        os.replace(beside, path)
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


@contextmanager
def between_steps() -> Iterator[list[int]]:
    """Ctrl-C and a polite kill are noted in the list and wait for the end of the step, because half a step, saved, would not
    resume exactly; a second one does not wait. A signal that the shell has this process ignore is still ignored."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    heard = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, ask) for kind in heard}
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


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
        log_every: steps between lines of log.jsonl, which hold the means over them.
        sample_every: steps between drawings of curve.png and of samples.
        sample: draws a sheet of samples, kept as samples-<step>.png.

    Raises:
        KeyboardInterrupt: by Ctrl-C or a polite kill, after the step is done and saved. An error saves nothing, since it may
            come from the middle of a step: the last checkpoint stays.
    """
    checkpoint = folder / "last.pt"
    if run.resume(checkpoint):
        print(f"resumed at step {run.step}", flush=True)
    journal = Journal(folder / "log.jsonl", run.step)
    began = saved = time.monotonic()
    seen: list[dict[str, float]] = []  # since the last line of the log
    with between_steps() as asked:
        for progress in run.run(steps):
            seen.append({**progress.losses, "seconds": progress.seconds})
            if progress.step % log_every == 0:
                # The first line after resuming may be the mean over fewer steps.
                means = {name: sum(losses[name] for losses in seen) / len(seen) for name in seen[0]}
                journal.write(step=progress.step, **means)
                if progress.step % (10 * log_every) == 0:
                    print(progress.step, {k: round(v, 4) for k, v in means.items()}, flush=True)
                seen = []
            now = time.monotonic()
            if now - saved > save_every:
                run.save(checkpoint)
                saved = now
            if asked:
                break
            if progress.step % sample_every == 0:
                curve(folder)
                if sample is not None:
                    sample().save(folder / f"samples-{progress.step:06}.png")
            if now - began > minutes * 60:
                break
        run.save(checkpoint)
    print(f"step {run.step} after {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    if asked:
        raise KeyboardInterrupt
    curve(folder)


def set_up(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True


@contextmanager
def fast(device: torch.device) -> Iterator[None]:
    """Autocast, and on a CPU attention as plain matrix products: its fused backward pass is the slower one there by a tenth of a step."""
    kernel = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with autocast(device), kernel:
        yield
