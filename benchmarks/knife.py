"""A knife: it ends a process, as SIGKILL does, at the n-th call that changes a file; and places where it may.

Counted are the opening of a file to write, a write, a flush to the disk, and the making, naming, linking and removing
of files and folders, whoever in Python does it: the interpreter's audit events (PEP 578) tell of most, and the rest
goes through a layer that tells. A process dies before the call, but in a write when half of its bytes are written.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

#: The event -> where the numbers of open folders stand among its arguments, which paths may be relative to.
EVENTS = {
    "os.rename": (2, 3),
    "os.link": (2, 3),
    "os.symlink": (2,),
    "os.remove": (1,),
    "os.rmdir": (1,),
    "os.mkdir": (2,),
    "os.truncate": (),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Knife:
    """Falls at the n-th call in a folder.

    Args:
        within: the folder.
        at: which call is the last, from 1; 0 for none.
    """

    def __init__(self, within: Path, at: int):
        self.within, self.at, self.calls = os.path.realpath(within) + os.sep, at, list[str]()

    def comes(self, what: str, path: Any) -> bool:
        """Count a call; whether it is the last."""
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(self.within):
            return False
        self.calls.append(f"{what} {os.path.abspath(os.fsdecode(path)).removeprefix(self.within)}")
        return len(self.calls) == self.at

    def fall(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit event."""
        if event == "open" and isinstance(args[2], int) and args[2] & WRITES and self.comes("open", args[0]):
            self.fall()
        if event in EVENTS:
            apart = any(args[i] not in (-1, None) for i in EVENTS[event])
            if self.comes(event, os.path.join(self.within, "?") if apart else args[0]):
                self.fall()

    def hang(self) -> None:
        """From now on; there is no way back, so only in a process that ends."""
        sys.addaudithook(self.hear)
        knife, plain = self, builtins.open

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                if knife.comes("write", self.name):
                    super().write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
                    knife.fall()
                return super().write(data) or 0

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                   newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
            if isinstance(file, int) or not set(mode) & set("wax+"):
                return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)

        def counted(name: str) -> Any:
            call = getattr(os, name)

            def counting(*args: Any, **options: Any) -> Any:
                if knife.comes(name, os.path.join(knife.within, "?")):
                    knife.fall()
                return call(*args, **options)

            return counting

        builtins.open = io.open = opened
        for name in filter(lambda name: hasattr(os, name), ("fsync", "sendfile")):  # shutil copies by the second
            setattr(os, name, counted(name))


def forked(task: Callable[[], object], said: Path, knife: Knife | None = None) -> tuple[int, list[str]]:
    """Do a task in a process of its own, under a knife if one is given.

    Args:
        said: the file that takes what it says.

    Returns:
        how it ended: its exit code, or minus the number of the signal that killed it; and the calls that the knife has
        seen, where it did not fall.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for handle in (1, 2):
                os.dup2(log, handle)
            sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
            if knife is not None:
                knife.hang()
            task()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os.write(write, "\n".join(knife.calls if knife else ())[-60_000:].encode("utf-8", "replace"))
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        calls = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), calls.splitlines()


@contextmanager
def place(root: Path, before: Callable[[Path], object] = lambda work: None) -> Iterator[Path]:
    """A fresh folder to work in, with what lies there before, and a home of its own; all of it is gone afterwards."""
    home, work = root / "home", root / "work"
    work.mkdir(parents=True)
    kept, at = dict(os.environ), os.getcwd()
    os.environ |= {name: str(home) for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    os.environ |= {"DANQING_MODELS": str(work), "NO_PROXY": "*", "MPLBACKEND": "agg"}
    os.chdir(work)
    try:
        with redirect_stdout(io.StringIO()):
            before(work)
        yield work
    finally:
        os.chdir(at)
        os.environ.clear()
        os.environ.update(kept)
        shutil.rmtree(root)


def command(args: Sequence[str]) -> None:
    """A command of danqing's, which says nothing of how it ended where it ended well."""
    from danqing.cli import app

    try:
        app.main([*args])
    except SystemExit as stop:
        if stop.code:
            raise
