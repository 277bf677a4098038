"""The `gantrain` command."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gantrain.console import cell, console, say
from gantrain.extensions import import_modules, split_imports
from gantrain.options import LeftOut, Patterns, named, parse_output_size, parse_seen_size, parse_size, patterns
from gantrain.reporting import reporting, telling

app = typer.Typer(
    help="Train image-to-image GANs.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def train_main(arguments: list[str]) -> int:
    """`recipe=NAME a.b=c [--import MODULE]`; returns the exit status."""
    from gantrain.api import train

    def work() -> None:
        names, overrides = _words(arguments)
        if len(names) != 1:
            raise ValueError("recipe: name one, such as recipe=quickstart; `gantrain recipes` lists them")
        train(names[0], *overrides)

    return reporting(work)


def _words(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Recipes and overrides on a command line, after importing what it names."""
    modules, words = split_imports(arguments)
    import_modules(modules)
    options = [w for w in words if w.startswith("-")]
    if options:
        raise ValueError(f"found {options[0]}, allowed: recipe=NAME a.b.c=value [--import MODULE]")
    for word in words:
        if "=" not in word:
            raise ValueError(f"found {word!r}, allowed: recipe=NAME a.b.c=value; did you mean recipe={word}?")
    names = [w.removeprefix("recipe=") for w in words if w.startswith("recipe=")]
    return names, [w for w in words if not w.startswith("recipe=")]


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    help="Train a recipe: gantrain train recipe=NAME a.b.c=value \\[--import MODULE]",
)
def train(context: typer.Context) -> None:
    import torch

    if torch.cuda.device_count() > 1 and "RANK" not in os.environ:
        say(
            f"{torch.cuda.device_count()} GPUs are visible, this command uses one; all of them: "
            f"accelerate launch -m gantrain.train {' '.join(context.args)}"
        )
    raise typer.Exit(train_main(context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    help="Check this machine, and a recipe on it: gantrain doctor \\[recipe=NAME a.b.c=value]",
)
@telling
def doctor(
    context: typer.Context, verify: Annotated[bool, typer.Option("--verify", help="read every sample")] = False
) -> None:
    from gantrain.doctor import doctor as examine

    names, overrides = _words(context.args)
    if not examine(names[0] if names else None, tuple(overrides), verify):
        raise typer.Exit(1)


@app.command(help="List the recipes, or print the JSON Schema of one.")
@telling
def recipes(schema: Annotated[bool, typer.Option("--schema", help="print JSON Schema")] = False) -> None:
    import json

    from rich.table import Table

    from gantrain import overrides
    from gantrain.recipe import schema as recipe_schema

    if schema:
        print(json.dumps(recipe_schema(), indent=2))
        return
    table = Table(box=None, show_header=False)
    for name in overrides.available():
        try:
            description = str(overrides.read(name).get("description", ""))
        except ValueError as e:
            description = str(e)  # a file of another kind must not hide the recipes
        table.add_row(f"[bold]{cell(name)}[/bold]", cell(description))
    console.print(table)


@app.command(help="Pack a data set into shards.", context_settings={"allow_extra_args": True})
@telling
def prepare(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="folder of images")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    layout: Annotated[
        str | None,
        typer.Option("--as", help="pairs, folders, images, cityscapes, camvid, ade20k or coco; default: looked at"),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test, where the folder has several")] = "train",
    labels: Annotated[list[str] | None, typer.Option(help="field that holds class ids; may be repeated")] = None,
    instances: Annotated[str | None, typer.Option(help="field that holds ids of instances")] = None,
    classes: Annotated[int | None, typer.Option(help="number of classes; default: the largest id + 1")] = None,
    ignore: Annotated[
        int | None, typer.Option(help="id of no class, such as 255, which becomes the last class", min=0, max=65535)
    ] = None,
    colors: Annotated[
        Path | None, typer.Option(help="table of the colours of label maps in RGB, a line R G B [NAME] for each class")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH, pixels")] = None,
    pattern: Patterns = None,
    max_left_out: LeftOut = 0.5,
    workers: Annotated[int | None, typer.Option(help="threads; default: one a core")] = None,
) -> None:
    from gantrain.data.prepare import prepare as pack

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


@app.command(help="Fetch one of pix2pix's or CycleGAN's archives, and unpack it where the recipes look for it.")
@telling
def download(
    name: Annotated[str, typer.Argument(help="such as facades or horse2zebra")],
    out: Annotated[Path, typer.Option(help="folder in which NAME is made")] = Path("data"),
    source: Annotated[Path | None, typer.Option(help="the archive, where it is on the disk already")] = None,
) -> None:
    from gantrain.data.download import download as get

    get(name, out, source)


@app.command(help="Make a data set of others' WebDataset tars, here or remote, where they lie.")
@telling
def index(
    tars: Annotated[list[str], typer.Argument(help="files, URLs, or patterns such as a-{00..12}.tar")],
    out: Annotated[Path, typer.Option(help="folder to make, for the index")],
    field: Annotated[list[str], typer.Option(help="NAME=EXTENSION[,EXTENSION], once for each field")],
    labels: Annotated[list[str] | None, typer.Option(help="field that holds class ids; may be repeated")] = None,
    classes: Annotated[int | None, typer.Option(help="number of classes; default: the largest id + 1")] = None,
    ignore: Annotated[int | None, typer.Option(help="id of no class, as in prepare", min=0, max=65535)] = None,
    max_left_out: LeftOut = 0.5,
) -> None:
    from gantrain.data.foreign import index_tars

    fields = {
        name: [e.removeprefix(".") for e in text.lower().split(",")] for name, text in named("--field", field).items()
    }
    options: dict[str, Any] = {"labels": labels or (), "classes": classes, "ignore": ignore}
    report = index_tars(tars, out, fields, **options, max_left_out=max_left_out)
    for line in report.lines():
        say(line)


@app.command(help="Measure a trained model on test sets, or a folder of images against another.")
@telling
def evaluate(
    checkpoint: Annotated[Path | None, typer.Argument(help="runs/NAME, or one of its checkpoints")] = None,
    data: Annotated[list[str] | None, typer.Option(help="[NAME=]SHARDS to test on; may be repeated")] = None,
    real: Annotated[Path | None, typer.Option(help="folder of real images, with --fake")] = None,
    fake: Annotated[Path | None, typer.Option(help="folder of images to compare with --real")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="such as fid,kid,lpips; default: those that need no weights")
    ] = None,
    weights: Annotated[list[str] | None, typer.Option(help="NETWORK=FILE, such as inception=FILE")] = None,
    border: Annotated[int | None, typer.Option(help="pixels at each edge left out of pairs' distances", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    from gantrain import evaluation
    from gantrain.launcher import die_with_launcher
    from gantrain.world import World

    if (checkpoint is None) == (real is None) or (real is None) != (fake is None) or (real and data):
        raise ValueError("give a checkpoint [--data SHARDS], or --real FOLDER and --fake FOLDER")
    options: dict[str, Any] = {} if border is None else {"border": border}
    if weights:
        options["weights"] = named("--weights", weights)
    if metrics is not None:
        options["metrics"] = evaluation.names(metrics)
    evaluation.check_out(out)
    die_with_launcher()
    with World(device, [], ".") as world:
        if checkpoint:
            tested: Mapping[str, str | None] = named(
                "--data", [text if "=" in text else f"{Path(text).absolute().name}={text}" for text in data or []]
            )
            results, about = evaluation.evaluate_checkpoint(world, checkpoint, tested, options)
        else:
            assert real
            assert fake
            results, about = evaluation.evaluate_folders(world, real, fake, options)
        if world.is_main:
            console.print(evaluation.table(results))
            if out:
                evaluation.write_json(out, results, about)


@app.command(help="Translate images with a trained model.")
@telling
def translate(
    checkpoint: Annotated[Path, typer.Argument(help="runs/NAME, one of its checkpoints, or a file to import")],
    inputs: Annotated[list[Path], typer.Argument(help="images, or folders of them")],
    out: Annotated[Path, typer.Option(help="folder for the results")],
    batch_size: Annotated[int, typer.Option(help="images of one size at once", min=1)] = 8,
    back: Annotated[bool, typer.Option("--back", help="target to source, by a model of cyclegan")] = False,
    style: Annotated[str | None, typer.Option(help="seed or image of the style, for spade's with styles")] = None,
    instances: Annotated[
        Path | None,
        typer.Option(help="folder of maps of instance ids, named as the images, for a model of their edges"),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="for the networks: native, trained or HEIGHTxWIDTH; default: trained if training resized"),
    ] = None,
    output_size: Annotated[str, typer.Option(help="of the results: input (the files' size) or network")] = "input",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: cuda if there is one")] = None,
) -> None:
    from gantrain.inference import load
    from gantrain.translate import translate_files

    seen_size = parse_seen_size(size)
    result_size = parse_output_size(output_size)
    model = load(checkpoint, device, back=back, style=style)
    translate_files(model, inputs, out, batch_size, instances, seen_size, result_size)


@app.command("import", help="Make a checkpoint of another project's networks.")
@telling
def import_(
    files: Annotated[list[Path], typer.Argument(help="state_dicts, such as latest_net_G.pth, or .safetensors")],
    out: Annotated[Path, typer.Option(help="checkpoint folder to make")],
    norm: Annotated[str | None, typer.Option(help="instance or none; default: the file's keys tell")] = None,
    dropout: Annotated[
        bool, typer.Option("--dropout", help="dropout and batch statistics stay on, as in pix2pix's own test")
    ] = False,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="trained on two sets, as CycleGAN and CUT")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="the source is a map of class ids")] = False,
    instances: Annotated[bool, typer.Option("--instances", help="its last channel is edges of instances")] = False,
    doublings: Annotated[
        str | None, typer.Option(help="of SPADE: normal, or more, as for Cityscapes, which the file doesn't tell")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH, pixels, that images are resized to in use; default: they are not")
    ] = None,
) -> None:
    from gantrain.importing import import_files

    found = import_files(
        files,
        out,
        norm=norm,
        dropout=dropout,
        unpaired=unpaired,
        labels=labels,
        instances=instances,
        doublings=doublings,
        resize=parse_size(resize),
    )
    for line in found:
        say(line)
