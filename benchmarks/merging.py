"""Checkpoints of SD1.5's size merged: in what memory, and how long it takes beside plainly reading and writing them.

    python benchmarks/merging.py            prints the table
    python benchmarks/merging.py --write    and puts it into docs/merging.md

The files have all of the published names and shapes, 2.1 GB each, and random fp16 numbers. Each figure is of a process
of its own, the first two the best of three in turn, with the files in the system's cache and their hashes remembered;
all that is written is on the disk when it ends. Needs 12 GB of disk in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from marks import put

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.checkpoints import STATUS, child, single_file

PLAIN = """
import os
begin = time.perf_counter()
for name in sys.argv[1:3]:
    data = Path(name).read_bytes()
with open(sys.argv[3], "wb") as file:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
print(time.perf_counter() - begin)
"""
MERGE = (
    STATUS
    + """
from danqing.merge import merge as merging
from danqing.store import library
*given, target, method = sys.argv[1:]
for file in given:
    library.digest(file)
begin = time.perf_counter()
merging.merge(given, target, method=method, force=True)
print(time.perf_counter() - begin, status("VmHWM"))
"""
)
#: Method, how many files it is given, and how many times it is measured.
METHODS = {"sum": (2, 3), "add-difference": (3, 1), "slerp": (2, 1), "ties": (3, 1), "dare": (3, 1)}


def another(file: Path, seed: int) -> Path:
    """A file like another with numbers of its own."""
    from danqing.store.tensors import Due, Reader, write

    reader, draw = Reader(file), torch.Generator().manual_seed(seed)

    def make(name: str) -> torch.Tensor:
        tensor = reader.take(name)
        return tensor + 0.01 * torch.empty_like(tensor).normal_(generator=draw)

    dues = {
        name: Due(dtype=torch.float16, shape=spec.shape, make=lambda name=name: make(name))
        for name, spec in reader.header.tensors.items()
    }
    return write(file.with_stem(f"{file.stem}-{seed}"), dues, reader.header.metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/merging.md")
    args = parser.parse_args()
    from danqing.run.record import describe

    machine = describe()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        first = single_file(Path(name), "sd15")
        files, target = (
            [str(first), *(str(another(first, seed)) for seed in (1, 2))],
            str(Path(name) / "out.safetensors"),
        )
        plain: list[float] = []
        merged: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        for turn in range(3):  # in turn, for disk and memory have their moods
            plain += child(PLAIN, *files[:2], target)
            for method, (count, times) in METHODS.items():
                if turn < times:
                    merged[method].append(child(MERGE, *files[:count], target, method))
        read = min(plain)
        lines.append(f"| two files read, one written, as bytes | {read:.2f} s | |")
        for method, found in merged.items():
            seconds, peak = min(one[0] for one in found), max(one[1] for one in found)
            of = f"`{method}` of {METHODS[method][0]} files"
            lines.append(f"| {of} | {seconds:.2f} s, {seconds / read:.1f} × | {peak / 1e9:.2f} GB |")
    head = (
        f"Measured by `python benchmarks/merging.py` on {machine['cpu']} ({machine['instructions']}, "
        f"{machine['threads']} threads, torch {machine['torch']}), 2.1 GB of fp16 numbers a file."
    )
    table = "\n".join([head, "", "| | time | peak memory |", "|---|---|---|", *lines])
    print(table)
    if args.write:
        put("docs/merging.md", "merging", table)


if __name__ == "__main__":
    main()
