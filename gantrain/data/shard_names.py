"""Patterns of shards' names."""

import re

from gantrain.core.errors import UserError

_MOST_NAMES = 1_000_000  # that a pattern may stand for
_MOST_DIGITS = 20  # of a number in a pattern
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand_pattern(pattern: str) -> list[str]:
    """Return the names that a pattern such as `s-{000..146}.tar` stands for.

    Raises UserError where they are too many.
    """
    braces = _RANGE.search(pattern)
    if not braces:
        return [pattern]
    first, last = braces.groups()
    # Python refuses to read a number of thousands of digits.
    if max(len(first), len(last)) > _MOST_DIGITS or int(last) - int(first) >= _MOST_NAMES:
        raise UserError(f"found {braces[0]}, allowed: {_MOST_NAMES:,} names at most")
    numbers = [str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)]
    return [pattern.replace(braces[0], number) for number in numbers]
