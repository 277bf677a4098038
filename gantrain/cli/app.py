"""The `gantrain` command: its subcommands in the order in which the help lists them."""

from typing import Annotated

import typer

from gantrain.cli.bench_command import bench
from gantrain.cli.doctor_command import doctor
from gantrain.cli.download_command import download
from gantrain.cli.evaluate_command import evaluate
from gantrain.cli.import_command import import_files
from gantrain.cli.index_command import index
from gantrain.cli.prepare_command import prepare
from gantrain.cli.shipped_commands import launchers, recipes_app, show_version
from gantrain.cli.train_command import train
from gantrain.cli.translate_command import translate

app = typer.Typer(
    help="Train image-to-image GANs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="print gantrain's version", is_eager=True, callback=show_version
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.command(
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    help="Train a recipe: gantrain train recipe=NAME a.b.c=value \\[--import MODULE]",
)(train)
app.command(
    context_settings={"ignore_unknown_options": True},
    help="Check this machine, and a recipe on it: gantrain doctor \\[recipe=NAME a.b.c=value]",
)(doctor)
app.command(
    help="Measure the speed of a recipe beside other code: gantrain bench NAME \\[a.b.c=value]",
)(bench)
app.add_typer(recipes_app, name="recipes")
app.command(help="List the launchers for GPUs and clusters, or copy some.")(launchers)
app.command(help="Pack a data set into shards.", context_settings={"allow_extra_args": True})(
    prepare
)
app.command(
    help="Fetch one of pix2pix's or CycleGAN's archives, and unpack it where the recipes expect it."
)(download)
app.command(help="Make a data set of WebDataset tars that others packed; the tars stay in place.")(
    index
)
app.command(
    help="Measure a trained model on test sets, compare several models, or compare two folders."
)(evaluate)
app.command(help="Translate images with a trained model.")(translate)
app.command("import", help="Make a checkpoint of another project's networks.")(import_files)
