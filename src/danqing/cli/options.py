"""What the commands are made of: their help, the options that are fields of `Request`, and those of every command that
paints."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import InvalidInput, nearest
from ..lang.spoken import sentences
from ..run.measured import MOST, chosen
from ..tables import PluginWarning
from .completion import files, finishers, finishes, models, names
from .screen import note
from .told import Told, explained, language

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: Where a command's context says whether anybody stated a number of threads.
SAID = "danqing.threads"
#: Fields that are no options of their own: arguments, or the command itself.
ELSEWHERE = frozenset(
    {"recipe", "prompt", "image", "seed", "index", "other", "between", "template", "negative_template"}
)
#: What help calls the text of a field that names a file or a folder.
FILES = {"mask": "FILE", "model": "MODEL", "refiner": "MODEL", "vae": "FILE", "finish": "CHAIN", "hires_by": "NAME"}
#: Fields of several records, each an option of its own: (the option, what help calls it).
REPEATED = {
    "controls": ("--control", "KIND:PICTURE"),
    "image_prompts": ("--image-prompt", "PICTURE[:WEIGHT]"),
    "faces": ("--face", "PICTURE"),
    "references": ("--reference", "PICTURE"),
    "regions": ("--region", "PLACE:TEXT"),
}
#: How the shell completes it.
COMPLETED = {"FILE": files, "PICTURE": files, "MODEL": models, "CHAIN": finishes, "NAME": finishers}


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows what is wrong with another package's row in a line as our own messages."""
    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, PluginWarning):
                note(f"danqing: {message}")
            else:
                shown(message, category, *place, **more)

        warnings.showwarning = show
        yield


class Examples(Told):
    """Keeps the line breaks of the examples under the options, makes its `Several` options when it is used, and
    understands what other programs call them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _ours(args, {name for one in self.get_params(ctx) for name in one.opts}))

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        found = (*self.params, language(ctx), self.get_help_option(ctx))
        return [each for one in found if one for each in (one.made() if isinstance(one, Several) else [one])]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_heading("Examples")
            formatter.indent()
            for line in self.epilog.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{explained(line)}\n")
            formatter.dedent()


class Rows(Examples):
    """Lists in its help the rows of a table that are records, with their parameters."""

    def rows(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ..inputs.fields import domain
        from ..inputs.records import does, parameters
        from ..lang.spoken import sentences

        for name, kind in self.rows().items():
            with formatter.section(name):
                formatter.write_text(does(kind))
                fields = parameters(kind).items()
                lines = [
                    (field, sentences(str(info.description), f"possible: {domain(info)}")) for field, info in fields
                ]
                if lines:
                    formatter.write_dl(lines)
        super().format_epilog(ctx, formatter)


class Group(Examples, click.Group):
    """Offers the nearest command for one that is not there."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands)
            hint = f"Did you mean {near[0]!r}?" if near else f"Possible: {', '.join(self.commands)}."
            raise click.UsageError(sentences(error.message, hint), ctx) from None


class Several(click.Option):
    """Stands for options that are made when the command is used: rows of tables may have come since.

    Args:
        made: () -> the options.
    """

    def __init__(self, declarations: Sequence[str], *, made: Callable[[], list[click.Option]]):
        super().__init__(declarations)
        self.made = made


def _ours(args: Sequence[str], known: Collection[str]) -> list[str]:
    """Arguments whose options have the names of ``known``; what is renamed is told."""
    from ..request.spellings import COMMAND

    found, renamed = list[str](), dict[str, str]()
    args = [os.fspath(arg) for arg in args]  # which a program that calls the command line may give as paths
    end = args.index("--") if "--" in args else len(args)
    for arg in args[:end]:
        name, equals, value = arg.partition("=") if arg.startswith("--") else (arg[:2], "", arg[2:])
        own = f"--{COMMAND.get(name.lstrip('-').replace('-', '_'), '').replace('_', '-')}"
        if name in known or not name.startswith("-") or own not in known:
            found.append(arg)
            continue
        renamed[name] = own
        found += [own + equals + value] if equals else [own, *filter(None, [value])]  # -n4
    for name, own in renamed.items():
        note(f"{name} is {own} here")
    return [*found, *args[end:]]


def several(made: Callable[[], list[click.Option]]) -> Callable[[Any], Any]:
    """The options that ``made`` makes."""
    return click.option("--several", cls=Several, made=made)


def fields(*names: str) -> Callable[[Any], Any]:
    """One option for each of these fields of `Request`; values go to `Request` as typed, which alone judges them."""
    return several(lambda: _options(names))


def fields_but(*leave_out: str) -> Callable[[Any], Any]:
    """One option for each field of `Request` that is one, without some."""

    def made() -> list[click.Option]:
        from ..request.request import fields

        return _options([name for name in fields() if name not in ELSEWHERE.union(leave_out)])

    return several(made)


def _options(names: Sequence[str]) -> list[click.Option]:
    from ..request.request import fields

    infos = fields()
    return [_option(name, infos[name]) for name in names]


