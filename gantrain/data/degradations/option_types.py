"""The types of a degradation's options, and the draws from them."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, Strict

from gantrain.core.errors import UserError

Name = TypeVar("Name", bound=str)


def _pair(value: object) -> object:
    """Return a range as its lowest and its highest value; one number is both."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value, value)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UserError("allowed: a number, or [lowest, highest]")
    return value


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    lowest, highest = bounds
    if lowest > highest:
        raise UserError(f"allowed: [lowest, highest], such as [{highest}, {lowest}]")
    return bounds


def _around_one(bounds: tuple[float, float]) -> tuple[float, float]:
    """Check the factors of a size, which becomes smaller or larger or stays as it is."""
    lowest, highest = bounds
    if not lowest <= 1 <= highest:
        raise UserError("allowed: [lowest, highest] with 1 between them, such as [0.5, 1.5]")
    return bounds


def _not_all_zero(frequencies: dict[str, float]) -> dict[str, float]:
    if sum(frequencies.values()) == 0:
        raise UserError("allowed: at least one frequency above 0")
    return frequencies


_IN_ORDER = AfterValidator(_in_order)

_Fraction = Annotated[float, Field(ge=0.01, le=0.95)]
_Peak = Annotated[float, Field(ge=0.1, le=1e6)]
_Quality = Annotated[int, Field(ge=1, le=100)]
_Level = Annotated[float, Field(ge=0, le=255)]
_Sigma = Annotated[float, Field(ge=0.01, le=100)]
_Exponent = Annotated[float, Field(ge=0.1, le=16)]
_Factor = Annotated[float, Field(ge=0.05, le=8)]

# A file's list is no tuple, which strict types would insist on.
_Fractions = Annotated[tuple[_Fraction, _Fraction], Strict(False)]
_Peaks = Annotated[tuple[_Peak, _Peak], Strict(False)]
_Qualities = Annotated[tuple[_Quality, _Quality], Strict(False)]
_Levels = Annotated[tuple[_Level, _Level], Strict(False)]
_Sigmas = Annotated[tuple[_Sigma, _Sigma], Strict(False)]
_Exponents = Annotated[tuple[_Exponent, _Exponent], Strict(False)]
_Factors = Annotated[tuple[_Factor, _Factor], Strict(False)]

# Ranges from which each sample draws: [lowest, highest], or one number, which is both.
Fractions = Annotated[
    _Fractions, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Fraction | _Fractions)
]
Peaks = Annotated[_Peaks, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Peak | _Peaks)]
Qualities = Annotated[
    _Qualities, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Quality | _Qualities)
]
Levels = Annotated[
    _Levels, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Level | _Levels)
]
Sigmas = Annotated[
    _Sigmas, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Sigma | _Sigmas)
]
Exponents = Annotated[
    _Exponents, _IN_ORDER, BeforeValidator(_pair, json_schema_input_type=_Exponent | _Exponents)
]
Factors = Annotated[_Factors, AfterValidator(_around_one)]

Probability = Annotated[float, Field(ge=0, le=1)]
Frequency = Annotated[float, Field(ge=0, le=1e6)]
NOT_ALL_ZERO = AfterValidator(_not_all_zero)


def draw_uniform(bounds: tuple[float, float], random: np.random.Generator) -> float:
    """Return a number between the bounds."""
    lowest, highest = bounds
    return float(random.uniform(lowest, highest))


def draw_integer(bounds: tuple[int, int], random: np.random.Generator) -> int:
    """Return an integer from the lowest to the highest one, all of them equally probable."""
    lowest, highest = bounds
    return int(random.integers(lowest, highest, endpoint=True))


def draw_name(frequencies: Mapping[Name, float], random: np.random.Generator) -> Name:
    """Return one of the names, with a probability in proportion to its frequency."""
    names = [name for name, frequency in frequencies.items() if frequency > 0]
    limits = np.cumsum([frequencies[name] for name in names])
    place = int(np.searchsorted(limits, random.random() * limits[-1], side="right"))
    return names[place]
