"""What the shell completes: names and files. The completion itself is click's (docs/models.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from ..errors import DanqingError

#: (the command so far, the parameter, the beginning of the word) -> what it may become.
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and folders, which the shell itself looks up."""
    return [CompletionItem(incomplete, type="file")]


def names(of: Callable[[], Iterable[str]]) -> Complete:
    """Names, or files where none begins so; what cannot be looked up is not completed."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            begun = (name for name in of() if name.casefold().startswith(incomplete.casefold()))
            found = list(map(CompletionItem, dict.fromkeys(begun)))
        except DanqingError:
            found = []
        return found or files(ctx, param, incomplete)

    return complete


def _models() -> list[str]:
    from ..api import models

    return models()


def _finishes() -> Iterable[str]:
    from ..finish.records import FINISHES

    return FINISHES


def _hints() -> Iterable[str]:
    from ..hint.records import HINTS

    return HINTS


def _finishers() -> list[str]:
    from ..finish import upscalers
    from ..store import library

    return [*upscalers.names(), *library.finishes()]


def _pulled() -> Iterable[str]:
    from ..store.short import SHORT

    return SHORT


def _presets() -> list[str]:
    from ..store.own.presets import known

    return sorted(known())


models, finishes, hints, finishers, pulled, presets = map(
    names, (_models, _finishes, _hints, _finishers, _pulled, _presets)
)
