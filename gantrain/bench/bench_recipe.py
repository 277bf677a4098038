"""The recipe of a measurement of speed."""

import re
from collections.abc import Sequence

from gantrain.recipe import schema
from gantrain.recipe.schema import Recipe

_NAMES_DATA = re.compile(r"data(\.train)?=")


def load_for_bench(name: str, overrides: Sequence[str]) -> Recipe:
    """Load a recipe, whose data are synthetic unless the overrides name others.

    Raises UserError with one line for each problem.
    """
    words = list(overrides)
    if not any(_NAMES_DATA.match(word) for word in words):
        words.append("data=synthetic")
    return schema.load(name, words)
