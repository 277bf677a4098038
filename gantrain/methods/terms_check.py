"""Whether what a phase returns is Terms that can be trained on. Nothing is read from the device."""

from collections.abc import Collection, Iterator, Mapping

from torch import Tensor

from gantrain.core.component import BadComponent
from gantrain.methods.base import Terms

# The names that gantrain's own values have in a row of metrics.jsonl.
_ROW_NAMES = (
    "images_seen",
    "epoch",
    "time",
    "images_per_second",
    "data_wait",
    "lr",
    "memory_gib",
    "nonfinite_steps",
    "damaged_samples",
)
_OF_EVALUATIONS = "val_"


def check_terms(terms: object, phase: str, cls: str) -> None:
    """Raises BadComponent with a line for each problem.

    phase: its name. cls: that of the method's class, for the message.
    """
    place = f"method: {cls}, phase {phase!r}"
    if not isinstance(terms, Terms):
        raise BadComponent(
            f"{place}: found {describe_value(terms)}, allowed: gantrain.Terms({{NAME: LOSS}})"
        )
    problems = [
        *_loss_problems(terms.losses),
        *_carried_problems(terms.carried),
        *_stat_problems(terms.stats),
    ]
    if problems:
        raise BadComponent("\n".join(f"{place}: {problem}" for problem in problems))


def check_forward(tensors: object, phase: str, cls: str) -> None:
    """Raise BadComponent unless a phase's `forward` returned a dictionary of tensors.

    phase: its name. cls: that of the method's class, for the message.
    """
    place = f"method: {cls}, phase {phase!r}: forward"
    if not isinstance(tensors, dict) or not tensors:
        raise BadComponent(
            f"{place}: found {describe_value(tensors)}, allowed: a dictionary of at least one"
            " tensor"
        )
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise BadComponent(
                f"{place}: found {describe_value(value)} as {name!r}, allowed: a tensor"
            )


def check_names(terms: Mapping[str, Terms], weights: Collection[str], cls: str) -> None:
    """Raise BadComponent with a line for each name that a row of the run can't hold.

    terms: of a whole step, by the names of the phases. weights: the names in `loss_weights`. cls:
    the name of the method's class, for the message.
    """
    problems = []
    owners: dict[str, str] = {}
    losses: list[str] = []
    for phase, of_phase in terms.items():
        losses += of_phase.losses
        for kind, values in (("losses", of_phase.losses), ("stats", of_phase.stats)):
            for name in values:
                place = f"method: {cls}, phase {phase!r}: {kind}[{name!r}]"
                problem = _name_problem(name, list(terms))
                if not problem and name in owners:
                    problem = f"found a name that {owners[name]} have, too; choose another name"
                owners.setdefault(name, f"the {kind} of phase {phase!r}")
                if problem:
                    problems.append(f"{place}: {problem}")
    for name in weights:
        if name not in losses:
            problems.append(
                f"method: {cls}.loss_weights: found {name!r}, allowed: the losses of a first step,"
                f" {', '.join(losses)}; set self.loss_weights in the constructor"
            )
    if problems:
        raise BadComponent("\n".join(problems))


def _name_problem(name: object, phases: Collection[str]) -> str:
    """Return what is wrong with the name of a loss or of a stat; empty where nothing is."""
    if not isinstance(name, str) or not name:
        return "found a name that is no text, allowed: a text"
    taken = [*_ROW_NAMES, *(f"lr_{phase}" for phase in phases)]
    taken += [f"{phase}_gradient" for phase in phases]
    if name in taken or name.startswith(_OF_EVALUATIONS):
        return (
            "found a name of gantrain's own values in metrics.jsonl; choose another name, which"
            f" does not begin with {_OF_EVALUATIONS}"
        )
    return ""


def _loss_problems(losses: object) -> Iterator[str]:
    if not isinstance(losses, dict) or not losses:
        yield (
            f"losses: found {describe_value(losses)}, allowed: a dictionary of at least one loss by"
            " name"
        )
        return
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.is_floating_point():
            yield (
                f"losses[{name!r}]: found {describe_value(loss)}, allowed: a float tensor without"
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


def _carried_problems(carried: object) -> Iterator[str]:
    if not isinstance(carried, dict):
        yield f"carried: found {describe_value(carried)}, allowed: a dictionary of tensors"
        return
    for name, value in carried.items():
        if not isinstance(value, Tensor):
            yield f"carried[{name!r}]: found {describe_value(value)}, allowed: a tensor"
        elif value.requires_grad:
            yield (
                f"carried[{name!r}]: found a tensor with a gradient, allowed: a detached one; call"
                " detach()"
            )


def _stat_problems(stats: object) -> Iterator[str]:
    if not isinstance(stats, dict):
        yield f"stats: found {describe_value(stats)}, allowed: a dictionary of tensors"
        return
    for name, value in stats.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            yield (
                f"stats[{name!r}]: found {describe_value(value)}, allowed: a tensor without"
                " dimensions"
            )
        elif value.requires_grad:
            yield (
                f"stats[{name!r}]: found a tensor with a gradient, allowed: a detached one; call"
                " detach()"
            )


def describe_value(value: object) -> str:
    """Describe what own code returned, in one line."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, int | float | str | dict) or value is None:
        return " ".join(f"{value!r:.60}".split())
    return f"an object of {type(value).__name__}"
