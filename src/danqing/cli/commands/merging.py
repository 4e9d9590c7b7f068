"""``danqing merge``: files of weights to one."""

from __future__ import annotations

import click

from ...lang.spoken import sentences
from ..completion import files
from ..options import Examples
from ..screen import echo, leaving, note, screen


class EveryMethod(Examples):
    """Lists the methods and their parameters in its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ...inputs.fields import domain
        from ...merge import blocks, methods

        with formatter.section("Methods"):
            formatter.write_dl([(name, methods.does(kind)) for name, kind in methods.METHODS.usable().items()])
        for name, kind in methods.METHODS.usable().items():
            if fields := kind.model_fields:
                with formatter.section(name):
                    formatter.write_dl(
                        [
                            (field, sentences(str(info.description), f"possible: {domain(info)}"))
                            for field, info in fields.items()
                        ]
                    )
        with formatter.section("Weights"):
            formatter.write_text(
                "One number for all; or one for each block, BASE,IN00,...,M00,OUT00,...; or a preset: "
                f"{', '.join(blocks.PRESETS)}. Then blocks by their names: 0.5,VAE=0,IN00-IN05=0.2."
            )
        super().format_epilog(ctx, formatter)


@click.command(
    "merge",
    cls=EveryMethod,
    short_help="Make one model of several, put LoRAs into it, or take one out.",
    epilog="""
danqing merge a.safetensors b.safetensors -o ab.safetensors --weight 0.3
danqing merge a.ckpt b.safetensors -o ab.safetensors --weight grad-v,BASE=0.5 --dtype fp16
danqing merge inpainting mine sd15 -o mine-inpainting.safetensors --method add-difference
danqing merge sd15 one two -o three.safetensors --method ties:density=0.3 --weight 0.8 --weight 0.5
danqing merge sd15 detail.safetensors -o detailed.safetensors --method lora --weight 0.7
danqing merge sd15 mine -o mine-lora.safetensors --method extract:rank=32
danqing merge large.safetensors -o small.safetensors --method resize:energy=0.95
""",
)
@click.argument("models", nargs=-1, required=True, metavar="FILE...", shell_complete=files)
@click.option("-o", "--output", metavar="FILE", required=True, shell_complete=files, help="What is made, .safetensors.")
@click.option(
    "--method", metavar="NAME", default="", help="How, NAME:PARAMETER=VALUE:...; sum of two files where not given."
)
@click.option("--weight", "weights", metavar="X", multiple=True,
              help="Of the files behind the first; repeat it for one each.")  # fmt: skip
@click.option("--dtype", metavar="NAME", default=None, help="fp16, bf16 or fp32; as in the first file when not given.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def merge(
    models: tuple[str, ...], output: str, method: str, weights: tuple[str, ...], dtype: str | None, force: bool
) -> None:
    """Make one file of weights of each FILE: a checkpoint or any other weights, a folder of a model, or a LoRA.

    The first is A, the others are B, C, ...; each stays as it is. Files of different families are refused.
    """
    from . import listing

    with screen(quiet=False) as screened:
        screened.waiting("merging")
        with leaving(screened):
            from ...merge import merge as merging
        done = merging.merge(models, output, method=method, weights=weights, dtype=dtype, force=force)
    for word in done.notes:
        note(word)
    echo(f"{done.path}  {listing.size(done.size)}")
