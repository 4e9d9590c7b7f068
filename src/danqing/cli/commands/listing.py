"""What people see of models: the lines of a list, and a bar while something is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...store.download import Progress
from ...store.library import Listed
from ..screen import echo, watched

#: Types of numbers as people call them; quantised blocks are told by the file's own name.
PRECISIONS = {"F16": "fp16", "BF16": "bf16", "F32": "fp32", "F64": "fp64", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}


def size(count: int) -> str:
    """Bytes in words."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:.0f} kB"
    )


def facts(one: Listed) -> dict[str, Any]:
    """An entry as JSON."""
    about = one.about
    return {
        "name": one.entry.name,
        "kind": about.kind,
        "what": about.what,
        "path": str(one.entry.path),
        "bytes": about.size,
        "dtypes": list(about.dtypes),
        "licence": about.licence,
        "sha256": one.sha256,
        "wrong": about.wrong,
    }


def lines(listed: Iterable[Listed]) -> Iterator[str]:
    """Entries as a table, models first; each kind has a heading."""
    kinds: dict[str, list[Listed]] = {"model": []}
    for one in listed:
        kinds.setdefault(one.about.kind, []).append(one)
    for kind, ones in kinds.items():
        if ones:
            yield f"{kind}:"
            yield from table([_row(one) for one in sorted(ones, key=lambda one: one.entry.name.casefold())])


def _row(one: Listed) -> tuple[str, ...]:
    about = one.about
    if about.wrong:
        return (one.entry.name, f"broken: {about.wrong}")
    precision = "+".join(dict.fromkeys(PRECISIONS.get(name, name) for name in about.dtypes))
    what = "" if about.what == about.kind else about.what
    return (one.entry.name, what, size(about.size), precision, about.licence, one.sha256 and f"[{one.sha256[:10]}]")


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns; the reason why something is broken may be as long as it is."""
    widths: dict[int, int] = {}
    for row in rows:
        for i, cell in enumerate(row if len(row) > 2 else row[:1]):
            widths[i] = max(widths.get(i, 0), len(cell))
    for row in rows:
        yield ("  " + "  ".join(f"{cell:<{widths.get(i, 0)}}" for i, cell in enumerate(row))).rstrip()


@contextmanager
def transfer(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar for each file where someone looks, a line for each elsewhere."""
    if quiet:
        yield lambda state: None
        return
    if not watched():
        begun: set[str] = set()

        def say(state: Progress) -> None:
            if state.name not in begun:
                begun.add(state.name)
                echo(f"{state.name}: {size(state.total) if state.total else 'of unknown size'}", err=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def draw(state: Any) -> None:
            if state.name not in tasks:
                tasks[state.name] = bars.add_task(state.name, total=state.total)
            bars.update(tasks[state.name], completed=state.done, total=state.total)

        yield draw
