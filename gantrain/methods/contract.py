"""Checks that a method, once built, keeps the contract of gantrain.methods.base.

Nothing is trained before.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from gantrain.core.component import BadComponent
from gantrain.data.kinds.table import KINDS
from gantrain.data.request import FURTHER_SOURCE
from gantrain.methods.base import Input, Method, Phase
from gantrain.methods.constructor_check import describe_missing_init
from gantrain.methods.network_checks import role_problems, statement_problems

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # files and keys of a recipe bear it
_POOL = ("size", "share", "state_dict", "load_state_dict")
# Parts of a batch that are no further inputs, and arguments of `Translator.translate`.
_FURTHER_SOURCE = re.compile(rf"{FURTHER_SOURCE}\d+")
_TAKEN_ROLES = ("source", "target", "style", "fake", "image", "size", "output_size")
_FLAGS = ("paired", "has_back", "has_style")
_TERMS_PARAMETERS = ("batch", "carried", "context")
_FORWARD_PARAMETERS = ("batch", "context")
# What gantrain calls, and with which parameters.
_FUNCTIONS = {
    "translate": ("batch",),
    "translate_back": ("batch",),
    "style": ("given",),
    "diagnose": ("batch",),
    "measure": ("batch",),
}


def check_contract(method: object) -> None:
    """Raises BadComponent with a line for each thing that the method's class has to mend."""
    cls = type(method)
    if not isinstance(method, Method):
        raise BadComponent(
            f"method: {cls.__name__} is no Method; derive the class from gantrain.Method"
        )
    missing_init = describe_missing_init(method)
    if missing_init:
        raise BadComponent(missing_init)
    tables = list(_table_problems(method))
    problems = tables or [
        *_network_problems(method),
        *role_problems(method),
        *statement_problems(method),
        *_phase_problems(method),
        *_capability_problems(method),
        *_function_problems(method),
        *_weight_problems(method.loss_weights),
    ]
    if problems:
        raise BadComponent("\n".join(f"method: {cls.__name__}.{problem}" for problem in problems))


def inputs_of(cls: object) -> Mapping[str, Input]:
    """Return what a class of methods takes beside source and target, before it is built.

    A class that is no Method takes nothing; building it reports that. Raises BadComponent with a
    line for each wrong role.
    """
    if not isinstance(cls, type) or not issubclass(cls, Method):
        return {}
    problems = list(_input_problems(cls.inputs))
    if problems:
        raise BadComponent("\n".join(f"method: {cls.__name__}.{problem}" for problem in problems))
    return cls.inputs


def _table_problems(method: Method) -> Iterator[str]:
    """Yield a line on each wrong container, without which nothing else can be checked."""
    for table in ("networks", "auxiliary"):
        value: object = getattr(method, table)
        if not isinstance(value, nn.ModuleDict):
            yield f"{table}: found {_shown(value)}, allowed: an nn.ModuleDict"
    for table in ("phases", "inference"):
        value = getattr(method, table)
        if not isinstance(value, tuple | list):
            yield f"{table}: found {_shown(value)}, allowed: a tuple{_comma(value)}"
    if method.inputs is not type(method).inputs:
        yield "inputs: found in the object, allowed: in the class, which is read before it is built"
    if not isinstance(method.pools, dict):
        yield f"pools: found {_shown(method.pools)}, allowed: a dictionary"
        return
    for name, pool in method.pools.items():
        if not all(hasattr(pool, part) for part in _POOL):
            yield (
                f"pools[{name!r}]: found {_shown(pool)}, allowed: a"
                " gantrain.methods.image_pool.ImagePool"
            )


def _input_problems(inputs: object) -> Iterator[str]:
    """Yield a line on each wrong role of a further input."""
    if not isinstance(inputs, Mapping):
        yield f"inputs: found {_shown(inputs)}, allowed: a dictionary of gantrain.Input by role"
        return
    for role, taken in inputs.items():
        is_name = isinstance(role, str) and role.isidentifier()
        if not is_name or role in _TAKEN_ROLES or _FURTHER_SOURCE.fullmatch(role):
            yield (
                f"inputs: found the role {_shown(role)}, allowed: a name other than"
                f" {', '.join(_TAKEN_ROLES)}, source2"
            )
        elif not isinstance(taken, Input) or taken.kind not in KINDS:
            yield (
                f"inputs[{role!r}]: found {_shown(taken)}, allowed: gantrain.Input(KIND), whose"
                f" kind is one of {', '.join(KINDS)}"
            )


def _weight_problems(weights: object) -> Iterator[str]:
    """Yield a line on each wrong weight. A first step shows whether the losses exist."""
    if not isinstance(weights, Mapping):
        yield f"loss_weights: found {_shown(weights)}, allowed: a dictionary of numbers by loss"
        return
    for name, weight in weights.items():
        numbers = weight.values() if isinstance(weight, dict) else [weight]
        if not isinstance(name, str):
            yield f"loss_weights: found the name {_shown(name)}, allowed: the name of a loss"
        elif not all(map(_is_finite, numbers)):
            yield f"loss_weights[{name!r}]: found {_shown(weight)}, allowed: a finite number"


def _is_finite(weight: object) -> bool:
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        return False
    return math.isfinite(weight)


