"""Compiling the kernels: what is compiled for which instruction set, by the C++ compiler that is there.

It stands on Python alone, so that the build of a wheel can run it before anything else is installed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "kernels"
#: Where the build of a package puts the libraries, beside this file.
BUILT = Path(__file__).parent / "built"
_AVX512 = ("avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl")
#: An instruction set: the flags of a processor that has it, in Linux's spelling, each an option of the compiler.
SETS = {
    "avx2": ("avx2", "fma"),
    "avx512": _AVX512,
    "avx512-vnni": (*_AVX512, "avx512_vnni"),
    "avx512-bf16": (*_AVX512, "avx512_bf16"),
    "avx512-bf16-vnni": (*_AVX512, "avx512_bf16", "avx512_vnni"),
    "amx-bf16": (*_AVX512, "avx512_bf16", "amx_tile", "amx_bf16"),
}
#: A kernel: the instruction sets that it is there for, the best first, and the source that is compiled for each.
KERNELS = {
    "attention_bf16": {"amx-bf16": "attention_amx", "avx512-bf16": "attention_bf16"},
    "attention_fp32": {"avx512": "attention_fp32", "avx2": "attention_fp32"},
    "gated": {"avx512-bf16": "gated", "avx512": "gated", "avx2": "gated"},
    "direct": {"avx512-bf16": "direct"},
    "linear": {"avx512-bf16": "linear"},
    "linear_fp32": {"avx512": "linear_fp32", "avx2": "linear_fp32"},
    "octets": {"avx512-bf16-vnni": "octets", "avx512-vnni": "octets", "avx2": "octets_avx2"},
    "normalise": {"avx512-bf16": "normalise", "avx512": "normalise", "avx2": "normalise"},
    "winograd": {"avx512": "winograd", "avx2": "winograd"},
    "winograd_bf16": {"avx512-bf16": "winograd_bf16"},
}
OPTIONS = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-math-errno",
)
#: Seconds after which a compiler is given up.
PATIENCE = 120


class NotBuilt(Exception):
    """Why a kernel could not be compiled."""


@functools.cache
def digest() -> str:
    """What the sources and options are, so that a library of others is never taken for theirs."""
    found = hashlib.sha256(repr((SETS, KERNELS, OPTIONS)).encode())
    for path in sorted(SOURCES.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def library(folder: Path, name: str, instructions: str) -> Path:
    """Where the library of a kernel for an instruction set lies in a folder."""
    return folder / f"{name}-{instructions}-{digest()}.so"


def compiler() -> list[str]:
    """The command of the C++ compiler: that of the variable CXX, else the first of c++, g++ and clang++.

    Raises:
        NotBuilt: there is none, or this is no machine that the kernels are for.
    """
    if sys.platform != "linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        raise NotBuilt(f"there are kernels for Linux on x86-64 alone, not for {sys.platform} on {platform.machine()}")
    given = shlex.split(os.environ.get("CXX", ""))
    for command in [given] if given else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    raise NotBuilt(f"there is no C++ compiler: {given[0] if given else 'c++, g++ or clang++'} was not found")


def compile(name: str, instructions: str, folder: Path, options: tuple[str, ...] = ()) -> Path:
    """Compile one kernel for one instruction set into a folder, whole or not at all; a library that is there is kept.

    Args:
        name: of `KERNELS`.
        instructions: one of its sets.
        folder: made if need be.
        options: more of the compiler.

    Raises:
        NotBuilt: it could not be, and why.
    """
    path = library(folder, name, instructions)
    if path.exists():
        return path
    flags = [f"-m{flag.replace('avx512_', 'avx512').replace('_', '-')}" for flag in SETS[instructions]]
    command = [*compiler(), *OPTIONS, *flags, *options, str(SOURCES / f"{KERNELS[name][instructions]}.cpp")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(suffix=".so", dir=folder)
    except OSError as error:
        raise NotBuilt(f"{folder} cannot be written: {error}") from None
    os.close(handle)
    try:
        done = subprocess.run([*command, "-o", made], capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise NotBuilt(f"{command[0]} could not compile {name} for {instructions}: {done.stderr.strip()[:400]}")
        os.chmod(made, 0o755)
        os.replace(made, path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{name} for {instructions} was not compiled: {error}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(made)
    return path


def compile_all(folder: Path) -> tuple[list[Path], list[str]]:
    """Compile every kernel into a folder, which holds nothing else afterwards: the libraries, and why those that are
    missing are."""

    def one(which: tuple[str, str]) -> Path | str:
        try:
            return compile(*which, folder)
        except NotBuilt as reason:
            return str(reason)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(one, [(name, instructions) for name, sets in KERNELS.items() for instructions in sets]))
    made = [each for each in found if isinstance(each, Path)]
    for old in set(folder.glob("*.so")) - set(made):
        with contextlib.suppress(OSError):
            old.unlink()
    return made, list(dict.fromkeys(each for each in found if isinstance(each, str)))
