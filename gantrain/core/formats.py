"""The format numbers of the files that gantrain writes, and the check of a number that was read.

A change that an older file does not survive raises the number of that file. gantrain refuses a file
of another format, and migrates none before the first release.
"""

from pathlib import Path

from gantrain.core.errors import UserError

INDEX = 3  # index.json beside the shards of a data set
# pack.json of a data set in the cache, raised when a folder would be packed differently than before
PACK = 5
CHECKPOINT = 6  # state.json of a checkpoint
RUN = 4  # recipe.yaml of a run's folder
PRECISION = 1  # precision.json of a run's folder and of the cache
RESULTS = 1  # .translated.json in a folder of results


class AnotherFormat(UserError):
    """A file of another format, which is not damaged."""


def check_format(path: Path | str, content: object, expected: int, advice: str) -> None:
    """Refuse a file whose `format` is not the expected number.

    content: the file as a mapping; one without a `format` was written before formats had numbers.
    advice: what the user can do, such as "prepare the data again". Raises UserError, in one line.
    """
    number = content.get("format", "none") if isinstance(content, dict) else "none"
    if number != expected or isinstance(number, bool):
        raise AnotherFormat(
            f"{path}: found format {number!r:.40}, this gantrain reads format {expected}; {advice}"
        )
