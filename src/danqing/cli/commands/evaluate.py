"""``danqing evaluate``: a painter measured on what it never saw, beside real art."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ...errors import InvalidInput
from ...lang.spoken import term
from ..completion import files, models
from ..options import Examples, computing
from ..screen import echo, leaving, say, screen


@click.command(
    "evaluate",
    cls=Examples,
    short_help="Measure how well a model paints what it is asked for.",
    epilog="""
danqing evaluate danqing-mini                       2,164 pictures, an hour or two on two cores
danqing evaluate danqing-mini --pictures 300        a milestone
danqing evaluate danqing-mini --seen 23,20,21       the same, with what a person saw on the sheet of prompts
danqing evaluate path/of/a/model --art data/ -o evaluation/ --json
""",
)
@click.argument("model", shell_complete=models)
@click.option(
    "--art",
    metavar="FOLDER",
    shell_complete=files,
    default="data",
    show_default=True,
    help="Of real art: `python -m experiments.data`.",
)
@click.option(
    "--pictures",
    metavar="N",
    type=int,
    default=2100,
    show_default=True,
    help="How many are painted beside the 64 fixed prompts.",
)
@click.option(
    "--seen",
    metavar="R,H,N",
    default=None,
    help="How many of the fixed prompts are recognisable, half so, and not, as you see them.",
)
@computing
@click.option("--json", "as_json", is_flag=True, help="All figures as one line of JSON.")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    shell_complete=files,
    default=None,
    help="For evaluation.json, index.html and what is painted; evaluation/MODEL when not given.",
)
@click.option("--beside", is_flag=True, help="Also write evaluation.json beside the model's weights.")
def evaluate(
    model: str,
    art: str,
    pictures: int,
    seen: str | None,
    device: str | None,
    as_json: bool,
    output: str | None,
    beside: bool,
) -> None:
    """Have MODEL paint what is held out of the art, and hold it against the art itself.

    Measured are subject, style and colour; two things, where they are and how many; Chinese against English; portraits;
    the Fréchet distance, precision and recall; copies of what was trained on; and 64 fixed prompts, on one sheet for
    you to look at. Every figure has its interval, and what real art gets by the same judge. What was interrupted goes
    on from where it was.
    """
    eye = None if seen is None else _numbers(seen)
    with screen(quiet=as_json) as show:
        show.waiting("loading")
        with leaving(show):
            from ...measure.evaluation import evaluate as evaluating
            from ...measure.evaluation import page
            from ...store.find import find
        described = find(model)
        out = Path(os.path.expanduser(output or os.path.join("evaluation", described.name)))
        found = None
        for said in evaluating.evaluate(
            model, Path(os.path.expanduser(art)), out, pictures=pictures, seen=eye, device=device
        ):
            if isinstance(said, evaluating.Evaluation):
                found = said
            elif show.progress is not None:
                show.progress.update(show.task, description=term(said.what), completed=said.done, total=said.of)
    assert found is not None
    where = page.write(found, out)
    if beside:
        page.write_figures(found, described.folder)
    if as_json:
        say(found.plain())
    else:
        echo(page.markdown(found.plain()))
        echo(f"\n{where}")


def _numbers(seen: str) -> list[int]:
    try:
        return [int(part) for part in seen.split(",")]
    except ValueError:
        raise InvalidInput(f"seen: {seen!r} was given; possible are three whole numbers, as 23,20,21") from None