def _network_problems(method: Method) -> Iterator[str]:
    names = list(method.networks)
    if not names:
        yield "networks: found none, allowed: at least one; fill it in the constructor"
        return
    yield from _name_problems("networks", names)
    yield from _name_problems("pools", list(method.pools))
    owners: dict[int, str] = {}
    for name, network in method.networks.items():
        shared = {owners[id(p)] for p in network.parameters() if id(p) in owners}
        if shared:
            yield (
                f"networks: found {name} and {', '.join(sorted(shared))} with the same parameters,"
                " allowed: parameters of one network each; make the common part a network of"
                " its own"
            )
        owners |= {id(p): name for p in network.parameters()}
    unknown = [name for name in method.inference if name not in method.networks]
    if unknown or not method.inference:
        unknown_names = ", ".join(map(repr, unknown)) or "none"
        yield (
            f"inference: found {unknown_names}, allowed: {', '.join(names)}, the networks that"
            " translate needs"
        )


def _phase_problems(method: Method) -> Iterator[str]:
    if not method.networks:  # of which a phase could name none
        return
    if not method.phases:
        yield "phases: found none, allowed: at least one Phase; set self.phases in the constructor"
    wrong = [phase for phase in method.phases if not isinstance(phase, Phase)]
    if wrong:
        yield f"phases: found {_shown(wrong[0])}, allowed: gantrain.Phase(NAME, NETWORKS, TERMS)"
        return
    yield from _name_problems("phases", [phase.name for phase in method.phases])
    trained: dict[str, str] = {}
    for phase in method.phases:
        place = f"phases: {phase.name!r}"
        if not isinstance(phase.networks, tuple | list) or not phase.networks:
            yield (
                f"{place}: found {_shown(phase.networks)} as networks, allowed: a"
                f" tuple{_comma(phase.networks)}"
            )
            continue
        yield from _phase_function_problems(place, phase)
        yield from _trained_problems(place, phase, method, trained)


def _phase_function_problems(place: str, phase: Phase) -> Iterator[str]:
    """Yield a line on each of a phase's functions that has not the expected parameters."""
    if not callable(phase.terms):
        yield (
            f"{place}: found {_shown(phase.terms)} as terms, allowed: a function that returns"
            " gantrain.Terms"
        )
    elif not _takes(phase.terms, len(_TERMS_PARAMETERS)):
        yield (
            f"{place}: found terms {_signature(phase.terms)}, allowed: a function of"
            f" ({', '.join(_TERMS_PARAMETERS)})"
        )
    if phase.forward is None:
        return
    if not callable(phase.forward):
        yield (
            f"{place}: found {_shown(phase.forward)} as forward, allowed: a function that returns"
            " tensors by name"
        )
    elif not _takes(phase.forward, len(_FORWARD_PARAMETERS)):
        yield (
            f"{place}: found forward {_signature(phase.forward)}, allowed: a function of"
            f" ({', '.join(_FORWARD_PARAMETERS)})"
        )


def _trained_problems(
    place: str, phase: Phase, method: Method, trained: dict[str, str]
) -> Iterator[str]:
    """Yield a line on each network that the phase cannot train.

    trained: the phase of each network so far, to which those of this phase are added.
    """
    networks: list[nn.Module] = []
    for name in phase.networks:
        if name not in method.networks:
            yield f"{place}: found the network {name!r}, allowed: {', '.join(method.networks)}"
        else:
            networks.append(method.networks[name])
            if name in trained:
                yield (
                    f"{place}: found the network {name!r}, which {trained[name]!r} trains; allowed:"
                    " one phase each"
                )
        trained.setdefault(name, phase.name)
    if networks and not any(list(network.parameters()) for network in networks):
        yield f"{place}: found networks without parameters, allowed: at least one to train"


def _capability_problems(method: Method) -> Iterator[str]:
    for flag in _FLAGS:
        value: object = getattr(method, flag)
        if not isinstance(value, bool):
            yield f"{flag}: found {_shown(value)}, allowed: True or False"
    for flag, function in (("has_back", "translate_back"), ("has_style", "style")):
        declared = getattr(method, flag)
        is_missing = getattr(type(method), function) is getattr(Method, function)
        if declared and is_missing:
            yield (
                f"{flag}: found {declared!r} without a {function}(); define it, or leave {flag} out"
            )


def _function_problems(method: Method) -> Iterator[str]:
    """Yield a line on each function that gantrain calls and that it cannot call."""
    for name, parameters in _FUNCTIONS.items():
        function: object = getattr(method, name)
        wanted = f"({', '.join(parameters)})"
        if not callable(function):
            yield f"{name}: found {_shown(function)}, allowed: a function {name}{wanted}"
        elif not _takes(function, len(parameters)):
            yield (
                f"{name}: found {name}{_signature(function)} behind self, allowed: {name}{wanted}"
            )


def _takes(function: Callable[..., object], count: int) -> bool:
    """Return whether a function can be called with that many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # it states no signature
        return True
    return True


def _signature(function: Callable[..., object]) -> str:
    """The names of a function's parameters in brackets."""
    return f"({', '.join(inspect.signature(function).parameters)})"


def _name_problems(table: str, names: Sequence[object]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"{table}: found the name {name!r}, allowed: letters, digits and underscores"
        if names.count(name) > 1:
            yield f"{table}: found the name {name!r} {names.count(name)} times, allowed: once"


def _comma(value: object) -> str:
    """A hint for a text where a tuple of one text was meant."""
    return f", such as ({value!r},)" if isinstance(value, str) else ""


def _shown(value: object) -> str:
    if isinstance(value, str | int | float | tuple | list) or value is None:
        return " ".join(f"{value!r:.60}".split())
    return f"an object of {type(value).__name__}"
