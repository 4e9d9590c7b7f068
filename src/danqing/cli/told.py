"""Help in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy

import click

from ..lang.spoken import foreign, languages, said, term


class Context(click.Context):
    """Lays help out by the width of what is written in it."""

    def make_formatter(self) -> click.HelpFormatter:
        if foreign():
            from .wide import WideFormatter

            self.formatter_class = WideFormatter
        return super().make_formatter()


class Told(click.Command):
    """A command that takes --lang, and tells its help in the reader's language."""

    context_class = Context

    def get_short_help_str(self, limit: int = 45) -> str:
        return said(super().get_short_help_str(limit))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        told = copy(self)
        told.help = paragraphs(self.help or "") if foreign() else self.help
        super(Told, told).format_help_text(ctx, formatter)


def language(ctx: click.Context) -> click.Option:
    """The option --lang, which help names once. `danqing.lang.spoken.chosen` has read it already: wherever it stands,
    and before a wrong option is told."""
    what = "The language of help and messages; that of the system when not given."
    kinds = click.Choice(languages())
    return click.Option(["--lang"], type=kinds, expose_value=False, hidden=ctx.parent is not None, help=what)


def spoken(options: Iterable[click.Parameter]) -> list[click.Parameter]:
    """The same options with their help in the reader's language."""
    found = list(map(copy, options)) if foreign() else list(options)
    for option in found if foreign() else ():
        if isinstance(option, click.Option) and option.help:
            option.help = said(option.help)
    return found


def paragraphs(text: str) -> str:
    """A text with an empty line between its paragraphs, each of them a message."""
    return "\n\n".join(said(" ".join(each.split())) for each in text.split("\n\n"))


def explained(line: str) -> str:
    """An example, with what stands beside it in the reader's language."""
    command, *beside = re.split(r"(\s{2,})", line, maxsplit=1)
    return command + "".join(map(term, beside))
