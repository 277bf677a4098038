"""Weighted terms of a recipe: `{l1: 100, lpips: {0: 0, 20000: 1}, perceptual: {weight: 10, ...}}`.

A weight is a number or a schedule over the images seen. The options of a term are those of its
class, and `weight`.
"""

from collections.abc import Mapping

import numpy as np

from gantrain.core.errors import UserError

Schedule = dict[int, float]  # the weight by the number of images seen; linear between its points
TermWeight = float | Schedule
LARGEST_WEIGHT = 1e9
LAST_IMAGE = 10**15
_ALLOWED = (
    "allowed: a number from 0 to 1e9, or a schedule over the images seen, such as {0: 0, 20000: 1}"
)


def as_options(term: object) -> object:
    """Return a term as its options: a bare number or a bare schedule is the `weight`.

    Any other value that is no mapping becomes the weight too, which `check_weight` then refuses.
    """
    if not isinstance(term, dict):
        return {"weight": term}
    is_schedule = bool(term) and all(_as_image(key) is not None for key in term)
    return {"weight": term} if is_schedule else term


def lay_over(defaults: Mapping[str, object], terms: Mapping[str, object]) -> dict[str, object]:
    """Return the terms laid on the defaults: each term keeps the options that it does not set."""
    merged = dict(defaults)
    for name, term in terms.items():
        merged[name] = lay_term(defaults[name], term) if name in defaults else term
    return merged


def lay_term(default: object, term: object) -> object:
    """Return a term with those options of the default that it does not set."""
    base = as_options(default)
    options = as_options(term)
    if not isinstance(base, dict) or not isinstance(options, dict):
        return term
    is_bare = options is not term
    if is_bare and set(base) <= {"weight"}:
        return term
    return {**base, **options}


def check_weight(weight: object) -> TermWeight:
    """Return a weight with its types. Raises UserError for what is neither number nor schedule."""
    if isinstance(weight, Mapping) and weight:
        schedule: Schedule = {}
        for key, value in weight.items():
            image = _as_image(key)
            if image is None:
                raise UserError(_ALLOWED)
            schedule[image] = _as_number(value)
        return dict(sorted(schedule.items()))
    return _as_number(weight)


def _as_number(value: object) -> float:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= LARGEST_WEIGHT
    ):
        return float(value)
    raise UserError(_ALLOWED)


def _as_image(key: object) -> int | None:
    """Return a schedule's key, which JSON holds as text, as a number; None where it is none."""
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 20:
        key = int(key)
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key <= LAST_IMAGE:
        return None
    return key


def weight_at(weight: TermWeight, images: int) -> float:
    """Return the weight after so many images of the stage.

    A schedule is linear between its points, and constant before the first and after the last one.
    """
    if isinstance(weight, dict):
        return float(np.interp(images, list(weight), list(weight.values())))
    return weight


def is_zero(weight: TermWeight) -> bool:
    """Return whether a weight is 0 at all times."""
    return not any(weight.values()) if isinstance(weight, dict) else weight == 0
