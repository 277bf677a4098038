"""The range of an image field: which of its values networks see as -1 and as 1.

8 bits always have the range 0 to 255. Files of other dtypes hold values such as those of 12-bit
cameras, Hounsfield units or reflectance, which use a part of their dtype.
"""

import math
import re
from typing import NamedTuple, Protocol

from gantrain.core.errors import UserError

Range = tuple[float, float]  # the value that networks see as -1, and the one that they see as 1

# The ranges that fields have where nobody chooses another one.
FULL_RANGES: dict[str, Range] = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "float32": (0, 1),
}
FIXED_DTYPE = "uint8"
# Of the full range. Integers whose values span less need a range that a user states.
_LEAST_SPAN = 0.5
_NUMBER = r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})")
_FURTHEST = 1e30  # float32 holds a range between such values, and its width


class Values(Protocol):
    """The statistics of a field's values, as `prepare` and `index` measure them."""

    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def check_range(values: Range) -> Range:
    """Return a range. Raises UserError unless it goes upwards, and float32 can hold it.

    The message says what is allowed.
    """
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high)) or max(abs(low), abs(high)) > _FURTHEST:
        raise UserError(f"allowed: numbers of up to {_FURTHEST:g}")
    # float32 has 24 bits: between closer values it cannot hold 256 levels.
    if high - low <= max(abs(low), abs(high)) * 2.0**-16:
        raise UserError("allowed: a lower value, then a higher one")
    return values


def range_text(values: Range) -> str:
    """Return a range as people write it, such as `-1000..1000`."""
    return f"{number_text(values[0])}..{number_text(values[1])}"


def number_text(value: float) -> str:
    """Return a value without needless digits."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e9 else f"{value:.6g}"


def parse_range(text: str, also: str = "") -> Range:
    """Return the range that `LOW..HIGH` states. Raises UserError. also: what else is allowed."""
    matched = _RANGE.fullmatch(text)
    if matched is None:
        raise UserError(f"found {text!r:.60}, allowed: LOW..HIGH, such as -1000..1000{also}")
    try:
        return check_range((float(matched["low"]), float(matched["high"])))
    except UserError as error:
        raise UserError(f"found {text:.60}, {error}") from None


def check_takes_range(name: str, dtype: str, values: Range | None, *, has_range: bool) -> None:
    """Raise UserError for a field that cannot have a range.

    values: the range; None where it is not known yet. has_range: of the field's kind.
    """
    if not has_range:
        raise UserError(f"{name} holds no images, allowed: fields of images")
    if dtype == FIXED_DTYPE:
        raise UserError(f"{name} holds 8 bits, whose range is always 0..255; leave it out")
    lowest, highest = FULL_RANGES[dtype]
    if dtype == "float32" or values is None:
        return
    if values[0] < lowest or values[1] > highest:
        raise UserError(
            f"found {range_text(values)}, allowed: values that {dtype} can hold,"
            f" {range_text((lowest, highest))}"
        )


def describe_unknown_range(name: str, dtype: str, values: Values | None) -> str | None:
    """Return why a field has no range unless a user states one; None where it has the full range.

    values: None where they were not measured.
    """
    if dtype == FIXED_DTYPE or values is None:
        return None
    full = FULL_RANGES[dtype]
    if dtype == "float32":
        if full[0] <= values.minimum and values.maximum <= full[1]:
            return None
        lack = f"outside {range_text(full)}, the usual range of floats"
    else:
        if values.high - values.low >= _LEAST_SPAN * (full[1] - full[0]):
            return None
        lack = f"less than half of the range of {dtype}, {range_text(full)}"
    measured = range_text((values.minimum, values.maximum))
    most = range_text((values.low, values.high))
    return f"{name} holds values {measured} (99.8 % of them lie in {most}), {lack}"


def suggest_range(dtype: str, values: Values) -> Range:
    """Return the range of a camera's bit depth, or else that of the values."""
    if dtype == "float32" or values.minimum < 0:
        return max(values.minimum, -_FURTHEST), min(values.maximum, _FURTHEST)
    return 0, 2 ** max(1, int(values.maximum).bit_length()) - 1


class Clipped(NamedTuple):
    """How many values of a field lie outside its range, and in how many files."""

    values: int = 0
    all_values: int = 0
    files: int = 0

    def __add__(self, other: object) -> "Clipped":
        assert isinstance(other, Clipped)
        return Clipped(
            self.values + other.values,
            self.all_values + other.all_values,
            self.files + other.files,
        )


def describe_clipped(name: str, values: Range, clipped: Clipped) -> str:
    """Return a line on the values that lie outside a range. name: of what holds them."""
    percent = 100 * clipped.values / clipped.all_values
    amount = f"{percent:.3g} %" if percent >= 0.01 else f"{clipped.values:,}"
    files = "1 file" if clipped.files == 1 else f"{clipped.files:,} files"
    return (
        f"{name}: {amount} of its values, in {files}, lie outside the range {range_text(values)}"
        " and are clipped"
    )
