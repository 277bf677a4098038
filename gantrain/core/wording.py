"""Names options in messages: `--data FOLDER` on the command line, `data=FOLDER` in Python.

Each command enters `speaking_as_command`. A call from Python does not, so its messages have
Python's words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_command = ContextVar("is_command", default=False)


@contextmanager
def speaking_as_command() -> Iterator[None]:
    """Have messages name the options of the command line."""
    token = _is_command.set(True)
    try:
        yield
    finally:
        _is_command.reset(token)


def is_command() -> bool:
    """Return whether messages name the options of the command line, and not Python's."""
    return _is_command.get()


def option(name: str) -> str:
    """Return the name of an option, such as `--data-target` or `data_target`. name: Python's."""
    return f"--{name.replace('_', '-')}" if _is_command.get() else name


def option_with(name: str, value: str = "") -> str:
    """Return an option as a user writes it, such as `--data FOLDER` or `data=FOLDER`.

    Without a value, it is a switch.
    """
    if _is_command.get():
        return f"{option(name)} {value}".rstrip()
    return f"{name}={value or True}"


def option_of_set(key: str, name: str) -> str:
    """Return the option that gives a test set of `evaluate` by name.

    key: the key of `data`; one that ends in `_target` names the targets.
    """
    return f"{option('data_target' if key.endswith('_target') else 'data')} {name}"


def import_advice() -> str:
    """Return how a user has a module imported."""
    return "--import MODULE" if _is_command.get() else "`import MODULE` before the call"
