"""The work of `gantrain bench`: it measures the sides in turns, and makes the table."""

import contextlib
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gantrain.bench.machine_record import hardware, versions, without_paths
from gantrain.bench.peer_settings import check_peer
from gantrain.bench.peer_side import PeerSide
from gantrain.bench.repeats import Spread, alternate, ratio
from gantrain.bench.sides import LOADER, WORKS, OwnSide, PlainSide, Side
from gantrain.bench.training_loops import check_plain, cycle
from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.data.scale import text_of
from gantrain.recipe.schema import Recipe
from gantrain.training.determinism import algorithms
from gantrain.training.launcher import exit_with_parent
from gantrain.training.setup import RunSetup

Rates = dict[tuple[str, str], Spread]  # by work and side
_WORK_WIDTH = 8
_RATE_WIDTH = 28


def run_bench(recipe: Recipe, *, peer: Path | None, repeats: int, steps: int) -> dict[str, object]:
    """Measure a recipe beside the plain loop or beside a peer, and print the table.

    peer: the folder of the peer's checkout; None compares with the plain loop. steps: of each
    measurement, which `repeats` are made of. Return the content of the JSON file. Raises UserError.
    """
    exit_with_parent()
    if peer is not None:
        check_peer(peer, recipe)
    with (
        algorithms(recipe.deterministic),
        World(recipe.device) as world,
        tempfile.TemporaryDirectory() as folder,
        contextlib.ExitStack() as stack,
    ):
        if world.size > 1:
            raise UserError(f"bench: found {world.size} processes, allowed: one")
        setup = RunSetup(recipe, world)
        steps = math.ceil(steps / cycle(setup)) * cycle(setup)
        world.say(_describe(setup))
        other, lines = _other_side(setup, steps, peer, Path(folder), stack)
        for line in lines:
            world.say(line)
        own = OwnSide(setup, steps)
        sides: list[Side] = [own] if other is None else [own, other]
        rates = _measure(sides, repeats)
        own.check()
        for line in table(rates, [side.name for side in sides]):
            world.say_whole(line)
        return _content(setup, rates, lines, {"repeats": repeats, "steps": steps})


def _other_side(
    setup: RunSetup, steps: int, peer: Path | None, folder: Path, stack: contextlib.ExitStack
) -> tuple[Side | None, list[str]]:
    """Return what is compared, or None, and the lines on what differs or is not compared."""
    if peer is not None:
        peer_side = PeerSide(setup, steps, peer=peer, folder=folder)
        setup.world.say(f"this runs the code in {peer_side.peer}")
        stack.enter_context(peer_side)
        return peer_side, ["the peer trains in fp32", *peer_side.lines]
    try:
        check_plain(setup)
    except UserError as error:
        return None, [f"no comparison with the plain loop: {error}"]
    plain_side = PlainSide(setup, steps, folder)
    return plain_side, ["the plain loop trains in fp32", *plain_side.lines]


def _measure(sides: Sequence[Side], repeats: int) -> Rates:
    for side in sides:
        if LOADER in side.works:
            side.images_per_second(LOADER)  # opens the files for the first time
    contenders: dict[tuple[str, str], Callable[[], float]] = {}
    for work in WORKS:
        for side in sides:
            if work in side.works:
                contenders[work, side.name] = partial(side.images_per_second, work)
    return alternate(contenders, repeats)


def table(rates: Rates, sides: Sequence[str]) -> list[str]:
    """Return the lines of the table, of at most 80 columns. sides: their names, gantrain's first.

    A rate is the median of the repeats, with the lowest and the highest.
    """
    header = "images/s".ljust(_WORK_WIDTH)
    for name in sides:
        header += f"  {name.ljust(_RATE_WIDTH)}"
    lines = [f"{header}  ratio" if len(sides) > 1 else header]
    for work in WORKS:
        line = work.ljust(_WORK_WIDTH)
        for name in sides:
            line += f"  {_cell(rates.get((work, name))).ljust(_RATE_WIDTH)}"
        if len(sides) > 1 and (work, sides[1]) in rates:
            line += f"  {ratio(rates[work, sides[0]], rates[work, sides[1]]):.3g}"
        lines.append(line)
    return [line.rstrip() for line in lines]


def _cell(rate: Spread | None) -> str:
    if rate is None:
        return "not compared"
    return f"{_number(rate['median'])} ({_number(rate['min'])} to {_number(rate['max'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _describe(setup: RunSetup) -> str:
    recipe = setup.recipe
    loader = count_text(setup.data.workers(setup.threads), "loader process", "loader processes")
    threads = count_text(setup.threads, "thread")
    return (
        f"{recipe.name} ({recipe.method['name']}): batch {setup.data.split.batch_size},"
        f" {text_of(recipe.data.size)}, {setup.precision} on {setup.world.device.type}, {threads},"
        f" {loader}"
    )


def _content(
    setup: RunSetup, rates: Rates, lines: list[str], settings: dict[str, object]
) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for (work, side), rate in rates.items():
        rows.append({"work": work, "side": side, "images_per_second": rate})
    content: dict[str, object] = {
        "hardware": hardware(),
        "versions": versions(),
        "precision": setup.precision,
        "threads": setup.threads,
        **settings,
        "notes": lines,
        "rows": rows,
        "recipe": setup.recipe.dump(),
    }
    cleaned = without_paths(content)
    assert isinstance(cleaned, dict)
    return cleaned
