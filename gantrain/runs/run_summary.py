"""The lines that begin a run, on its data, length and losses, and those that end it.

The last lines name the results and the commands that use them.
"""

import math
import os
import shlex
import sys
from pathlib import Path

from gantrain.core.amounts import ceil_div, count_text, value_text
from gantrain.core.extensions import INTERACTIVE
from gantrain.data.batch import COMMON_ROLES
from gantrain.data.splits import SYNTHETIC
from gantrain.data.unpaired import DataSet
from gantrain.methods.base import Method
from gantrain.metrics.registry import larger_is_better
from gantrain.recipe.data_request import data_request
from gantrain.recipe.field_types import images_in
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint
from gantrain.runs.best_checkpoint import best_of

_PACKAGE = Path(__file__).resolve().parents[1]


def describe_data(train: DataSet, given: str | None) -> str:
    """Describe the number of images and their place: of pairs, or of sources and of targets.

    given: the recipe's `data.train`, such as a folder of images, which a run packs into the cache.
    """
    if len(train.domains) > 1:
        descriptions = []
        for noun, domain in zip(("source", "target"), train.domains, strict=True):
            descriptions.append(f"{count_text(len(domain), noun)} in {domain.place}")
        return ", ".join(descriptions)
    images = count_text(len(train), "image")
    if given == SYNTHETIC:
        return f"{images}, drawn into {train.place}"
    if given is None or train.place == given.rstrip("/"):
        return f"{images} in {train.place}"
    return f"{images} from {given} (shards in {train.place})"


def describe_length(images: int, epoch: int, batch_size: int) -> str:
    """Describe the length of a run, or of a stage, in images, epochs and steps.

    epoch: images in one epoch.
    """
    epochs = value_text(images / epoch)
    of_epochs = f"1 epoch of {count_text(epoch, 'image')}"
    if epochs != "1":
        of_epochs = f"{epochs} epochs of {count_text(epoch, 'image')} each"
    steps = count_text(ceil_div(images, batch_size), "step")
    return (
        f"{count_text(images, 'image')} ({of_epochs}) in {steps} of"
        f" {count_text(batch_size, 'image')}"
    )


def describe_losses(method: Method) -> str:
    """Describe the weights of the losses, where the method states them, and what a row shows."""
    weights = []
    for name, weight in method.loss_weights.items():
        if isinstance(weight, dict):
            points = [f"{value_text(value)} at {image:,}" for image, value in weight.items()]
            weights.append(f"{name} {', '.join(points)} images")
        else:
            weights.append(f"{name} {value_text(weight)}")
    if not weights:
        return (
            "the method does not state their weights (a row shows each loss as the method returns"
            " it; metrics.jsonl has all values)"
        )
    return (
        f"{', '.join(weights)} (a row shows each loss times its weight; metrics.jsonl has all"
        " values)"
    )


def describe_results(recipe: Recipe, has_held_out: bool, has_test: bool = False) -> list[str]:
    """Return lines on what a run has written, and on the commands that use it.

    has_held_out, has_test: the run has held-out images, or a test set in their place.
    `gantrain evaluate` takes either.
    """
    run = shlex.quote(str(recipe.folder))
    names = data_request(recipe).sample_names
    roles = [role for role in names if role not in COMMON_ROLES]
    inputs = "".join(f" --input {role}=FOLDER" for role in roles)
    data = "" if has_held_out or has_test else " --data FOLDER"
    if data and recipe.data.unpaired:
        data = " --data SOURCES --data-target TARGETS"
    lines = []
    if any((recipe.folder / "previews").glob("*.png")):
        lines.append(f"previews: {recipe.folder}/previews")
    latest = checkpoint.latest(recipe.folder / "checkpoints")
    if latest:
        lines.append(f"last checkpoint: {latest}")
    lines += _describe_best(recipe, has_held_out)
    if latest:
        modules = checkpoint.state(latest).modules
        imports = "".join(f" --import {name}" for name in modules if name != INTERACTIVE)
        lines.append(f"next: gantrain translate {run} IMAGES --out results{inputs}{imports}")
        lines.append(f"      gantrain evaluate {run}{data}{imports}")
    return lines


def _describe_best(recipe: Recipe, has_held_out: bool) -> list[str]:
    metric = recipe.evaluate.best_by
    if recipe.checkpoint.best == 0:
        return ["best checkpoint: none is kept, since checkpoint.best is 0"]
    best = best_of(recipe.folder / "checkpoints", metric)
    if best is None and not has_held_out:
        return ["best checkpoint: none, since the run has no held-out data"]
    if best is None:
        return [f"best checkpoint: none yet, since no checkpoint has a value of {metric}"]
    direction = "higher" if larger_is_better(metric) else "lower"
    return [
        f"best checkpoint: {best.folder} ({metric} {value_text(best.value)}; {direction} is better)"
    ]


def describe_resuming() -> list[str]:
    """Return lines on how a run that a signal stopped goes on."""
    command = own_command()
    if command is None:
        return ["resume: run the same command again"]
    return ["resume with the same command:", f"      {command}"]


def describe_going_on(recipe: Recipe, images_seen: int, epoch: int) -> list[str]:
    """Return lines on how a finished run trains longer.

    images_seen: by the whole run, which may have had a longer length before. epoch: images in one.
    """
    if recipe.stages:
        return ["train longer: give the last stage a larger length"]
    longer = shlex.quote(f"length={_longer(recipe.length, images_seen, epoch)}")
    command = own_command(without="length=")
    if command is None:
        return [f"train longer: a larger length goes on, such as {longer}"]
    return ["train longer:", f"      {command} {longer}"]


def _longer(length: int | str, images_seen: int, epoch: int) -> int | str:
    """Return twice a length in its own unit, such as `20 epochs`.

    Where the run has seen more images than that, return twice the images seen. epoch: images in
    one epoch.
    """
    if isinstance(length, int):
        return 2 * length if 2 * length > images_seen else 2 * images_seen
    doubled = f"{2 * float(length.split()[0]):g} epochs"
    if images_in(doubled, epoch) > images_seen:
        return doubled
    return f"{math.ceil(2 * images_seen / epoch)} epochs"


def own_command(without: str = "") -> str | None:
    """Return the command line of this process as a user typed it.

    Returns None under a launcher, and for a call from Python.
    without: leaves out the arguments that start so.
    """
    program, *arguments = sys.argv
    if "RANK" in os.environ:  # the launcher's own command line is not known
        return None
    file = Path(program).resolve()
    if file == _PACKAGE / "__main__.py":
        command = ["python", "-m", "gantrain"]
    elif file == _PACKAGE / "train.py":
        command = ["python", "-m", "gantrain.train"]
    elif file.name == "gantrain":
        command = ["gantrain"]
    else:
        return None
    for argument in arguments:
        if not (without and argument.startswith(without)):
            command.append(argument)
    return shlex.join(command)
