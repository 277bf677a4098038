"""`gantrain prepare`."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.options import LeftOut, Patterns, Ranges, parse_size, patterns
from gantrain.core.console import say
from gantrain.core.named_values import named_values


@reports_errors
def prepare(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="folder of images")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    layout: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="pairs, folders, images, cityscapes, camvid, ade20k or coco; default: looked at",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, val or test, where the folder has several")
    ] = "train",
    labels: Annotated[
        list[str] | None, typer.Option(help="field that holds class ids; may be repeated")
    ] = None,
    instances: Annotated[str | None, typer.Option(help="field that holds ids of instances")] = None,
    masks: Annotated[
        list[str] | None, typer.Option(help="field that holds masks; may be repeated")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="number of classes; default: the largest id + 1")
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(
            help="id of no class, such as 255, which becomes the last class", min=0, max=65535
        ),
    ] = None,
    colors: Annotated[
        Path | None,
        typer.Option(
            help="table of the colours of label maps in RGB, a line R G B [NAME] for each class"
        ),
    ] = None,
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH, pixels")] = None,
    pattern: Patterns = None,
    ranges: Ranges = None,
    max_left_out: LeftOut = 0.5,
    workers: Annotated[int | None, typer.Option(help="threads; default: one a core")] = None,
) -> None:
    """Pack a folder of images as a data set, and print the report."""
    from gantrain.data.prepare.pack import prepare as pack
    from gantrain.data.prepare.range_options import parse_ranges

    kinds = dict.fromkeys(masks or (), "mask")
    if instances is not None:
        kinds[instances] = "instances"
    report = pack(
        source,
        out,
        layout=layout,
        split=split,
        labels=tuple(labels or ()),
        kinds=kinds,
        classes=classes,
        ignore=ignore,
        colors=colors,
        resize=parse_size(resize),
        patterns=patterns(pattern, context.args),
        max_left_out=max_left_out,
        ranges=parse_ranges(named_values("--range", ranges)),
        workers=workers,
    )
    for line in report.lines():
        say(line)
