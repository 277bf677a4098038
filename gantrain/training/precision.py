"""`precision: auto`: what it means on this machine, and what it means in a run that has begun."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gantrain.core import files, formats
from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.world import World, cpu_model, has_bf16
from gantrain.data.cache import cache_folder
from gantrain.recipe.schema import Recipe
from gantrain.runs import checkpoint
from gantrain.training import conv_timing
from gantrain.training.conv_timing import Convolution, Times

_NAME = "precision.json"  # in the folder of a run, and in the cache
_MOST_KEPT = 64  # measurements in the cache, the latest ones
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


@dataclass(frozen=True)
class Verdict:
    """The meaning of `auto` on the machines of these ranks.

    reason: a clause that follows "auto is bf16".
    """

    precision: str
    reason: str


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
        choice = Choice(
            here.precision, f"precision: auto is {here.precision}{here.reason}", compared
        )
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


def judge_machine(world: World, convolutions: Sequence[Convolution]) -> Verdict:
    """Decide what `auto` means on these ranks' hardware.

    Every rank calls it, and rank 0 measures.
    """
    # Where any rank lacks the instructions, none uses bf16.
    lacking = [rank for rank, has in enumerate(world.gather(has_bf16(world.device))) if not has]
    if lacking:
        what = "GPU" if world.device.type == "cuda" else "CPU"
        owner = f"this {what}" if len(lacking) == world.size else f"the {what} of rank {lacking[0]}"
        lack = "computes no bf16" if what == "GPU" else "has no bf16 instructions"
        return Verdict("fp32", f": {owner} {lack}")
    if world.device.type != "cpu":
        return Verdict("bf16", ", which this GPU computes")
    times = measure_on_main(world, convolutions)
    precision = "bf16" if times.is_bf16_worthwhile else "fp32"
    return Verdict(
        precision,
        f": {describe_times(times, len(convolutions))}; auto takes bf16 from 1.2 times, and"
        " precision=fp32 or precision=bf16 chooses without a measurement",
    )


def describe_times(times: Times, count: int) -> str:
    """Describe both times and their ratio. count: of the convolutions."""
    bf16 = _milliseconds(times.bf16_microseconds)
    fp32 = _milliseconds(times.fp32_microseconds)
    ratio = f"bf16 is {times.ratio:.2f} times as fast as fp32 here"
    verb = "takes" if count == 1 else "take"
    timed = f"{count_text(count, 'convolution')} {verb} {bf16} in bf16 and {fp32} in fp32"
    return f"{ratio} ({timed})"


def _milliseconds(microseconds: int) -> str:
    value = microseconds / 1000
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def measure_on_main(world: World, convolutions: Sequence[Convolution]) -> Times:
    """Return rank 0's times, from the cache where it has them, while all other ranks wait."""
    world.accelerator.wait_for_everyone()
    return world.broadcast_from_rank0(lambda: _load_or_measure(convolutions, world.device))


def _load_or_measure(convolutions: Sequence[Convolution], device: torch.device) -> Times:
    key: dict[str, object] = {
        "cpu": cpu_model(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "convolutions": _as_json(convolutions),
    }
    path = cache_folder() / _NAME
    for entry in _read_entries(path):
        if entry["key"] == key:
            return Times(entry["fp32_microseconds"], entry["bf16_microseconds"])
    times = conv_timing.measure(convolutions, device)
    with contextlib.suppress(OSError):  # without the cache, the next command measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.file_lock(path.with_suffix(".lock"), wait=True):
            others = [entry for entry in _read_entries(path) if entry["key"] != key]
            entries = [*others, {"key": key, **times._asdict()}][-_MOST_KEPT:]
            content = {"format": formats.PRECISION, "entries": entries}
            files.write_text(path, json.dumps(content) + "\n")
    return times


def _read_entries(path: Path) -> list[dict[str, Any]]:
    """Read the measurements in the cache.

    There are none where the file is missing, damaged or of another format.
    """
    try:
        content = files.read_json(path, _MOST_BYTES)
    except (OSError, ValueError):
        return []
    if not isinstance(content, dict) or content.get("format") != formats.PRECISION:
        return []
    entries = content.get("entries")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if _is_entry(entry)]


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), dict):
        return False
    times = (entry.get("fp32_microseconds"), entry.get("bf16_microseconds"))
    return all(type(value) is int and 0 < value < 10**9 for value in times)


def record_choice(folder: Path, choice: Choice) -> None:
    """Write what `auto` means into a run's folder, before its first step. Raises UserError."""
    if not choice.convolutions:  # the recipe states the precision
        return
    content = {
        "format": formats.PRECISION,
        "precision": choice.precision,
        "convolutions": _as_json(choice.convolutions),
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
        is_of_run = latest is not None or content.get("convolutions") == _as_json(convolutions)
        if is_of_run and content.get("precision") in _CHOICES:
            return str(content["precision"])
    elif content is not None:
        say(f"run: {path} is damaged, and is not used; the run writes it again")
    if latest is not None and int(latest.name) > stage_start:
        precision = checkpoint.state(latest).precision
        return precision if precision in _CHOICES else None
    return None


def _as_json(convolutions: Sequence[Convolution]) -> list[list[object]]:
    return [convolution.as_list() for convolution in convolutions]
