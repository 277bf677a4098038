"""What several options of the command line have in common: their types, and their texts as values."""

from typing import Annotated

import typer

LeftOut = Annotated[float, typer.Option(help="largest fraction of samples that may be left out", min=0, max=1)]
Patterns = Annotated[
    list[str] | None,
    typer.Option(help="FIELD=PATTERN of files' names, {} for what fields share: label={}_label; may be repeated"),
]


def named(option: str, texts: list[str] | None) -> dict[str, str]:
    """The values by name, from texts NAME=VALUE. Raises ValueError."""
    pairs = [text.partition("=") for text in texts or []]
    if wrong := [text for text, (name, _, value) in zip(texts or [], pairs, strict=True) if not (name and value)]:
        raise ValueError(f"{option}: found {wrong[0]!r}, allowed: NAME=VALUE")
    values = {name: value for name, _, value in pairs}
    if len(values) < len(pairs):
        raise ValueError(f"{option}: found one name twice in {', '.join(texts or [])}, allowed: a NAME=VALUE for each")
    return values


def patterns(texts: list[str] | None, more: list[str]) -> dict[str, str]:
    """--pattern NAME=PATTERN, repeated, or with several words behind one option, which the parser keeps apart."""
    from gantrain.data.prepare.patterns import parse_patterns

    strange = [word for word in more if not texts or "{}" not in word]
    if strange:
        raise ValueError(f"found {strange[0]}, allowed: one folder of images; another option may be misspelt")
    return parse_patterns([*(texts or []), *more])
