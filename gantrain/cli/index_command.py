"""`gantrain index`."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.options import LeftOut, Ranges
from gantrain.core.console import say
from gantrain.core.named_values import named_values


@reports_errors
def index(
    tars: Annotated[
        list[str], typer.Argument(help="files, URLs, or patterns such as a-{00..12}.tar")
    ],
    out: Annotated[Path, typer.Option(help="folder to make, for the index")],
    field: Annotated[
        list[str], typer.Option(help="NAME=EXTENSION[,EXTENSION], once for each field")
    ],
    labels: Annotated[
        list[str] | None, typer.Option(help="field that holds class ids; may be repeated")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="number of classes; default: the largest id + 1")
    ] = None,
    ignore: Annotated[
        int | None, typer.Option(help="id of no class, as in prepare", min=0, max=65535)
    ] = None,
    ranges: Ranges = None,
    max_left_out: LeftOut = 0.5,
) -> None:
    """Make a data set of tars that others packed, and print the report."""
    from gantrain.data.index_tars import index_tars
    from gantrain.data.prepare.range_options import parse_ranges

    fields = {}
    for name, text in named_values("--field", field).items():
        fields[name] = [extension.removeprefix(".") for extension in text.lower().split(",")]
    report = index_tars(
        tars,
        out,
        fields,
        labels=labels or (),
        classes=classes,
        ignore=ignore,
        ranges=parse_ranges(named_values("--range", ranges)),
        max_left_out=max_left_out,
    )
    for line in report.lines():
        say(line)
