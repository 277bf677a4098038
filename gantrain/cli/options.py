"""Options that several commands share, and their values from what a user writes. Imports nothing heavy."""

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from gantrain.core.wording import option

Size = tuple[int, int]  # height, width
MAX_DIGITS = 9  # of a number of pixels
Best = Annotated[
    bool, typer.Option("--best", help="take a run's best checkpoint by evaluate.best_by, not its latest one")
]
LeftOut = Annotated[float, typer.Option(help="largest fraction of samples that may be left out", min=0, max=1)]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", metavar="MODULE", help="module of own methods, networks or losses; may be repeated"),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(help="FIELD=PATTERN of files' names, {} for what fields share: label={}_label; may be repeated"),
]


def parse_size(text: str | None, option: str = "--resize", also: str = "") -> Size | None:
    """`256x512` as (height, width), and `256` as (256, 256).

    option: its name, for the message. also: what else it allows. Raises ValueError.
    """
    if text is None:
        return None
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(_is_length(number) for number in numbers):
        allowed = f"{also}HEIGHTxWIDTH in pixels, such as 256x512"
        raise ValueError(f"{option}: found {text!r:.40}, allowed: {allowed}")
    return int(numbers[0]), int(numbers[-1])


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_DIGITS and int(text) > 0


def parse_seen_size(text: str | None) -> Literal["native", "trained"] | Size | None:
    """`--size` of `gantrain translate`. Raises ValueError."""
    if text in ("native", "trained"):
        return cast(Literal["native", "trained"], text)
    return parse_size(text, "--size", "native, trained or ")


def parse_output_size(text: str) -> Literal["input", "network"]:
    """`--output-size` of `gantrain translate`. Raises ValueError."""
    if text not in ("input", "network"):
        raise ValueError(f"--output-size: found {text!r:.40}, allowed: input or network")
    return cast(Literal["input", "network"], text)


def named(key: str, texts: list[str] | None) -> dict[str, str]:
    """The values by name, from texts NAME=VALUE. Raises ValueError."""
    values: dict[str, str] = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        if not (name and value):
            raise ValueError(f"{key}: found {text!r}, allowed: NAME=VALUE")
        if name in values:
            listed = ", ".join(texts or [])
            raise ValueError(f"{key}: found one name twice in {listed}, allowed: a NAME=VALUE for each")
        values[name] = value
    return values


def name_test_sets(texts: list[str] | None) -> dict[str, str]:
    """The test sets of `--data [NAME=]PLACE` by name, which is the folder's where none is given. Raises ValueError."""
    return named("--data", [text if "=" in text else f"{Path(text).absolute().name}={text}" for text in texts or []])


def name_targets(texts: list[str] | None, sets: list[str]) -> dict[str, str]:
    """The targets of `--data-target [NAME=]PLACE` by the name of their test set.

    sets: the names of the test sets; a name can be left out where there is one. Raises ValueError.
    """
    key = option("data_target")
    if texts and not sets:
        found = f"found it without {option('data')}"
        raise ValueError(f"{key}: {found}; give the sources as {option('data')}, and the targets here")
    if texts and len(texts) == len(sets) == 1 and "=" not in texts[0]:
        return {sets[0]: texts[0]}
    targets = named(key, texts)
    for name in targets:
        if name not in sets:
            allowed = f"a NAME of {option('data')}: {', '.join(sets)}"
            raise ValueError(f"{key}: found {name!r}, allowed: {allowed}")
    return targets


def patterns(texts: list[str] | None, more: list[str]) -> dict[str, str]:
    """--pattern NAME=PATTERN, repeated, or with several words behind one option, which the parser keeps apart."""
    from gantrain.data.prepare.patterns import parse_patterns

    strange = [word for word in more if not texts or "{}" not in word]
    if strange:
        raise ValueError(f"found {strange[0]}, allowed: one folder of images; another option may be misspelt")
    return parse_patterns([*(texts or []), *more])
