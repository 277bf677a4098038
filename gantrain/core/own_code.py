"""Errors in a user's own code as one line: the exception, its file and its line."""

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType

from gantrain.core.errors import RunStopped, UserError

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_LONGEST = 300  # characters of an exception's text


class OwnCodeFailed(UserError):
    """A function from outside gantrain has raised an exception, which the message describes.

    only_this_rank: it may depend on the samples that this rank reads.
    """

    only_this_rank = True


@contextmanager
def naming_failure(code: object, function: str = "") -> Iterator[None]:
    """Turn an error that a function from outside gantrain raises into OwnCodeFailed, in one line.

    Errors of gantrain's own code stay as they are, and so do UserError and a lack of memory.

    code: a function, or the object or the class whose `function` is called.
    """
    try:
        yield
    except (UserError, RunStopped, MemoryError):
        raise
    except Exception as error:
        owner = code if isinstance(code, type) or not function else type(code)
        if not is_own(owner) or _is_out_of_memory(error):
            raise
        name = owner.__name__ if isinstance(owner, type | FunctionType) else type(owner).__name__
        called = f"{name}.{function}" if function else name
        raise OwnCodeFailed(f"{called} raised {describe_error(error)}; correct it there") from None


def _is_out_of_memory(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    from gantrain.core.out_of_memory import is_out_of_memory  # imports torch, a second

    return is_out_of_memory(error)


def is_own(cls: object) -> bool:
    """Return whether a class or function was defined outside of gantrain."""
    module = str(getattr(cls, "__module__", ""))
    return module.partition(".")[0] != "gantrain"


def describe_error(error: BaseException) -> str:
    """Describe an exception in one line: its type, its text, and the place in the user's code.

    The place is the innermost line outside of gantrain and of the installed libraries. Where there
    is no such line, the place is the innermost line of all.
    """
    message = str(error)
    place = _place(error)
    if isinstance(error, SyntaxError):
        message = error.msg
        place = f"{_shown(error.filename or '?')}, line {error.lineno}"
    text = " ".join(message.split())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    name = type(error).__name__
    described = f"{name}: {text}" if text else name
    return f"{described} ({place})" if place else described


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    own = [frame for frame in frames if _is_users(frame.filename)]
    chosen = own[-1] if own else frames[-1]
    return f"{_shown(chosen.filename)}, line {chosen.lineno}"


def _is_users(file: str) -> bool:
    if file.startswith("<frozen"):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES))


def _shown(file: str) -> str:
    """Return a file's path, from the working folder where it lies inside it."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # on another drive
        return file
    return file if relative.startswith("..") else relative
