"""Choose the layout of a folder of images by the requested fields, and advise on unclear ones."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from gantrain.data.prepare.layouts import is_cityscapes

_HALVES = {"left", "right"}  # the fields of side-by-side pairs


def choose_layout(folder: Path, fields: Sequence[str]) -> str | None:
    """Return the layout of a folder of images, or None where it is to be recognised.

    fields: the requested fields of samples. Files alone do not show whether they are single images
    or pairs, but the field that the recipe requests does.
    """
    is_one_of_two_sets = len(fields) == 1
    has_fields_inside = any((folder / name).is_dir() for name in fields)
    if not is_one_of_two_sets or fields[0] in _HALVES or has_fields_inside or is_cityscapes(folder):
        return None
    return "images"


def advise_layout(
    key: str, is_for_evaluate: bool, folder: Path, fields: Sequence[str], options: Sequence[str]
) -> str:
    """Describe what to give in place of a folder that is not recognised.

    The words are those of the user's own command. key: of `data`, such as `train`. is_for_evaluate:
    the command is `gantrain evaluate`, and otherwise one that takes a recipe's keys. options: those
    of `gantrain prepare` that may fit the folder.
    """
    giving = f"data.{key}="
    if is_for_evaluate:
        giving = "--data-target " if key.endswith("_target") else "--data "
    takes_halves = set(fields) <= _HALVES
    both = f"the folders {' and '.join(fields)}"
    if takes_halves:
        advice = "give a folder of side-by-side pairs"
        if len(fields) == 1 and not is_for_evaluate:
            advice += ", or data.target=image for single images"
    elif len(fields) > 1 and all((folder.parent / name).is_dir() for name in fields):
        return f"{giving}{shlex.quote(str(folder.parent))} has {both}"
    else:
        advice = f"give a folder that holds {both}"
    fitting = [option for option in options if option.startswith("--pattern")]
    if takes_halves and options:
        fitting.append("--as pairs")
    if fitting:
        place = shlex.quote(str(folder))
        commands = [f"`gantrain prepare {place} --out OUT {option}`" for option in fitting]
        advice += f"; or pack this one by {' or '.join(commands)}, and give {giving}OUT"
    return advice
