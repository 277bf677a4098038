"""`gantrain translate`."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.options import Best, parse_inputs, parse_output_size, parse_seen_size


@reports_errors
def translate(
    checkpoint: Annotated[
        Path, typer.Argument(help="runs/NAME, one of its checkpoints, or a file to import")
    ],
    inputs: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    out: Annotated[Path, typer.Option(help="folder for the results")],
    batch_size: Annotated[int, typer.Option(help="images of one size at once", min=1)] = 8,
    best: Best = False,
    back: Annotated[
        bool,
        typer.Option("--back", help="target to source, by a model that learnt both directions"),
    ] = False,
    style: Annotated[
        str | None, typer.Option(help="seed or image of the style, for spade's with styles")
    ] = None,
    further: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="ROLE=FOLDER, such as instances=ids: files named as the images; may be repeated",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help=(
                "for the networks: native, trained or HEIGHTxWIDTH; default: trained if training"
                " resized"
            )
        ),
    ] = None,
    output_size: Annotated[
        str, typer.Option(help="of the results: input (the files' size) or network")
    ] = "input",
    precision: Annotated[
        str,
        typer.Option(
            help="of the networks: auto (bf16 on GPUs, and on CPUs if faster), fp32 or bf16"
        ),
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace results in --out")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; default: cuda if there is one")
    ] = None,
) -> None:
    """Translate files with a trained model.

    The exit status is 1 where some of the images cannot be read or need too much memory, and 2
    where nothing can be translated.
    """
    from gantrain.inference.loading import load
    from gantrain.inference.translate_files import translate_files

    seen_size = parse_seen_size(size)
    result_size = parse_output_size(output_size)
    model = load(checkpoint, device, back=back, style=style, best=best, precision=precision)
    translated = translate_files(
        model,
        inputs,
        out,
        batch_size=batch_size,
        further=parse_inputs(further or ()),
        size=seen_size,
        output_size=result_size,
        overwrite=overwrite,
    )
    if translated.problems:
        raise typer.Exit(1)
