"""Whether two worktrees behave alike: the same requests painted in each, and every difference printed.

    python benchmarks/behaviour OLD NEW                 folders that hold src/danqing
    python benchmarks/behaviour OLD NEW --only hires    the cases whose name holds a word

Each tree runs in a process of its own, one after the other, in the same folder with the same models and pictures, in
fp32 on one thread. Compared are, of every command, its exit code and what it says; of every file written, its pixels,
its record, its A1111 text and what `inspect` and `replay` say of it; the same of pictures by the Python functions, with
their warnings or the error raised; and the help of every command, line by line. `tree.py` names what is volatile and
left out. Only the command line and the names in `danqing` itself are used, so that all behind them may change.

Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import given
from differences import differences

HERE = Path(__file__).parent
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
#: As wide as help is at most; nothing of who runs it: no settings, no models, no memory of files.
SCREEN = {"COLUMNS": "100", "LINES": "40", "TERM": "dumb", "NO_COLOR": "1"}


def environment(tree: Path, place: Path) -> dict[str, str]:
    """What a tree runs in; a folder of ``place`` takes the place of the user's folders."""
    home = {name: str(place / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    folders = {**home, "DANQING_MODELS": str(place / "given" / "library")}
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("DANQING_", "HF_"))}
    said = {"PYTHONPATH": str(tree / "src"), "DANQING_PRECISION": "fp32", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**mine, **folders, **ONE_THREAD, **SCREEN, **said, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def run(tree: Path, place: Path, kept: str, only: str) -> dict[str, Any]:
    """What a tree does with every case, in ``place/work``, which is kept as ``place/kept``."""
    began, work, found = time.monotonic(), place / "work", place / f"{kept}.json"
    for folder in (work, place / "home"):
        folder.mkdir()
    command = [sys.executable, str(HERE / "tree.py"), str(tree), str(place / "given"), str(work), str(found), only]
    done = subprocess.run(command, env=environment(tree, place), cwd=work)
    if done.returncode:
        raise SystemExit(f"{tree} ended with {done.returncode}")
    for folder in ("work", "home"):
        (place / folder).rename(place / f"{kept}-{folder}")
    result = json.loads(found.read_text(encoding="utf-8"))
    counts = ", ".join(f"{number} {what}" for what, number in result.pop("counts").items())
    print(f"{tree}: {counts}, {time.monotonic() - began:.0f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", default="", help="the cases whose name holds this")
    parser.add_argument("--keep", type=Path, help="a new folder for all that was painted; else it is removed")
    args = parser.parse_args()
    trees = [tree.resolve() for tree in (args.old, args.new)]
    for tree in trees:
        if not (tree / "src" / "danqing").is_dir():
            parser.error(f"{tree} holds no src/danqing")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) if args.keep is None else args.keep.resolve()
        place.mkdir(parents=True, exist_ok=args.keep is None)
        given.make(place / "given")
        old, new = (run(tree, place, kept, args.only) for tree, kept in zip(trees, ("old", "new"), strict=True))
    found = list(differences(old, new))
    print("\n".join((*found, f"{len(found)} differences" if found else "no difference")))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
