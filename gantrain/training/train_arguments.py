"""Checks the arguments of `gantrain.train`, and says how to write those that are not allowed."""

from collections.abc import Mapping, Sequence

from gantrain.core.errors import UserError
from gantrain.runs.recipe_request import Change, Source

_COMMAND = "recipe="  # starts a recipe's name on the command line
_HOW = (
    "write gantrain.train('NAME', {'length': 1000}), with a recipe's name first and the changes"
    " behind it"
)


def check_call(
    recipe: Source | None, changes: Sequence[Change], keywords: Mapping[str, object]
) -> Source:
    """The recipe.

    Raises UserError, in one line, for keywords and for the command line's `recipe=NAME`.
    """
    if keywords:
        listed = ", ".join(keywords)
        first, value = next(iter(keywords.items()))
        name = repr(recipe) if isinstance(recipe, str) else "'NAME'"
        call = f"gantrain.train({name}, {{{first!r}: {value!r:.40}}})"
        raise UserError(f"train: found the keywords {listed}, allowed: none; write {call}")
    if recipe is None:
        raise UserError(f"train: found no recipe; {_HOW}")
    for text in (recipe, *changes):
        if isinstance(text, str) and text.startswith(_COMMAND):
            name = text.removeprefix(_COMMAND)
            raise UserError(
                f"train: found {text!r}, which a command takes; write gantrain.train({name!r}, ...)"
            )
        if isinstance(text, Mapping) and "recipe" in text:
            name = f"{text['recipe']!r:.60}"
            raise UserError(
                f"train: found a mapping with the key recipe; write gantrain.train({name}, {{...}})"
            )
    return recipe
