"""Checks of a path before it is opened: opening a FIFO or a device can wait forever."""

import errno
import os
import re
import stat
from pathlib import Path

from gantrain.core.errors import UserError

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a Path has one slash of a URL's two
_FETCH_FIRST = "fetch the file first, for example with `git annex get` or `dvc pull`"


def describe_obstacle(path: str | os.PathLike[str]) -> str:
    """Describe what is at `path` instead of a regular file or a folder.

    The text is "" where nothing is wrong. A path at which there is nothing gives "" too. Symbolic
    links are followed. Nothing is opened.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return _describe_failure(path, error)
    except ValueError as error:  # of a path that no system knows
        return f"no path ({error})"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def check_not_special(path: str | os.PathLike[str], what: str) -> None:
    """Raise UserError for a path that cannot be read.

    This is a FIFO, a device, a socket, a dangling link, a loop of links or a URL. what: the setting
    or option that names the path, for the message. A path at which there is nothing passes, since
    its own reader knows what to advise. Raises UserError, in one line.
    """
    obstacle = describe_obstacle(path)
    if obstacle:
        raise UserError(f"{what}: {path} is {obstacle}; allowed: a regular file or a folder")


def check_regular_file(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path, if a regular file is there, also through symbolic links.

    Raises UserError, in one line.
    """
    obstacle = describe_obstacle(path)
    if not obstacle and os.path.isdir(path):
        obstacle = "a folder"
    if obstacle:
        raise UserError(f"{what}: {path} is {obstacle}; allowed: a regular file")
    if not os.path.exists(path):
        raise UserError(f"{what}: there is no file {path}; check the path")
    return Path(path)


def _describe_failure(path: str | os.PathLike[str], error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a loop of symbolic links"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"out of reach ({error.strerror})"
    if _URL.match(os.fspath(path)):
        return "a URL, and only data sets may be remote"
    if os.path.islink(path):
        return f"a dangling link to {os.readlink(path)} ({_FETCH_FIRST})"
    return ""
