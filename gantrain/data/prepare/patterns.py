"""`--pattern FIELD={}_suffix`: the field of a file, and the name that a sample's files share."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gantrain.core.errors import UserError
from gantrain.data.field import NAME
from gantrain.data.formats.format_table import extensions
from gantrain.data.listing import without_extension
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs, folders, sides_of_split

_ALLOWED = (
    "allowed: FIELD=PATTERN, where {} stands once for the name that the fields share, as in"
    " label={}_label"
)


def parse_patterns(texts: Iterable[str]) -> dict[str, str]:
    """Return the patterns by field, from texts that each hold one or several `FIELD=PATTERN`.

    Raises UserError.
    """
    patterns: dict[str, str] = {}
    for text in texts:
        for word in text.split():
            field, _, pattern = word.partition("=")
            if field in patterns:
                raise UserError(
                    f"--pattern: found {field} twice, allowed: one pattern for each field"
                )
            patterns[field] = pattern
    check_patterns(patterns)
    return patterns


def check_patterns(patterns: Mapping[str, str]) -> None:
    """Raises UserError, in one line, for a field's name or a pattern that cannot be used."""
    for field, pattern in patterns.items():
        given = f"{field}={pattern}"
        if not re.fullmatch(NAME, field) or pattern.count("{}") != 1:
            raise UserError(f"--pattern: found {given!r}, {_ALLOWED}")
        if "/" in pattern:
            raise UserError(
                f"--pattern: found {given!r}, allowed: a file's name without its folder"
            )


def split_name(pattern: str, name: str) -> str | None:
    """Return the part of a file's name that `{}` stands for, behind its folders.

    The result is None where the name does not fit. name: a sub-path with its extension, such as
    `cam1/7_label.png`, of which `{}_label` gives `cam1/7`. A pattern that ends with a known
    extension is compared with the whole name, any other with the name before the extension.
    """
    folder, slash, own_name = name.rpartition("/")
    before, _, after = pattern.partition("{}")
    names_extension = after.rpartition(".")[2].lower() in extensions() and "." in after
    compared = own_name if names_extension else without_extension(own_name)
    shared = len(compared) - len(before) - len(after)
    if shared < 1 or not (compared.startswith(before) and compared.endswith(after)):
        return None
    return folder + slash + compared[len(before) : len(before) + shared]


def choose(patterns: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """Return the field whose pattern fits a file's name best, and the shared name.

    The result is None where no pattern fits. Of several that fit, the pattern with the most
    characters besides `{}` is taken: with `photo={}` and `label={}_label` the file `7_label.png` is
    a label.
    """
    for field in sorted(patterns, key=lambda field: len(patterns[field]), reverse=True):
        shared = split_name(patterns[field], name)
        if shared is not None:
            return field, shared
    return None


def patterned(source: Path, split: str, patterns: Mapping[str, str]) -> FieldSpecs:
    """Describe the fields of a folder where the names of files follow patterns.

    The folder holds folders with a field each, or all fields' files itself. Raises UserError, in
    one line.
    """
    check_patterns(patterns)
    sides = sides_of_split(source, split)
    if not any(field in sides or (source / field).is_dir() for field in patterns):
        return {field: FieldSpec(field, pattern=pattern) for field, pattern in patterns.items()}
    field_specs = folders(source, split)
    for field in patterns:
        if field not in field_specs:
            fields = ", ".join(field_specs)
            raise UserError(f"--pattern: {field} is not a field, found are {fields}")
    return {
        field: spec._replace(pattern=patterns.get(field)) for field, spec in field_specs.items()
    }
