"""`gantrain doctor`."""

from typing import Annotated

import typer

from gantrain.cli.error_report import reports_errors
from gantrain.cli.recipe_words import Words, read_words
from gantrain.core.errors import UserError


@reports_errors
def doctor(
    words: Words = None,
    verify: Annotated[bool, typer.Option("--verify", help="read every sample")] = False,
) -> None:
    """Check the machine, and a recipe where one is named."""
    from gantrain.cli.doctor import doctor as examine

    names, overrides = read_words(words or [])
    if len(names) > 1 or (overrides and not names):
        typed = " ".join(f"recipe={name}" for name in names) or overrides[0]
        allowed = "no words, or one recipe=NAME and its keys, as for gantrain train"
        raise UserError(f"found {typed:.100}, allowed: {allowed}")
    name = names[0] if names else None
    if not examine(name, tuple(overrides), verify):
        raise typer.Exit(1)
