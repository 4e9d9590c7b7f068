"""What a person sees while a command works: a bar, lines that stay, how much of them, and what an interrupt does."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DanqingError, InvalidFile
from ..lang.spoken import said, term

if TYPE_CHECKING:
    from ..painting.loaded import LoadedModel
    from ..pictures.picture import Picture
    from ..request.request import Request, Resolved

INTERRUPTED = "danqing: interrupted; nothing half-painted was written"


#: Control characters but for the tab and the line's end, and those that turn the direction of writing.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Screen:
    """What a person sees on standard error: a bar with the time of a step, the file, the warnings."""

    def __init__(self, progress: Any):
        self.progress = progress
        self.task = None if progress is None else progress.add_task("", total=None, pace="")

    def waiting(self, text: str) -> None:
        if self.progress is not None:
            self.progress.update(self.task, description=term(text), total=None)

    def one(self, loaded: LoadedModel, request: Request, n: int, of: int, preview: Path | None) -> Picture:
        """Paint one picture, showing each step."""
        from ..pictures import encode, files
        from ..pictures.picture import Picture

        began, title = time.perf_counter(), f"{n}/{of}" if of > 1 else term("painting")
        if self.progress is not None and of > 1:
            self.progress.update(self.task, description=title, completed=n - 1, total=of)
        try:
            for state in loaded.states(request):
                if isinstance(state, Picture):
                    return state
                self._step(title, began, state)
                if preview is not None:
                    with suppress(InvalidFile):  # the picture is worth more than its preview
                        files.put(preview, encode.to_bytes(loaded.preview(state), {"format": "PNG"}), overwrite=True)
        finally:
            if preview is not None:
                preview.unlink(missing_ok=True)
        raise DanqingError(f"the recipe {request.recipe} ended without a picture")

    def several(
        self, loaded: LoadedModel, requests: Sequence[Resolved], previews: Sequence[Path | None]
    ) -> Iterator[Callable[[], Picture]]:
        """What gives the picture of each request, or raises why there is none; painted together where that is sooner,
        and where no step is looked at."""
        from ..painting.load import groups
        from ..run.together import in_order

        n, of = 1, len(requests)
        for group in groups(loaded, requests):
            if len(group) == 1 or any(previews):
                for request in group:
                    yield partial(self.one, loaded, request, n, of, previews[n - 1])
                    n += 1
                continue
            began, title = time.perf_counter(), f"{n}–{n + len(group) - 1}/{of}"

            def step(which: int, state: Any, began: float = began, title: str = title) -> None:
                self._step(title, began, state)

            for what in in_order([partial(loaded.states, request) for request in group], step):
                yield partial(_given, what)
                n += 1

    def _step(self, title: str, began: float, state: Any) -> None:
        if self.progress is not None:
            pace = (time.perf_counter() - began) / state.step
            self.progress.update(
                self.task,
                description=title,
                completed=state.step,
                total=state.steps,
                pace=said(f"{pace * 1000:.0f} ms a step"),
            )

    def solver(self, said: str | None, request: Request) -> None:
        """Say what we call a solver that is named as another program does."""
        if said and said != (ours := request.sampling.solver):
            spacing = request.stated().get("spacing")
            self.note(f"the solver {said} is {ours} here" + (f", its spacing {spacing}" if spacing else ""))

    def styles(self, stated: Sequence[Request], resolved: Sequence[Request]) -> None:
        """Say which style is added where nobody stated one."""
        added = {request.style for request in resolved} - {request.style for request in stated} - {"none"}
        for style in sorted(added):
            self.note(f"{style} style was added, for the prompt names none; --style chooses, none adds none")

    def finished(self, picture: Picture, written: Path) -> None:
        from ..pictures import files

        for warning in picture.warnings:
            self.note(f"warning: {warning}")
        if files.record_beside(written).exists():
            self.note(f"the record lies beside, in {files.record_beside(written)}")

    def note(self, line: str) -> None:
        """`tell` on standard error, what -q leaves out."""
        if not asked("quiet"):
            self.tell(line, err=True)

    def tell(self, line: str, *, err: bool = False) -> None:
        """A line that stays: the bar makes way for it."""
        self.close()
        echo(line, err=err)
        if self.progress is not None:
            self.progress.start()

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()


def _given(what: Any) -> Any:
    """What was painted; what failed is raised."""
    if isinstance(what, Exception):
        raise what
    return what


def watched() -> bool:
    """Whether someone looks at standard error, which may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def screen(*, quiet: bool) -> Iterator[Screen]:
    """A live bar where someone looks, plain lines elsewhere."""
    if quiet or asked("quiet") or asked("verbose") or not watched():
        yield Screen(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Screen(progress)


@contextmanager
def leaving(show: Screen) -> Iterator[None]:
    """Ctrl-C ends the process here and now: interrupted while they load, numpy forgets it and torch may abort."""
    if threading.current_thread() is not threading.main_thread():  # no other may say what a signal does
        yield
        return

    def leave(*_: Any) -> None:
        show.close()
        echo(INTERRUPTED, err=True)
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def asked(name: str) -> bool:
    """Whether an option of the group ``danqing`` is given: quiet or verbose."""
    context = click.get_current_context(silent=True)
    return bool(context and context.find_root().params.get(name))


def note(text: object) -> None:
    """A word on standard error beside what a command is for, which -q leaves out."""
    if not asked("quiet"):
        echo(text, err=True)


def say(value: dict[str, Any]) -> None:
    """A value as a line of JSON, which escapes what steers a terminal."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def echo(text: object, *, err: bool = False) -> None:
    """A text as it can be read, in the reader's language: what would steer the terminal, a stranger's too, is shown by
    its number."""
    click.echo(STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", said(text)), err=err)
