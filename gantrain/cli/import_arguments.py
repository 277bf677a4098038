"""The options of `gantrain import` on the command line. Imports nothing heavy."""

from typing import Annotated

import typer

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
    bool, typer.Option("--instances", help="its last channel is edges of instances")
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
