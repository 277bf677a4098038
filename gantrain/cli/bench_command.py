"""`gantrain bench`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.recipe_words import read_words
from gantrain.core.errors import UserError


@reports_errors
def bench(
    recipe: Annotated[str, typer.Argument(help="a recipe's name or path")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="a.b.c=value", show_default=False)
    ] = None,
    peer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="a checkout of pytorch-CycleGAN-and-pix2pix, whose code runs; default: plain loop",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="of each measurement, in turns", min=1)] = 5,
    steps: Annotated[int, typer.Option(help="in each repeat", min=1)] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="also write JSON")] = None,
) -> None:
    """Measure training's speed beside other code.

    The step, the loader, and both together take turns with a loop in plain PyTorch, or with the
    checkout of --peer. The data are synthetic unless the words name others.
    """
    from gantrain.bench.bench_recipe import load_for_bench
    from gantrain.bench.run_bench import run_bench
    from gantrain.core.files import write_text
    from gantrain.evaluation.evaluate_options import check_out

    name = recipe.removeprefix("recipe=")
    names, overrides = read_words([f"recipe={name}", *(words or [])])
    if len(names) != 1:
        raise UserError(f"found the recipes {' and '.join(names):.100}, allowed: one")
    check_out(out)
    content = run_bench(load_for_bench(name, overrides), peer=peer, repeats=repeats, steps=steps)
    if out is not None:
        try:
            write_text(out, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"--out: cannot write {out} ({error.strerror})") from None
