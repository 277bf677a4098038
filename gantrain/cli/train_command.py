"""`gantrain train`, and the same job under a launcher."""

import os
from typing import Annotated

import typer

from gantrain.cli.error_report import reporting
from gantrain.cli.recipe_words import Words, read_words
from gantrain.cli.shipped_commands import show_train_help
from gantrain.core.console import say
from gantrain.core.errors import UserError


def train_main(arguments: list[str]) -> int:
    """Train by the words `recipe=NAME a.b=c [--import MODULE]`, and return the exit status."""
    from gantrain.training.start import train

    def work() -> None:
        names, overrides = read_words(arguments)
        if len(names) != 1:
            raise UserError(
                "recipe: name one, such as recipe=quickstart; `gantrain recipes` lists them"
            )
        train(names[0], *overrides)

    return reporting(work)


def train(
    words: Words = None,
    wanted_help: Annotated[
        bool,
        typer.Option(
            "--help", "-h", help="show this message", is_eager=True, callback=show_train_help
        ),
    ] = False,
) -> None:
    """Train a recipe in this process."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus > 1 and "RANK" not in os.environ:
        say(
            f"{gpus} GPUs are visible, this command uses one; all of them: "
            f"accelerate launch -m gantrain.train {' '.join(words or [])}"
        )
    raise typer.Exit(train_main(words or []))
