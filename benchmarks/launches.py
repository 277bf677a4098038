r"""Counts the operators that a training step launches, by phase. It measures no time.

    python benchmarks/launches.py recipe=pix2pix batch_size=1
    python benchmarks/launches.py recipe=pix2pix batch_size=1 --vary precision=fp32,bf16

It runs on a CPU, and counts what a GPU would launch. An operator that only makes a view or
allocates memory launches nothing. An operator on lists of tensors (foreach) counts once where CUDA
has one kernel for whole lists, and once a tensor where it has not: `torch.Tensor`s of other types,
sizes or strides in the lists take the slow route. Such a kernel starts once for every 320 pieces of
65,536 elements, which does not count here.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import report
import torch
from contenders import load, variants
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.bench.training_loops import Trained
from gantrain.core.console import complain
from gantrain.core.world import World
from gantrain.training.setup import RunSetup

_ALLOCATING = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")


class LaunchCounter(TorchDispatchMode):
    """Counts the operators that launch a kernel, by what runs: a phase, `ema` or `other`.

    Attributes:
        launches: The number of launches by what runs.
        casts: The number of those that cast a weight or an image to bfloat16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.part = "other"
        self.launches: Counter[str] = Counter()
        self.casts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        count = _count(func, args)
        self.launches[self.part] += count
        result = func(*args, **(kwargs or {}))
        is_cast = func is torch.ops.aten._to_copy.default and result.dtype == torch.bfloat16
        self.casts[self.part] += count * is_cast
        return result

    def within(self, part: str | None, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose launches count for a part.

        part: None is a phase of the engine, whose runner is the first argument.
        """

        def counted(*arguments: Any, **options: Any) -> Any:
            before = self.part
            self.part = arguments[0].phase.name if part is None else part
            try:
                return function(*arguments, **options)
            finally:
                self.part = before

        return counted


def _count(func: Any, args: Sequence[Any]) -> int:
    """Return the launches of an operator."""
    name = func.overloadpacket.__name__
    if name.startswith("_foreach"):
        return 1 if _is_one_kernel(args) else len(args[0])
    if name.startswith("_fused"):
        return 1
    is_view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    return 0 if is_view or name in _ALLOCATING or name == "_local_scalar_dense" else 1


def _is_one_kernel(args: Sequence[Any]) -> bool:
    """Return whether CUDA has one kernel for these lists.

    The conditions are those of `can_use_fast_route` in torch's ForeachUtils.h.
    """
    lists = [arg for arg in args if isinstance(arg, list | tuple) and isinstance(arg[0], Tensor)]
    first = lists[0][0]
    for tensors in zip(*lists, strict=True):
        for tensor in tensors:
            is_alike = tensor.dtype == first.dtype and tensor.shape == tensors[0].shape
            if not is_alike or _steps(tensor) != _steps(tensors[0]):
                return False
    return True


def _steps(tensor: Tensor) -> list[int]:
    """Return the strides of the dimensions that have more than one element."""
    return [step for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


def count_step(setup: RunSetup) -> list[report.Row]:
    """Return a row for each part of a step, and one for the whole step."""
    trained = Trained(setup)
    trained()  # the first step of an optimiser makes its state
    counter = LaunchCounter()
    engine: Any = trained.engine
    engine.run_phase = counter.within(None, engine.run_phase)
    engine.run_forward = counter.within(None, engine.run_forward)
    engine.ema.update = counter.within("ema", engine.ema.update)
    with counter:
        trained()
    rows: list[report.Row] = []
    phases = [runner.phase.name for runner in engine.phases]
    for part in [*phases, "ema", "other"]:
        rows.append(_row(setup, part, counter.launches[part], counter.casts[part]))
    rows.append(_row(setup, "all", counter.launches.total(), counter.casts.total()))
    return rows


def _row(setup: RunSetup, part: str, launches: int, casts: int) -> report.Row:
    return {
        "recipe": setup.recipe.name,
        "batch": setup.data.split.batch_size,
        "accumulation": setup.data.split.accumulation,
        "precision": setup.precision,
        "part": part,
        "launches": launches,
        "casts to bf16": casts,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="recipe=NAME a.b=c, as for `gantrain train`")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        help="KEY=A,B of the recipe; several: all combinations",
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--note", default="", help="is kept with the result")
    return parser.parse_intermixed_args()


def main() -> None:
    args = arguments()
    rows: list[report.Row] = []
    recipes: dict[str, Any] = {}
    try:
        with World("cpu") as world:
            for changes in variants(args.vary):
                setup = RunSetup(load(args.settings, changes), world)
                recipes.setdefault(setup.recipe.name, setup.recipe.dump())
                rows += count_step(setup)
    except ValueError as e:
        complain(f"launches: {e}")
        sys.exit(2)
    path = report.write("launches", args.out, rows, note=args.note, recipes=recipes)
    print(report.markdown(rows))
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
