"""Makes the data set of the default model from openly licensed packages.

    python -m experiments.data --out data            # everything; what is already there is kept
    python -m experiments.data --out data --summary  # counts by package, licence, style and split
    python -m experiments.data --out data --sheet composites

Writes singles.npy (N, 128, 128, 3), singles_alpha.npy (N, 128, 128), recoloured.npy, composites.npy, portraits.npy
(uint8), ledger.jsonl (a line for every picture), styles.json, corpus.txt (a caption a line, for the tokenizer).
Needs node and npm for the drawings; `npm ci` runs by itself in experiments/ unless --modules names
an installed node_modules.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.captions import canonical
from experiments.data import ledger
from experiments.data.composites import make_composites
from experiments.data.portraits import make_portraits
from experiments.data.recoloured import make_recoloured
from experiments.data.sheet import array_sheet
from experiments.data.singles import make_singles

HERE = Path(__file__).resolve().parent.parent


def install() -> Path:
    """The folder of the pinned packages, installed if it is not there."""
    modules = HERE / "node_modules"
    if not modules.exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    return modules


def make(out: Path, modules: Path, workers: int, force: bool, say: Callable[[str], None]) -> None:
    """Makes each array that is missing, then the ledger, the styles and the corpus."""
    out.mkdir(parents=True, exist_ok=True)

    def read(array: str) -> list[dict[str, Any]]:
        return ledger.read_records(out / f"ledger_{array}.jsonl")

    steps: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "singles": lambda: make_singles(modules, out, say, workers),
        "recoloured": lambda: make_recoloured(out, read("singles"), say, workers),
        "composites": lambda: make_composites(out, [*read("singles"), *read("recoloured")], say),
        "portraits": lambda: make_portraits(modules, out, say, workers),
    }
    for array, step in steps.items():
        part = out / f"ledger_{array}.jsonl"
        if force or not (part.exists() and (out / f"{array}.npy").exists()):
            ledger.write_records(part, step())
            say(f"{array} done")
    ledger.join(out)
    ledger.write_lines(out / "corpus.txt", ledger.corpus(ledger.read_records(out / "ledger.jsonl")))
    say("ledger, styles and corpus done")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.data", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="the folder to write (data)")
    parser.add_argument(
        "--modules", type=Path, help="an installed node_modules with the packages of experiments/package.json"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that render (2)")
    parser.add_argument("--force", action="store_true", help="make everything again")
    parser.add_argument("--summary", action="store_true", help="only print what the ledger counts")
    parser.add_argument(
        "--sheet", choices=ledger.ARRAYS, help="only draw 60 random pictures with their captions into sheet.png"
    )
    parser.add_argument("--seed", type=int, default=0, help="which pictures the sheet shows (0)")
    args = parser.parse_args()
    if args.sheet:

        def label(record: Mapping[str, Any]) -> str:
            return canonical(record, "en")

        array_sheet(args.out, args.sheet, label, lambda record: True, 60, args.seed).save(args.out / "sheet.png")
        print(args.out / "sheet.png")
        return
    if not args.summary:
        start = time.monotonic()
        make(
            args.out,
            args.modules or install(),
            args.workers,
            args.force,
            lambda text: print(f"{time.monotonic() - start:6.0f} s  {text}", flush=True),
        )
    print(ledger.summary(ledger.read_records(args.out / "ledger.jsonl")))


if __name__ == "__main__":
    main()
