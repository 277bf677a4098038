"""`gantrain import`."""

from pathlib import Path
from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.options import parse_size
from gantrain.core.console import say

Norm = Annotated[
    str | None,
    typer.Option(help="instance or none; default: instance norm if the file has biases before it"),
]
Dropout = Annotated[
    bool,
    typer.Option(
        "--dropout",
        help=(
            "dropout stays on, where pix2pix's PyTorch code has it, as in test.py without --eval;"
            " default: off"
        ),
    ),
]
BatchStatistics = Annotated[
    bool,
    typer.Option(
        "--batch-statistics",
        help=(
            "batch norm takes each image's statistics, as in pix2pix's test.py without --eval;"
            " default: the file's"
        ),
    ),
]
Unpaired = Annotated[
    bool, typer.Option("--unpaired", help="trained on two sets, as CycleGAN and CUT")
]
Labels = Annotated[bool, typer.Option("--labels", help="the source is a map of class ids")]
Instances = Annotated[
    bool, typer.Option("--instances", help="its last channel is the instance boundary map")
]
Upsampling = Annotated[
    str | None,
    typer.Option(
        help="normal or more, SPADE's --num_upsampling_layers; required where the file fits both"
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        help="HEIGHTxWIDTH, pixels, that images are resized to in use; default: they are not"
    ),
]


@reports_errors
def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="state_dicts, such as latest_net_G.pth, or .safetensors")
    ],
    out: Annotated[Path, typer.Option(help="checkpoint folder to make")],
    norm: Norm = None,
    dropout: Dropout = False,
    batch_statistics: BatchStatistics = False,
    unpaired: Unpaired = False,
    labels: Labels = False,
    instances: Instances = False,
    upsampling: Upsampling = None,
    resize: Resize = None,
) -> None:
    """Make a checkpoint of another project's networks, and print what it assumes."""
    from gantrain.importers import import_file
    from gantrain.importers.import_options import ImportOptions

    options = ImportOptions(
        norm=norm,
        dropout=dropout,
        batch_statistics=batch_statistics,
        unpaired=unpaired,
        labels=labels,
        instances=instances,
        upsampling=upsampling,
        resize=parse_size(resize),
    )
    for line in import_file.import_files(files, out, options):
        say(line)
