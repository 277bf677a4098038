"""Finds mistakes in a user's YAML that are valid YAML of another meaning."""

import re
import shlex

from gantrain.core.errors import UserError

_JOINED = re.compile(r"([A-Za-z_][\w.-]*):(?=[^\s:/])")  # a key, its colon, and no blank


def check_blanks(content: object, where: str, typed: str = "") -> None:
    """Raise UserError, in one line, where a mapping has a key such as `label:12` without a value.

    where: the file, or the key of an override. typed: the override's value as the user typed it.
    """
    joined = _joined_key(content)
    if joined is None:
        return
    problem = f"found {joined!r:.100}, which YAML reads as one word without a value"
    if typed:
        advice = f"did you mean {shlex.quote(f'{where}={_JOINED.sub(_spaced, typed)}')}?"
    else:
        advice = f"write {_JOINED.sub(_spaced, joined)!r:.100}"
    raise UserError(f"{where}: {problem}; put a blank behind the colon: {advice}")


def _spaced(match: re.Match[str]) -> str:
    return f"{match[1]}: "


def _joined_key(content: object) -> str | None:
    """Return the first key without a value that holds a colon."""
    parts: list[object] = []
    if isinstance(content, dict):
        for key, value in content.items():
            if value is None and isinstance(key, str) and _JOINED.match(key):
                return key
        parts = list(content.values())
    elif isinstance(content, list):
        parts = content
    for part in parts:
        joined = _joined_key(part)
        if joined is not None:
            return joined
    return None
