"""Reads the words `recipe=NAME a.b.c=value` that several commands take."""

from typing import Annotated

import typer

from gantrain.cli.command_words import check_words
from gantrain.cli.shipped_commands import complete_words
from gantrain.core.extensions import import_modules, split_imports

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="recipe=NAME a.b.c=value", autocompletion=complete_words, show_default=False
    ),
]


def read_words(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Import the modules that a command line names, and return its recipes and overrides.

    Raises UserError for words that are neither.
    """
    modules, words = split_imports(arguments)
    import_modules(modules)
    check_words(words)
    names = []
    overrides = []
    for word in words:
        if word.startswith("recipe="):
            names.append(word.removeprefix("recipe="))
        else:
            overrides.append(word)
    return names, overrides
