"""Errors in a user's own code as one line: the exception, its file and its line."""

import os
import sysconfig
import traceback
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_LONGEST = 300  # characters of an exception's text


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
