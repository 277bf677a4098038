"""Asks a method for a style, and checks what it returns."""

from collections.abc import Iterator

from torch import Tensor

from gantrain.core.component import BadComponent
from gantrain.core.out_of_memory import is_out_of_memory
from gantrain.core.own_code import describe_error, is_own
from gantrain.methods import METHODS
from gantrain.methods.base import Method
from gantrain.methods.terms_check import describe_value


def describe_methods_with_styles() -> str:
    """Return the names of the methods that can learn styles, with the keys that a recipe sets."""
    return ", ".join(_methods_with_styles()) or "none"


def _methods_with_styles() -> Iterator[str]:
    for name, cls in METHODS.items():
        if isinstance(cls, type) and issubclass(cls, Method) and cls.style is not Method.style:
            yield f"{name} with {cls.style_keys}" if cls.style_keys else name


def check_style(method: Method, given: int | Tensor) -> Tensor:
    """Return the method's style, (1, channels), of a seed or of an image, (1, C, H, W) in [-1, 1].

    Raises BadComponent, in one line, where a class from outside of gantrain raises an exception or
    returns something else.
    """
    name = type(method).__name__
    if not is_own(type(method)):
        return method.style(given)
    try:
        style: object = method.style(given)
    except Exception as error:
        if isinstance(error, BadComponent) or is_out_of_memory(error):
            raise
        raise BadComponent(f"method: {name}.style raised {describe_error(error)}") from None
    is_style = isinstance(style, Tensor) and style.ndim == 2 and len(style) == 1
    if not isinstance(style, Tensor) or not is_style or not style.is_floating_point():
        raise BadComponent(
            f"method: {name}.style gives {describe_value(style)}, allowed: a float tensor of shape"
            " (1, channels)"
        )
    return style
