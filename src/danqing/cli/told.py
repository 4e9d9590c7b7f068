"""Help in the reader's language."""

from __future__ import annotations

import re

import click

from ..lang.spoken import foreign, languages, said, term


class Context(click.Context):
    """Lays help out in the reader's language."""

    def make_formatter(self) -> click.HelpFormatter:
        if foreign():
            from .wide import WideFormatter

            self.formatter_class = WideFormatter
        return super().make_formatter()


class Told(click.Command):
    """A command that tells its help, and what the shell says of it, in the reader's language."""

    context_class = Context

    def get_short_help_str(self, limit: int = 45) -> str:
        return said(super().get_short_help_str(limit))


def language(ctx: click.Context) -> click.Option:
    """The option --lang, which help names once. `danqing.lang.spoken.chosen` has read it already: wherever it stands,
    and before a wrong option is told."""
    what = "The language of help and messages; that of the system when not given."
    kinds = click.Choice(languages())
    return click.Option(["--lang"], type=kinds, expose_value=False, hidden=ctx.parent is not None, help=what)


def explained(line: str) -> str:
    """An example, with what stands beside it in the reader's language."""
    command, *beside = re.split(r"(\s{2,})", line, maxsplit=1)
    return command + "".join(map(term, beside))
