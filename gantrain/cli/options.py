"""Options that several commands share, and the parsing of their values.

This module imports nothing heavy.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from gantrain.core.errors import UserError

Size = tuple[int, int]  # height, width
MAX_DIGITS = 9  # of a number of pixels
Best = Annotated[
    bool,
    typer.Option(
        "--best", help="take a run's best checkpoint by evaluate.best_by, not its latest one"
    ),
]
LeftOut = Annotated[
    float, typer.Option(help="largest fraction of samples that may be left out", min=0, max=1)
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="module of own methods, networks or losses; may be repeated",
    ),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="FIELD=LOW..HIGH",
        help="values of 16 bits or floats that networks see as -1 and 1, or auto; may be repeated",
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "FIELD=PATTERN of files' names, {} for what fields share: label={}_label; may be"
            " repeated"
        )
    ),
]


def parse_size(text: str | None, option: str = "--resize", also: str = "") -> Size | None:
    """Return `256x512` as (height, width), and `256` as (256, 256).

    option: its name, for the message. also: what else it allows. Raises UserError.
    """
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(_is_length(number) for number in numbers):
        allowed = f"{also}HEIGHTxWIDTH in pixels, such as 256x512, or one number for both"
        raise UserError(f"{option}: found {text!r:.40}, allowed: {allowed}")
    return int(numbers[0]), int(numbers[-1])


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_DIGITS and int(text) > 0


def parse_seen_size(text: str | None) -> Literal["native", "trained"] | Size | None:
    """Return the value of `--size` of `gantrain translate`. Raises UserError."""
    if text == "native":
        return "native"
    if text == "trained":
        return "trained"
    return parse_size(text, "--size", "native, trained or ")


def parse_output_size(text: str) -> Literal["input", "network"]:
    """Return the value of `--output-size` of `gantrain translate`. Raises UserError."""
    if text == "input":
        return "input"
    if text == "network":
        return "network"
    raise UserError(f"--output-size: found {text!r:.40}, allowed: input or network")


def parse_inputs(texts: Iterable[str]) -> dict[str, Path]:
    """Return the folders by role, from the values of `--input ROLE=FOLDER`. Raises UserError."""
    folders: dict[str, Path] = {}
    for text in texts:
        role, _, folder = text.partition("=")
        if not role.isidentifier() or not folder:
            raise UserError(
                f"--input: found {text!r}, allowed: ROLE=FOLDER, such as --input instances=ids"
            )
        if role in folders:
            raise UserError(f"--input {role}: found two folders, allowed: one")
        folders[role] = Path(folder)
    return folders


def patterns(texts: list[str] | None, more: list[str]) -> dict[str, str]:
    """Return the patterns by field, from the values of `--pattern NAME=PATTERN`.

    more: the words behind the last option, which may be further patterns. Raises UserError.
    """
    from gantrain.data.prepare.patterns import parse_patterns

    unknown = [word for word in more if not texts or "{}" not in word]
    if unknown:
        raise UserError(
            f"found {unknown[0]}, allowed: one folder of images; another option may be misspelt"
        )
    return parse_patterns([*(texts or []), *more])
