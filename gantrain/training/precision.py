"""`precision: auto`: what it means on this machine, and what it means in a run that has begun."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gantrain.core import files, formats
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.recipe.conv_timing import Convolution, as_json
from gantrain.recipe.machine_precision import judge_machine
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint

_NAME = "precision.json"  # in the folder of a run
_MOST_BYTES = 1 << 20
_CHOICES = ("bf16", "fp32")  # that `auto` may mean


@dataclass(frozen=True)
class Choice:
    """The precision that a run computes in.

    line: says what `auto` means and why; empty where the recipe states the precision. convolutions:
    those that were compared.
    """

    precision: str
    line: str = ""
    convolutions: tuple[Convolution, ...] = ()


def choose_precision(
    recipe: Recipe,
    world: World,
    list_convolutions: Callable[[], tuple[Convolution, ...]],
    stage_start: int,
) -> Choice:
    """Return the recipe's precision; for `auto`, the recorded one, else what suits the machine.

    Every rank calls it, and gets rank 0's choice. list_convolutions: lists the recipe's, to be
    timed on a CPU. stage_start: images seen when this stage of the run begins. Raises UserError
    for a damaged checkpoint.
    """
    if recipe.precision != "auto":
        return Choice(recipe.precision)
    compared = list_convolutions()
    earlier = world.auto_precisions.get(recipe.folder)
    if earlier is not None:  # of an earlier stage in this process
        return Choice(earlier, f"precision: auto is {earlier}, as in the first stage", compared)
    recorded = world.broadcast_from_rank0(
        lambda: _read_record(recipe.folder, compared, stage_start)
    )
    here = judge_machine(world, compared)
    if recorded is None:
        choice = Choice(here.precision, here.line, compared)
    elif recorded == here.precision:
        choice = Choice(recorded, f"precision: auto is {recorded}, as this run began", compared)
    else:
        line = (
            f"precision: auto stays {recorded}, as this run began; for a new run it would be "
            f"{here.precision} on this machine{here.reason}"
        )
        choice = Choice(recorded, line, compared)
    world.auto_precisions[recipe.folder] = choice.precision
    return choice


def record_choice(folder: Path, choice: Choice) -> None:
    """Write what `auto` means into a run's folder, before its first step. Raises UserError."""
    if not choice.convolutions:  # the recipe states the precision
        return
    content = {
        "format": formats.PRECISION,
        "precision": choice.precision,
        "convolutions": as_json(choice.convolutions),
    }
    try:
        files.write_text(folder / _NAME, json.dumps(content, indent=1) + "\n", sync=True)
    except OSError as e:
        raise UserError(f"run: cannot write {folder} ({e.strerror}); make space there") from None


def _read_record(folder: Path, convolutions: Sequence[Convolution], stage_start: int) -> str | None:
    """Read what `auto` means in the run, if it has begun.

    Raises UserError for a damaged checkpoint.
    """
    latest = checkpoint.latest(folder / "checkpoints")
    path = folder / _NAME
    try:
        content = files.read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        content = None
    except (OSError, ValueError):
        content = {}
    if isinstance(content, dict) and content.get("format") == formats.PRECISION:
        # Without a checkpoint, another recipe may begin in the folder.
        is_of_run = latest is not None or content.get("convolutions") == as_json(convolutions)
        if is_of_run and content.get("precision") in _CHOICES:
            return str(content["precision"])
    elif content is not None:
        say(f"run: {path} is damaged, and is not used; the run writes it again")
    if latest is not None and int(latest.name) > stage_start:
        precision = checkpoint.state(latest).precision
        return precision if precision in _CHOICES else None
    return None
