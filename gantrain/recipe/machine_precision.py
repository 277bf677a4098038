"""What `precision: auto` means on a machine: which precision its convolutions are faster in."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gantrain.core import files, formats
from gantrain.core.amounts import count_text
from gantrain.core.wording import option_with
from gantrain.core.world import World, cpu_model, has_bf16
from gantrain.data.cache import cache_folder
from gantrain.recipe import conv_timing
from gantrain.recipe.conv_timing import Convolution, Times, as_json

_NAME = "precision.json"  # in the cache
_MOST_KEPT = 64  # measurements in the cache, the latest ones
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """The meaning of `auto` on the machines of these ranks.

    reason: a clause that follows "auto is PRECISION", with its punctuation.
    """

    precision: str
    reason: str

    @property
    def line(self) -> str:
        """The line that says what `auto` means, and why."""
        return f"precision: auto is {self.precision}{self.reason}"


_ON_GPU = Verdict("bf16", ", which this GPU computes")


def judge_machine(world: World, convolutions: Sequence[Convolution]) -> Verdict:
    """Decide what `auto` means for training on these ranks' hardware.

    Every rank calls it, and rank 0 measures.
    """
    # Where any rank lacks the instructions, none uses bf16.
    lacking = [rank for rank, has in enumerate(world.gather(has_bf16(world.device))) if not has]
    if lacking:
        rank = None if len(lacking) == world.size else lacking[0]
        return _without_bf16(world.device, rank)
    if world.device.type != "cpu":
        return _ON_GPU
    times = measure_on_main(world, convolutions)
    return _by_times(times, len(convolutions), "precision=fp32 or precision=bf16")


def judge_for_translating(device: torch.device, convolutions: Sequence[Convolution]) -> Verdict:
    """Decide what `auto` means for translating, where only forward passes count."""
    if not has_bf16(device):
        return _without_bf16(device, None)
    if device.type != "cpu":
        return _ON_GPU
    times = _load_or_measure(convolutions, device, backward=False)
    choices = f"{option_with('precision', 'fp32')} or {option_with('precision', 'bf16')}"
    return _by_times(times, len(convolutions), choices)


def _without_bf16(device: torch.device, rank: int | None) -> Verdict:
    """Return the verdict for hardware without bf16. rank: the one that lacks it; None is all."""
    what = "GPU" if device.type == "cuda" else "CPU"
    owner = f"this {what}" if rank is None else f"the {what} of rank {rank}"
    lack = "computes no bf16" if what == "GPU" else "has no bf16 instructions"
    return Verdict("fp32", f": {owner} {lack}")


def _by_times(times: Times, count: int, options: str) -> Verdict:
    """Return the verdict of a measurement.

    count: of convolutions. options: the settings that need no measurement.
    """
    precision = "bf16" if times.is_bf16_worthwhile else "fp32"
    return Verdict(
        precision,
        f": {describe_times(times, count)}; auto takes bf16 from 1.2 times, and {options} chooses"
        " without a measurement",
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
    return world.broadcast_from_rank0(
        lambda: _load_or_measure(convolutions, world.device, backward=True)
    )


def _load_or_measure(
    convolutions: Sequence[Convolution], device: torch.device, *, backward: bool
) -> Times:
    key: dict[str, object] = {
        "cpu": cpu_model(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "convolutions": as_json(convolutions),
        "backward": backward,
    }
    path = cache_folder() / _NAME
    for entry in _read_entries(path):
        if entry["key"] == key:
            return Times(entry["fp32_microseconds"], entry["bf16_microseconds"])
    times = conv_timing.measure(convolutions, device, backward=backward)
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
