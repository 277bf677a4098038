"""The `gantrain` command."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gantrain.cli import import_arguments
from gantrain.cli.command_words import check_words
from gantrain.cli.error_report import reporting, reports_errors
from gantrain.cli.options import (
    Best,
    LeftOut,
    Patterns,
    parse_output_size,
    parse_seen_size,
    parse_size,
    patterns,
)
from gantrain.cli.shipped_commands import (
    complete_words,
    launchers,
    recipes_app,
    show_train_help,
    show_version,
)
from gantrain.core.console import say
from gantrain.core.extensions import import_modules, split_imports
from gantrain.core.named_values import named_values

app = typer.Typer(
    help="Train image-to-image GANs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The words `recipe=NAME a.b.c=value` of a command.
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="recipe=NAME a.b.c=value", autocompletion=complete_words, show_default=False
    ),
]


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="print gantrain's version", is_eager=True, callback=show_version
        ),
    ] = False,
) -> None:
    """Options before a command."""


def train_main(arguments: list[str]) -> int:
    """`recipe=NAME a.b=c [--import MODULE]`; returns the exit status."""
    from gantrain.training.start import train

    def work() -> None:
        names, overrides = _words(arguments)
        if len(names) != 1:
            raise ValueError(
                "recipe: name one, such as recipe=quickstart; `gantrain recipes` lists them"
            )
        train(names[0], *overrides)

    return reporting(work)


def _words(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Recipes and overrides on a command line, after importing what it names."""
    modules, words = split_imports(arguments)
    import_modules(modules)
    check_words(words)
    names = [w.removeprefix("recipe=") for w in words if w.startswith("recipe=")]
    return names, [w for w in words if not w.startswith("recipe=")]


@app.command(
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    help="Train a recipe: gantrain train recipe=NAME a.b.c=value \\[--import MODULE]",
)
def train(
    words: Words = None,
    wanted_help: Annotated[
        bool,
        typer.Option(
            "--help", "-h", help="show this message", is_eager=True, callback=show_train_help
        ),
    ] = False,
) -> None:
    import torch

    if torch.cuda.device_count() > 1 and "RANK" not in os.environ:
        say(
            f"{torch.cuda.device_count()} GPUs are visible, this command uses one; all of them: "
            f"accelerate launch -m gantrain.train {' '.join(words or [])}"
        )
    raise typer.Exit(train_main(words or []))


@app.command(
    context_settings={"ignore_unknown_options": True},
    help="Check this machine, and a recipe on it: gantrain doctor \\[recipe=NAME a.b.c=value]",
)
@reports_errors
def doctor(
    words: Words = None,
    verify: Annotated[bool, typer.Option("--verify", help="read every sample")] = False,
) -> None:
    from gantrain.cli.doctor import doctor as examine

    names, overrides = _words(words or [])
    if len(names) > 1 or (overrides and not names):
        found = f"recipe={' recipe='.join(names)}" if names else overrides[0]
        allowed = "no words, or one recipe=NAME and its keys, as for gantrain train"
        raise ValueError(f"found {found:.100}, allowed: {allowed}")
    if not examine(names[0] if names else None, tuple(overrides), verify):
        raise typer.Exit(1)


app.add_typer(recipes_app, name="recipes")
app.command(help="List the launchers for GPUs and clusters, or copy some.")(launchers)


@app.command(help="Pack a data set into shards.", context_settings={"allow_extra_args": True})
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
    max_left_out: LeftOut = 0.5,
    workers: Annotated[int | None, typer.Option(help="threads; default: one a core")] = None,
) -> None:
    from gantrain.data.prepare.pack import prepare as pack

    report = pack(
        source,
        out,
        layout=layout,
        split=split,
        labels=tuple(labels or ()),
        instances=instances,
        classes=classes,
        ignore=ignore,
        colors=colors,
        resize=parse_size(resize),
        patterns=patterns(pattern, context.args),
        max_left_out=max_left_out,
        workers=workers,
    )
    for line in report.lines():
        say(line)


@app.command(
    help=(
        "Fetch one of pix2pix's or CycleGAN's archives, and unpack it where the recipes look"
        " for it."
    )
)
@reports_errors
def download(
    name: Annotated[str, typer.Argument(help="such as facades or horse2zebra")],
    out: Annotated[Path, typer.Option(help="folder in which NAME is made")] = Path("data"),
    source: Annotated[
        Path | None, typer.Option(help="the archive, where it is on the disk already")
    ] = None,
) -> None:
    from gantrain.data.download import download as get

    get(name, out, source)


@app.command(help="Make a data set of others' WebDataset tars, here or remote, where they lie.")
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
    max_left_out: LeftOut = 0.5,
) -> None:
    from gantrain.data.index_tars import index_tars

    fields = {}
    for name, text in named_values("--field", field).items():
        fields[name] = [extension.removeprefix(".") for extension in text.lower().split(",")]
    options: dict[str, Any] = {"labels": labels or (), "classes": classes, "ignore": ignore}
    report = index_tars(tars, out, fields, **options, max_left_out=max_left_out)
    for line in report.lines():
        say(line)


@app.command(
    help=(
        "Measure a trained model on test sets, compare several, or a folder of images with another."
    )
)
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
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    from gantrain.cli.evaluate_command import run_evaluate

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
        out=out,
        device=device,
    )
    raise typer.Exit(status)


@app.command(help="Translate images with a trained model.")
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
        bool, typer.Option("--back", help="target to source, by a model of cyclegan")
    ] = False,
    style: Annotated[
        str | None, typer.Option(help="seed or image of the style, for spade's with styles")
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option(
            help="folder of maps of instance ids, named as the images, for a model of their edges"
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace results in --out")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; default: cuda if there is one")
    ] = None,
) -> None:
    from gantrain.inference.translate_files import translate_files
    from gantrain.inference.translator import load

    seen_size = parse_seen_size(size)
    result_size = parse_output_size(output_size)
    model = load(checkpoint, device, back=back, style=style, best=best)
    translate_files(
        model, inputs, out, batch_size, instances, seen_size, result_size, overwrite=overwrite
    )


@app.command("import", help="Make a checkpoint of another project's networks.")
@reports_errors
def import_(
    files: Annotated[
        list[Path], typer.Argument(help="state_dicts, such as latest_net_G.pth, or .safetensors")
    ],
    out: Annotated[Path, typer.Option(help="checkpoint folder to make")],
    norm: import_arguments.Norm = None,
    dropout: import_arguments.Dropout = False,
    batch_statistics: import_arguments.BatchStatistics = False,
    unpaired: import_arguments.Unpaired = False,
    labels: import_arguments.Labels = False,
    instances: import_arguments.Instances = False,
    upsampling: import_arguments.Upsampling = None,
    resize: import_arguments.Resize = None,
) -> None:
    from gantrain.importers.import_file import import_files
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
    for line in import_files(files, out, options):
        say(line)
