"""Interleaved repeats of several contenders, and the spread of their rates."""

import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, TypeVar

import torch

from gantrain.core.world import World

Name = TypeVar("Name")


class Spread(TypedDict):
    """The rates of one contender: the median, the extremes, and all repeats in their order."""

    median: float
    min: float
    max: float
    repeats: list[float]


def settle(world: World) -> None:
    """Wait until the devices of all ranks have finished their work."""
    if world.device.type == "cuda":
        torch.cuda.synchronize()
    world.accelerator.wait_for_everyone()


def alternate(contenders: Mapping[Name, Callable[[], float]], repeats: int) -> dict[Name, Spread]:
    """Return the spread of each contender.

    A repeat measures all contenders, and every other repeat takes them in reverse order. Other work
    and the heat of the machine then affect all of them alike.
    """
    rates: dict[Name, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name in [*contenders][:: -1 if repeat % 2 else 1]:
            rates[name].append(contenders[name]())
        if os.environ.get("RANK", "0") == "0":
            print(f"repeat {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return {name: spread(values) for name, values in rates.items()}


def spread(rates: Sequence[float]) -> Spread:
    """Return the spread of rates."""
    return {
        "median": rounded(statistics.median(rates)),
        "min": rounded(min(rates)),
        "max": rounded(max(rates)),
        "repeats": [rounded(rate) for rate in rates],
    }


def rounded(value: float) -> float:
    """Return the value with four significant digits."""
    return float(f"{value:.4g}")


def ratio(ours: Spread, theirs: Spread) -> float:
    """Return the ratio of the medians of two spreads."""
    return round(ours["median"] / theirs["median"], 3)
