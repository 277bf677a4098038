"""Whether what a phase returns is Terms that can be trained on. Nothing is read from the device."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from gantrain.core.component import BadComponent
from gantrain.methods.base import Terms


def check_terms(terms: Any, phase: str, cls: str) -> None:
    """Raises BadComponent with a line for each problem.

    phase: its name. cls: that of the method's class, for the message.
    """
    place = f"method: {cls}, phase {phase!r}"
    if not isinstance(terms, Terms):
        raise BadComponent(
            f"{place}: found {_described(terms)}, allowed: gantrain.Terms({{NAME: LOSS}})"
        )
    problems = [
        *_loss_problems(terms.losses),
        *_carried_problems(terms.carried),
        *_stat_problems(terms.stats),
    ]
    if problems:
        raise BadComponent("\n".join(f"{place}: {problem}" for problem in problems))


def _loss_problems(losses: Any) -> Iterator[str]:
    if not isinstance(losses, dict) or not losses:
        yield (
            f"losses: found {_described(losses)}, allowed: a dictionary of at least one loss by"
            " name"
        )
        return
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.is_floating_point():
            yield (
                f"losses[{name!r}]: found {_described(loss)}, allowed: a float tensor without"
                " dimensions"
            )
    tensors = [loss for loss in losses.values() if isinstance(loss, Tensor)]
    if len(tensors) == len(losses) and not any(loss.requires_grad for loss in tensors):
        names = ", ".join(map(str, losses))
        yield (
            f"losses: found {names} without a gradient, allowed: at least one that depends on the"
            " phase's networks; leave out detach() and no_grad()"
        )
    devices = {str(loss.device) for loss in tensors}
    if len(devices) > 1:
        yield f"losses: found devices {', '.join(sorted(devices))}, allowed: the batch's"


def _carried_problems(carried: Any) -> Iterator[str]:
    if not isinstance(carried, dict):
        yield f"carried: found {_described(carried)}, allowed: a dictionary of tensors"
        return
    for name, value in carried.items():
        if not isinstance(value, Tensor):
            yield f"carried[{name!r}]: found {_described(value)}, allowed: a tensor"
        elif value.requires_grad:
            yield (
                f"carried[{name!r}]: found a tensor with a gradient, allowed: a detached one; call"
                " detach()"
            )


def _stat_problems(stats: Any) -> Iterator[str]:
    if not isinstance(stats, dict):
        yield f"stats: found {_described(stats)}, allowed: a dictionary of tensors"
        return
    for name, value in stats.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            yield (
                f"stats[{name!r}]: found {_described(value)}, allowed: a tensor without dimensions"
            )
        elif value.requires_grad:
            yield (
                f"stats[{name!r}]: found a tensor with a gradient, allowed: a detached one; call"
                " detach()"
            )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, int | float | str | dict) or value is None:
        return f"{value!r:.60}"
    return f"an object of {type(value).__name__}"
