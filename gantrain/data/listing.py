"""List the images of a folder: one rule for packing, training, translation and evaluation."""

import errno
import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from gantrain.core.errors import UserError
from gantrain.core.paths import describe_obstacle
from gantrain.data.formats.format_table import extensions

# Files and folders that systems leave beside images. Names that start with a dot are ignored as
# well.
_SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir"}
)
# Visits of folders that were visited before, by other links. Links can multiply endlessly.
_MOST_REPEATS = 10_000

_FOLDER = "a folder"

Identity = tuple[int, int]  # device and inode of a folder


class Listing(NamedTuple):
    """The images of a folder, and a line for each file that is not one.

    images: files by their sub-path below the folder, such as `cam1/0.png`, in this order. skipped:
    lines `FILE: reason`, in the order of the files.
    """

    images: dict[str, Path]
    skipped: list[str]


def list_images(folder: Path, recursive: bool = True) -> Listing:
    """List the images of a folder and, if `recursive`, of all folders inside it.

    Links are followed. Hidden files, hidden folders and what systems leave (`Thumbs.db`,
    `__MACOSX`) are ignored. Files with another extension, dangling links and special files are
    skipped with their reason. Nothing is opened. Raises UserError, in one line, for a loop of
    links.
    """
    names, skipped = list_names(folder, recursive)
    return Listing({name: Path(folder, name) for name in names}, skipped)


def list_names(folder: Path, recursive: bool = True) -> tuple[list[str], list[str]]:
    """Return the sorted sub-paths of the images, and the skipped lines of `list_images`.

    It is quick where a folder has very many files.
    """
    scan = _Scan(str(folder), recursive)
    return sorted(scan.images), sorted(scan.skipped)


def holds_images(folder: Path) -> bool:
    """Return whether a folder, or a folder inside it, holds an image.

    A file or a hidden folder holds none.
    """
    return (
        not is_ignored(folder.name)
        and folder.is_dir()
        and bool(_Scan(str(folder), stop_at_first=True).images)
    )


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of that name is hidden, or is one that systems leave."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def without_extension(name: str) -> str:
    """Return the sub-path of an image without the extension, by which images match."""
    return os.path.splitext(name)[0]


def matching_name(name: str) -> str:
    """Return a name in Unicode's form NFC; systems write accented letters in several forms."""
    return unicodedata.normalize("NFC", name)


class _Scan:
    """A walk over a folder. images: sub-paths. skipped: lines."""

    def __init__(self, root: str, recursive: bool = True, *, stop_at_first: bool = False) -> None:
        self.root = root
        self.recursive = recursive
        self.stop_at_first = stop_at_first
        self.images: list[str] = []
        self.skipped: list[str] = []
        self._seen: set[Identity] = set()
        self._repeats = 0
        self._walk()

    def _walk(self) -> None:
        # A folder waits with its sub-path and the identities of the folders around it, which reveal
        # a loop.
        waiting: list[tuple[str, frozenset[Identity]]] = [("", frozenset())]
        while waiting:
            prefix, around = waiting.pop()
            here = os.path.join(self.root, prefix)
            try:
                inside = around | {self._enter(here, around)}
                folders = self._read_folder(here, prefix)
            except OSError as error:
                self.skipped.append(f"{here.rstrip('/')}: cannot be listed ({error.strerror})")
                continue
            if self.stop_at_first and self.images:
                return
            if self.recursive:
                waiting += [(f"{prefix}{name}/", inside) for name in folders]

    def _enter(self, folder: str, around: frozenset[Identity]) -> Identity:
        """Return the identity of a folder that may be entered.

        Raises UserError where links lead back to it, or multiply.
        """
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in around:
            raise UserError(
                f"{folder.rstrip('/')} is a loop of links, back to a folder around it; remove the"
                " link"
            )
        if identity in self._seen:
            self._repeats += 1
        if self._repeats > _MOST_REPEATS:
            raise UserError(
                f"{self.root}: links lead to the same folders more than {_MOST_REPEATS} times;"
                " remove some"
            )
        self._seen.add(identity)
        return identity

    def _read_folder(self, folder: str, prefix: str) -> list[str]:
        """Enter the files of a folder into the lists, and return the names of the folders in it."""
        folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_ignored(entry.name):
                    continue
                reason = _why_no_file(entry)
                if reason == _FOLDER:
                    folders.append(entry.name)
                elif reason:
                    self.skipped.append(f"{entry.path}: {reason}")
                elif _has_extension(entry.name):
                    self.images.append(prefix + entry.name)
                else:
                    self.skipped.append(f"{entry.path}: not one of {', '.join(extensions())}")
        return folders


def _why_no_file(entry: os.DirEntry[str]) -> str:
    """Return `_FOLDER`, or why an entry is no regular file; "" for a regular file.

    Raises UserError for a loop of links.
    """
    try:
        if entry.is_file():
            return ""
        if entry.is_dir():
            return _FOLDER
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{entry.path} is a loop of links; remove the link") from None
        return f"cannot be read ({error.strerror})"
    return describe_obstacle(entry.path) or "gone"


def _has_extension(name: str) -> bool:
    """Return whether the name of a file ends as that of an image."""
    return name.lower().endswith(tuple(f".{extension}" for extension in extensions()))
