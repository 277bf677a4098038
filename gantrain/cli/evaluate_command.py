"""`gantrain evaluate`: the command line. Its work is in run_evaluate.py."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.options import Best


@reports_errors
def evaluate(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(help="runs/NAME, or one of its checkpoints; several are compared"),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]FOLDER to test on, of images or prepared; may be repeated"),
    ] = None,
    data_target: Annotated[
        list[str] | None,
        typer.Option(
            help="[NAME=]FOLDER of the targets, for unpaired models; --data has the sources"
        ),
    ] = None,
    real: Annotated[Path | None, typer.Option(help="folder of real images, with --fake")] = None,
    fake: Annotated[
        Path | None, typer.Option(help="folder of images to compare with --real")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="such as fid,kid,lpips; default: those that need no weights")
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="NETWORK=FILE, such as inception=FILE")
    ] = None,
    best: Best = False,
    crop_border: Annotated[
        int | None, typer.Option(help="pixels at each edge left out of pairs' distances", min=0)
    ] = None,
    values_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="LOW..HIGH",
            help="values of black and white in folders of 16-bit images or floats",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Measure models or folders, print tables, and exit with the status."""
    from gantrain.cli.run_evaluate import run_evaluate

    status = run_evaluate(
        checkpoints or [],
        data=data,
        data_target=data_target,
        best=best,
        real=real,
        fake=fake,
        metrics=metrics,
        weights=weights,
        crop_border=crop_border,
        values_range=values_range,
        out=out,
        device=device,
    )
    raise typer.Exit(status)
