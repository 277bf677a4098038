"""Notes on files that were converted while they were read, one for each kind of conversion.

A note is a text with a place for `{files}`. Readers append notes to a list, which threads may
share.
"""

from collections import Counter
from collections.abc import Iterable


def summarise(notes: Iterable[str]) -> list[str]:
    """Return a line for each kind of note, with the number of files."""
    counts = Counter(notes)
    return [text.format(files=_files(count)) for text, count in counts.items()]


def of_one_image(text: str) -> str:
    """Return a note on an image that is no file."""
    return text.format(files="an image")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
