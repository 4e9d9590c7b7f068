"""Laws of files between processes: a kill at any call that changes a file loses nothing and leaves nothing half, and
two who write to one place at once both come out right. `benchmarks/kills.py` does the same with whole commands."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import torch
from benchmarks.knife import Knife, forked
from benchmarks.pulls import DATA, SUM, pair, serving

from danqing import atomic
from danqing.errors import InvalidFile
from danqing.learn.training import checkpoint, journal
from danqing.pictures import files
from danqing.run import measured
from danqing.store import convert, fetch, find, library, pull
from danqing.store.cache import Cache
from danqing.weights import store

pytestmark = pytest.mark.posix
FASTEST = measured.Choice(precision="fp32", engine="torch", kernels="on", threads=1)
NEW = {"a": torch.arange(3000.0), "b": torch.ones(7)}


def folder(work: Path, url: str) -> None:
    with atomic.folder(work / "made") as beside:
        for name in ("model.json", "weights"):
            (beside / name).write_bytes(b"new" * 4000)


def pulled(work: Path, url: str, sha256: str = SUM) -> None:
    for _ in fetch.fetch(pull.plan(f"{url}/x.pt", into=work, sha256=sha256), force=True):
        pass


def remembered(work: Path, url: str) -> None:
    with Cache() as memory:
        memory.put(Path("/x"), [1, 2], "fact", "x" * 9000)


#: What writes: in a folder, perhaps from an address.
WRITERS: dict[str, Callable[[Path, str], object]] = {
    "folder": folder,
    "picture": lambda work, url: files.put(work / "fox.png", b"new" * 4000, overwrite=True),
    "weights": lambda work, url: store.write(work / "x.safetensors", NEW),
    "checkpoint": lambda work, url: checkpoint.write(work / "last.pt", NEW),
    "log": lambda work, url: journal.Journal(work / "log.jsonl", 1).close(),
    "pull": pulled,
    "cache": remembered,
    "measurement": lambda work, url: measured.write(FASTEST, {"more": "x" * 9000}),
}


def old(work: Path, url: str) -> None:
    """What lies there: of each name something, of the log what a resumed run drops, of a pull half of another file."""
    (work / "made").mkdir(parents=True)
    for name in ("made/model.json", "fox.png", "x.safetensors", "x.pt"):
        (work / name).write_bytes(b"old")
    checkpoint.write(work / "last.pt", {"a": torch.zeros(3)})
    (work / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    (work / "x.pt.part").write_bytes(DATA[::-1][:100_000])
    (work / "x.pt.part.json").write_text('{"of": "another", "mark": "1"}')


def seen(work: Path) -> dict[str, str]:
    """All that a person sees in a folder, once a reader has come; what lies in a folder as one."""
    atomic.restored(work, os.listdir(work))
    found: dict[str, str] = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file() and ".part" not in path.name):
        parts = path.relative_to(work).parts
        if not any(part.startswith(".") for part in parts):
            found[parts[0]] = found.get(parts[0], "") + hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_at_any_call_leaves_everything_as_before_or_as_after(
    tmp_path: Path, url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without certificates, which take longer to load than all the rest.
    monkeypatch.setattr(fetch, "connect", lambda: httpx2.Client(verify=False, trust_env=False))
    log, write = tmp_path / "log", WRITERS[name]

    def place(n: int) -> Path:
        work = tmp_path / str(n) / "work"
        work.parent.mkdir()
        monkeypatch.setenv("XDG_CACHE_HOME", str((work if name in ("cache", "measurement") else tmp_path) / "cache"))
        old(work, url)
        return work

    before = seen(whole := place(0))
    code, calls = forked(lambda: write(whole, url), log, Knife(whole, 0))
    after = seen(whole)
    assert code == 0 and len(calls) > 4 and before != after, log.read_text()
    for at, call in enumerate(calls, 1):
        work = place(at)
        code, _ = forked(lambda: write(work, url), log, Knife(work, at))  # noqa: B023
        assert code == -9 or (code == 0 and name == "pull")  # which comes in more pieces or fewer
        assert seen(work) in (before, after), call
        assert forked(lambda: write(work, url), log)[0] == 0, (call, log.read_text())  # noqa: B023
        assert seen(work) == after, call


@pytest.mark.parametrize("options", [("--sha256", SUM), ()], ids=["known by its hash", "known by its address"])
def test_two_pulls_of_one_file_at_once_give_the_right_file_and_both_say_so(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with serving(pause=0.03) as address:
        assert pair(address, tmp_path / "place", options, gap=0.1) == []


def test_who_waits_for_a_pull_still_wants_the_hash_that_was_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    work, log = tmp_path / "work", tmp_path / "log"
    work.mkdir()
    with serving(pause=0.03) as address, ThreadPoolExecutor(2) as both:
        first = both.submit(forked, lambda: pulled(work, address, ""), log)
        time.sleep(0.1)
        second = both.submit(forked, lambda: pulled(work, address, "0" * 64), log)
        assert (first.result()[0], second.result()[0]) == (0, 70)
    assert "not 000000000000" in log.read_text() and (work / "x.pt").read_bytes() == DATA


def test_who_waits_for_a_pull_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    work, log = tmp_path / "work", tmp_path / "log"
    work.mkdir()
    with serving(pause=0.03) as address, ThreadPoolExecutor(2) as both:
        first = both.submit(forked, lambda: pulled(work, address), log, Knife(work, 12))
        time.sleep(0.1)
        second = both.submit(forked, lambda: pulled(work, address), log)
        assert (first.result()[0], second.result()[0]) == (-9, 0), log.read_text()
    assert os.listdir(work) == ["x.pt"] and (work / "x.pt").read_bytes() == DATA


def together(count: int, work: Callable[[int], object], log: Path) -> list[int]:
    """How so many processes end that do their work at once."""
    with ThreadPoolExecutor(count) as threads:
        return [code for code, _ in threads.map(lambda n: forked(lambda: work(n), log), range(count))]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_pictures_of_one_name_at_once_are_all_kept(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    pictures = tmp_path / "pictures"
    pictures.mkdir()

    def paint(n: int) -> None:
        for i in range(5):
            files.put(pictures / "fox.png", b"%d %d" % (n, i))

    assert together(5, paint, tmp_path / "log") == [0] * 5
    assert {path.read_bytes() for path in pictures.iterdir()} == {b"%d %d" % (n, i) for n in range(5) for i in range(5)}


def test_what_several_processes_find_out_at_once_is_all_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def find_out(n: int) -> None:
        with Cache() as memory:
            memory.put(Path(f"/{n}"), [n], "fact", n)

    assert together(8, find_out, tmp_path / "log") == [0] * 8
    assert {path: known["fact"] for path, known in Cache().known.items()} == {f"/{n}": n for n in range(8)}


def test_of_two_folders_made_in_one_place_at_once_the_second_is_refused(tmp_path: Path) -> None:
    def make(n: int) -> None:
        with atomic.folder(tmp_path / "made") as beside:
            (beside / str(n)).touch()
            time.sleep(0.3)

    assert sorted(together(2, make, tmp_path / "log")) == [0, 70]
    assert "another process has made" in (tmp_path / "log").read_text() and len(os.listdir(tmp_path / "made")) == 1


def test_what_another_process_was_killed_over_stays_where_the_next_one_fails(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "old").touch()

    def fail() -> None:
        with atomic.folder(made):
            raise RuntimeError

    with ThreadPoolExecutor(1) as other:
        with atomic.alone(made):
            second = other.submit(forked, fail, tmp_path / "log")
            time.sleep(0.3)
            made.rename(tmp_path / ".made.old")
        assert second.result()[0] == 70
    assert sorted(os.listdir(tmp_path)) == ["log", "made"] and os.listdir(made) == ["old"]


def test_of_two_files_made_in_one_place_at_once_the_second_is_refused_unless_forced(tmp_path: Path) -> None:
    for n in range(2):
        store.write(tmp_path / f"{n}.safetensors", {"a": torch.full((100,), float(n))})

    def make(n: int, force: bool = False) -> None:
        convert.convert(tmp_path / f"{n}.safetensors", tmp_path / "x.safetensors", force=force)

    assert sorted(together(2, make, tmp_path / "log")) == [0, 70]
    assert "is there already" in (tmp_path / "log").read_text()
    assert together(2, lambda n: make(n, True), tmp_path / "log") == [0, 0]


def test_who_waits_too_long_is_told_and_a_lock_leaves_nothing(tmp_path: Path) -> None:
    with atomic.alone(tmp_path / "x"):
        with atomic.alone(tmp_path / "x"):  # of one thread they lie in each other
            pass
        code, _ = forked(lambda: atomic.alone(tmp_path / "x", 0.1).__enter__(), tmp_path / "log")
    assert code == 70 and "another process is writing" in (tmp_path / "log").read_text()
    assert os.listdir(tmp_path) == ["log"]
    with pytest.raises(InvalidFile, match="no folder"), atomic.alone(tmp_path / "no" / "x"):
        raise AssertionError("entered")


def test_a_model_that_a_kill_left_out_of_its_place_is_found_by_its_path_and_in_the_list(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANQING_MODELS", str(tmp_path))
    for search in (lambda: find.find(tmp_path / "mine"), lambda: library.locate("mine")):
        shutil.copytree(tiny, tmp_path / ".mine.old")
        assert search()
        assert os.listdir(tmp_path) == ["mine"]
        shutil.rmtree(tmp_path / "mine")


def test_what_kills_left_of_hidden_files_goes_a_day_later(tmp_path: Path) -> None:
    left = [tmp_path / name for name in (".0123456789ab.part", ".another.part", "x.part")]
    for path in left:
        path.touch()
    atomic.write(tmp_path / "x", b"new")
    assert all(path.exists() for path in left)
    for path in left:
        os.utime(path, (0, 0))
    atomic.write(tmp_path / "x", b"new")
    assert [path.exists() for path in left] == [False, True, True]


FORK = """
import os, signal, sys, torch
from danqing.painting.load import load
from danqing.request.request import Request
torch.set_num_threads(2)
painter = load(sys.argv[1], "cpu", "fp32")
torch.ones(1 << 22).exp()  # by threads that a child has not
if (child := os.fork()) == 0:
    signal.alarm(20)
    torch.ones(1 << 22).exp()
    painter.paint(Request(prompt="a red fox"))
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_that_is_forked_after_painting_paints(tiny: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FORK, str(tiny)], capture_output=True, text=True)
    assert ended.stdout.strip() == "7", ended.stderr
