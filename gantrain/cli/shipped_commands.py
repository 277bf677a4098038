"""The commands that show what comes with gantrain: `gantrain recipes` and `gantrain launchers`."""

import os
from pathlib import Path
from typing import Annotated

import typer

import gantrain
from gantrain.cli.error_report import reporting, reports_errors
from gantrain.cli.options import Imports
from gantrain.core.console import cell, console, say
from gantrain.core.extensions import import_modules

recipes_app = typer.Typer(help="List the recipes, show one, or print the JSON Schema of one.")


@recipes_app.callback(invoke_without_command=True)
def recipes(
    context: typer.Context,
    schema: Annotated[bool, typer.Option("--schema", help="print JSON Schema")] = False,
    own_modules: Imports = None,
) -> None:
    if context.invoked_subcommand is None:
        _list_recipes(schema, own_modules=own_modules)
        return
    status = reporting(lambda: import_modules(own_modules or ()))
    if status:
        raise typer.Exit(status)


@reports_errors
def _list_recipes(schema: bool) -> None:
    import json

    from rich.table import Table

    from gantrain.recipe import recipe_files

    if schema:
        from gantrain.recipe.schema import schema as recipe_schema

        print(json.dumps(recipe_schema(), indent=2))
        return
    table = Table(box=None, show_header=False)
    for name in recipe_files.available():
        try:
            description = str(recipe_files.read(name).get("description", ""))
        except ValueError as e:
            description = str(e)  # a file of another kind must not hide the recipes
        table.add_row(f"[bold]{cell(name)}[/bold]", cell(description))
    console.print(table)


@recipes_app.command("show", help="Print all settings of a recipe as YAML, with comments.")
@reports_errors
def show(
    name: Annotated[str, typer.Argument(help="a recipe's name or file")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="a.b.c=value", help="changes to show")
    ] = None,
) -> None:
    from gantrain.cli.shown_recipes import annotated
    from gantrain.recipe.schema import load

    print(annotated(load(name.removeprefix("recipe="), changes or [])), end="")


@reports_errors
def launchers(
    name: Annotated[
        str | None, typer.Argument(help="a launcher, a folder of them, or all; default: list them")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder to copy to")] = Path("launchers"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace files that exist already")
    ] = False,
) -> None:
    from rich.table import Table

    from gantrain.cli.shipped_launchers import copy_launchers
    from gantrain.cli.shipped_launchers import launchers as shipped

    if name is not None:
        for copy in copy_launchers(name, out, overwrite):
            say(f"copied {copy}")
        if out != Path("launchers"):
            say(f"paths in the copies that began with launchers/ begin with {out}/")
        return
    table = Table(box=None, show_header=False)
    for launcher, purpose in shipped().items():
        table.add_row(f"[bold]{cell(launcher)}[/bold]", cell(purpose))
    console.print(table)
    say("copy one to ./launchers: gantrain launchers NAME; all of them: gantrain launchers all")


def show_version(wanted: bool) -> None:
    """Print the version, and end."""
    if wanted:
        typer.echo(f"gantrain {gantrain.__version__}")
        raise typer.Exit()


def show_train_help(context: typer.Context, wanted: bool) -> None:
    """Print the help of `gantrain train` with the settings that most runs change."""
    if not wanted:
        return
    from rich.table import Table

    from gantrain.cli.shown_recipes import everyday_settings

    typer.echo(context.get_help())
    table = Table(
        "key",
        "meaning",
        "default",
        box=None,
        title="Everyday settings, and their defaults where a recipe has no other",
        title_justify="left",
    )
    for key, meaning, default in everyday_settings():
        table.add_row(cell(key), cell(meaning), cell(default))
    console.print(table)
    say("All settings of a recipe: gantrain recipes show NAME. The recipes: gantrain recipes.")
    raise typer.Exit()


def complete_words(incomplete: str) -> list[str]:
    """Return the completions `recipe=NAME` of an incomplete word of `gantrain train`.

    Bash takes `=` for the end of a word, so that it completes the name alone.
    """
    from gantrain.recipe import recipe_files

    if incomplete == "=" or _follows_recipe(incomplete):
        start = incomplete.removeprefix("=")
        return [name for name in recipe_files.available() if name.startswith(start)]
    words = [f"recipe={name}" for name in recipe_files.available()]
    return [word for word in words if word.startswith(incomplete)]


def _follows_recipe(incomplete: str) -> bool:
    words = os.environ.get("COMP_WORDS", "").split()
    if words and words[-1] == incomplete:
        words = words[:-1]
    return words[-2:] == ["recipe", "="]