def _option(name: str, info: FieldInfo) -> click.Option:
    from ..inputs.fields import choices, domain, kind

    if name in REPEATED:
        option, what = REPEATED[name]
        text = sentences(str(info.description), f"repeat it for several; {domain(info)}")
        options: dict[str, Any] = {"multiple": True, "metavar": what, "shell_complete": COMPLETED.get(what)}
        return click.Option([option, name], help=text, callback=lambda c, o, v: v or None, **options)
    pair, named, form = name == "interval", choices(info), kind(info)
    what = "NAME" if named else FILES.get(name) or {int: "N", float: "X", str: "TEXT"}.get(form, "X")
    possible = domain(info)
    text = sentences(str(info.description), possible)
    if form is str and not named:
        text = str(info.description)
    options = {"nargs": 2 if pair else 1, "metavar": "LOW HIGH" if pair else what}
    complete = names(lambda: named) if named else COMPLETED.get(what)
    if form is bool:
        options, text = {"is_flag": True}, str(info.description)
    return click.Option(
        [f"--{name.replace('_', '-')}", name], default=None, help=text, shell_complete=complete, **options
    )


def seen_through(command: Any) -> Any:
    """The option of every command that may cut what it has painted off its background."""
    return click.option(
        "--transparent", is_flag=True, help="Cut what is painted off its background, before other finishes."
    )(command)


def outputs(command: Any) -> Any:
    """The options of every command that paints from seeds."""
    command = seen_through(written(command))
    for option in (
        click.option("--keep-all", is_flag=True, help="Write the others of --best too, the best first."),
        click.option(
            "--best",
            metavar="N",
            default=None,
            help="Paint N for each picture and keep the one that fits the prompt best.",
        ),
        click.option("--count", metavar="N", default="1", help="How many pictures of each seed."),
        click.option(
            "--seed", "seeds", metavar="N", multiple=True, help="Where the noise starts; repeat it for several."
        ),
    ):
        command = option(command)
    return command


def written(command: Any) -> Any:
    """The options of every command that paints pictures."""
    command = placed(command)
    for option in (
        click.option(
            "--preview", is_flag=True, help="After each step write what is known so far to a file beside the output."
        ),
        click.option("--grid", is_flag=True, help="Also write all pictures as one sheet."),
    ):
        command = option(command)
    return command


def placed(command: Any) -> Any:
    """The options of every command that writes pictures."""
    command = computing(command)
    for option in (
        click.option("--force", is_flag=True, help="Overwrite an existing file instead of numbering the new one."),
        click.option("--svg", is_flag=True, help="Also write each picture as curves, an SVG beside it."),
        click.option("--json", "as_json", is_flag=True, help="One line of JSON for each picture on standard output."),
        click.option("-o", "--output", "output", metavar="PATH", default=None, shell_complete=files,
                     help="A file (.png .jpg .webp .svg), a folder, or a pattern"
                     " of {prompt} {seed} {index} {n} {model} {image} {other} {to}."),
    ):  # fmt: skip
        command = option(command)
    return command


def computing(command: Any) -> Any:
    """The options of every command that computes: on what, which the request does not say, nor how many threads."""
    for option in (
        click.option(
            "--threads", metavar="N", type=click.IntRange(1, MOST), expose_value=False, callback=_threads,
            envvar="DANQING_THREADS", show_envvar=True, help="At most so many of the processor; when not given,"
            " OMP_NUM_THREADS, as many as `danqing doctor --measure` found best, or all that it has.",
        ),
        click.option(
            "--kernels", metavar="WHICH", expose_value=False, callback=_kernels,
            help="danqing's own kernels on the CPU: on, off, or names of those to leave out; DANQING_KERNELS, or on,"
            " when not given.",
        ),
        click.option(
            "--offload", metavar="HOW", expose_value=False, callback=_offload,
            help="Networks in memory: all of a model (none), one after another (sequential), or by what is free (auto);"
            " DANQING_OFFLOAD, or auto, when not given.",
        ),
        click.option(
            "--device", metavar="NAME", default=None, help="cpu, cuda, cuda:1, mps; the best one when not given."
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _threads(ctx: click.Context, option: click.Parameter, count: int | None) -> None:
    """Have the process compute with so many threads, as somebody says or as was measured."""
    ctx.meta[SAID] = count is not None or "OMP_NUM_THREADS" in os.environ
    if count is None:
        use_measured()
    else:
        use_threads(count)


def use_measured() -> None:
    """Have the process compute with as many threads as were measured to be best, unless the environment says how
    many."""
    if "OMP_NUM_THREADS" not in os.environ and (count := chosen().threads):
        use_threads(count)


def use_threads(count: int) -> None:
    """Have the process compute with so many threads, whether torch is loaded yet or reads this when it loads."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(count)))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def as_recorded(record: Mapping[str, Any]) -> None:
    """Have the process compute with the threads and the kernels of a picture's record, as far as it has them and nobody
    says otherwise."""
    from ..run.native import switch
    from ..run.native.build import KERNELS
    from ..run.processor import allowed

    count, kernels = record.get("threads"), record.get("kernels")
    context = click.get_current_context()
    if type(count) is int and 0 < count <= allowed() and not context.meta[SAID]:
        use_threads(count)
    stated = context.get_parameter_source("kernels") is not ParameterSource.DEFAULT or os.environ.get(switch.VARIABLE)
    if isinstance(kernels, str) and not stated:
        switch.turn(",".join(name for name in KERNELS if name not in kernels.split()) or "on")


def _kernels(ctx: click.Context, option: click.Parameter, which: str | None) -> None:
    """Have the process compute with these kernels alone."""
    if which is not None:
        from ..run.native.switch import turn

        turn(which)


def _offload(ctx: click.Context, option: click.Parameter, how: str | None) -> None:
    """Have the process keep networks in memory so."""
    if how is not None:
        from ..run.offload import turn

        turn(how)


def number(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise InvalidInput(f"{name}: {text!r} was given; possible is a whole number from 1 to 10000")
    return int(text)
