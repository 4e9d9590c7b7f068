"""Large pictures: some of the drawings again at 512 px, where an enlarger finds its sharp targets.

    python -m experiments.data.large --out data       after `python -m experiments.data`; some minutes, 1.7 GB

Writes large.npy (N, 512, 512, 4), the colours on white and the opacity, and ledger_large.jsonl, a line for each. What
the ledger of the singles holds out stays held out. Raster sets are left out: they are 256 px, and no larger picture of
them is sharp.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.data import ledger, portraits
from experiments.data.singles import Job, rank, render, render_svg, svg_jobs
from experiments.data.sources import ART
from experiments.data.subjects import load_subjects

SIZE = 512
#: How many of each kind: to learn from, and held out.
SINGLES, PORTRAITS = (1200, 72), (300, 24)
HERE = Path(__file__).resolve().parent.parent


def chosen(modules: Path, records: list[dict[str, Any]]) -> list[tuple[Job, dict[str, Any]]]:
    """Drawn singles with their lines in the ledger, those to learn from first; the choice is that of a hash."""
    subjects = load_subjects(modules)
    sources = [source for source in ART if source.package.startswith("@iconify")]
    jobs = {(job.hexcode, source.style): job for source in sources for job in svg_jobs(modules, source, subjects)}
    known = [r for r in records if (r["subject"], r["style"]) in jobs]
    known.sort(key=lambda r: rank("large", r["subject"], r["style"]))
    train = [r for r in known if r["split"] == "train"][: SINGLES[0]]
    apart = [r for r in known if r["split"] != "train"][: SINGLES[1]]
    return [(jobs[r["subject"], r["style"]], r) for r in (*train, *apart)]


def single(job: Job) -> np.ndarray:
    """(512, 512, 4) uint8: the colours on white, the opacity. At this size filters are fine enough as they are."""
    colours, opacity = render(replace(job, source=replace(job.source, detail=1)), SIZE)
    return np.concatenate([colours, opacity[..., None]], 2)


def portrait(job: tuple[str, str]) -> np.ndarray:
    """The same of an SVG on a background colour, which covers all."""
    svg, ground = job
    canvas = Image.new("RGBA", (SIZE, SIZE), f"#{ground}")
    picture = render_svg(svg, SIZE)
    canvas.alpha_composite(picture, ((SIZE - picture.width) // 2, (SIZE - picture.height) // 2))
    return np.asarray(canvas)


def people(modules: Path) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The first portraits of the plan as SVG on a colour, with their lines; the last of them are held out."""
    lines = portraits.plan(modules, sum(PORTRAITS))
    apart = [{**line, "split": "train" if i < PORTRAITS[0] else "heldout_pair"} for i, line in enumerate(lines)]
    return portraits.drawn(modules, lines), apart


def make(out: Path, modules: Path, say: Callable[[str], None], workers: int = 2) -> None:
    """Writes both files whole or not at all."""
    singles = chosen(modules, ledger.read_records(out / "ledger_singles.jsonl"))
    persons, lines = people(modules)
    records = [record for _, record in singles] + lines
    part = out / "large.part.npy"
    array = np.lib.format.open_memmap(part, "w+", np.uint8, (len(records), SIZE, SIZE, 4))
    with ProcessPoolExecutor(workers) as pool:
        works = (partial(pool.map, single, [job for job, _ in singles]), partial(pool.map, portrait, persons))
        for index, picture in enumerate(picture for work in works for picture in work(chunksize=16)):
            array[index] = picture
            if index % 200 == 0:
                say(f"large {index}/{len(records)}")
    array.flush()
    part.replace(out / "large.npy")
    ledger.write_records(
        out / "ledger_large.jsonl", ({**r, "array": "large", "index": i} for i, r in enumerate(records))
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="the folder that `python -m experiments.data` wrote (data)"
    )
    parser.add_argument("--modules", type=Path, default=HERE / "node_modules", help="an installed node_modules")
    parser.add_argument("--workers", type=int, default=2, help="processes that render (2)")
    args = parser.parse_args()
    start = time.monotonic()
    make(
        args.out,
        args.modules,
        lambda text: print(f"{time.monotonic() - start:6.0f} s  {text}", flush=True),
        args.workers,
    )


if __name__ == "__main__":
    main()
