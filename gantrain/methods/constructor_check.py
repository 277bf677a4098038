"""Checks that the constructor of a user's own method or network has called `super().__init__()`."""

import traceback
from collections.abc import Iterator

from torch import nn

from gantrain.core.own_code import is_own
from gantrain.methods.base import Method

_SET_BY_METHOD = ("networks", "auxiliary", "phases", "pools")


def describe_missing_init(instance: object) -> str:
    """Return what is wrong with an object whose constructor did not call `super().__init__()`.

    Returns an empty text for an object that is complete, and for one that is no PyTorch module.
    """
    if not isinstance(instance, nn.Module):
        return ""
    missing = list(_missing_attributes(instance))
    if not missing:
        return ""
    name = type(instance).__name__
    return (
        f"method: {name}.__init__ does not call super().__init__() first, which makes"
        f" {', '.join(missing)}; begin the constructor of {name} with super().__init__()"
    )


def describe_early_use(error: BaseException) -> str:
    """Return what is wrong where an own constructor used the object before `super().__init__()`.

    Only an AttributeError says so. Returns an empty text for any other error.
    """
    if not isinstance(error, AttributeError):
        return ""
    problem = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_name != "__init__" or code.co_argcount == 0:
            continue
        instance = frame.f_locals.get(code.co_varnames[0])
        if is_own(type(instance)):
            problem = describe_missing_init(instance) or problem
    return problem


def _missing_attributes(instance: nn.Module) -> Iterator[str]:
    state = vars(instance)
    if "_modules" not in state:
        yield "the parts of a PyTorch module"
        return
    if not isinstance(instance, Method):
        return
    for name in _SET_BY_METHOD:
        if name not in state and name not in state["_modules"] and not hasattr(instance, name):
            yield name
