"""Numbers and lists as text for people, and an exact division that rounds up."""

import math
from collections.abc import Sequence

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return `1 image` or `2,000 images`. plural: of a noun that does not only take an s."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {plural or noun + 's'}"


def bytes_text(count: float) -> str:
    """Return a number of bytes with three digits, in the unit that keeps it below 1,000."""
    if count < 1000:
        return count_text(round(count), "byte")
    amount = count / 1024
    unit = _UNITS[0]
    for larger in _UNITS[1:]:
        if amount < 999.5:
            break
        amount /= 1024
        unit = larger
    return f"{amount:,.0f} {unit}" if amount >= 999.5 else f"{amount:.3g} {unit}"


def duration_text(seconds: float) -> str:
    """Return a duration as `45s`, `12m30s`, `3h05m` or `2d04h`."""
    count = round(seconds)
    if count < _MINUTE:
        return f"{count}s"
    if count < _HOUR:
        return f"{count // _MINUTE}m{count % _MINUTE:02d}s"
    if count < _DAY:
        return f"{count // _HOUR}h{count % _HOUR // _MINUTE:02d}m"
    return f"{count // _DAY}d{count % _DAY // _HOUR:02d}h"


def value_text(value: float, separator: str = ",") -> str:
    """Return a measured value with three digits, and whole where it has more of them.

    separator: of the thousands. Values that are not finite are `nan`, `inf` and `-inf`.
    """
    if not math.isfinite(value):
        return f"{value}"
    if 999.5 <= abs(value) < 1e7:
        return f"{value:{separator}.0f}"
    return f"{value:.3g}"


def percent_text(fraction: float) -> str:
    """Return a fraction in per cent."""
    return f"{fraction:.0%}" if math.isfinite(fraction) else f"{fraction}"


def list_text(words: Sequence[str], most: int = 8) -> str:
    """Return the words with commas between them; `...` stands for those behind the first `most`."""
    listed = ", ".join(words[:most])
    return f"{listed}, ..." if len(words) > most else listed


def ceil_div(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up: exact, however large the numbers are."""
    return -(-dividend // divisor)
