"""What other projects call a setting, and the words of a gantrain command line in its place.

`peer_options.yaml` beside this file is the only source, of suggestions and of the tables in
`docs/coming_from/`."""

import functools
from pathlib import Path
from typing import Any

from gantrain.core.yaml12 import read_mapping

_FILE = Path(__file__).with_name("peer_options.yaml")
_NEWCOMERS = "words"  # the section that is no table of the documentation
_ANY = "*"


@functools.lru_cache(maxsize=1)
def _sections() -> dict[str, Any]:
    return read_mapping(_FILE)


def normalise(name: str) -> str:
    """A name as names are compared: `batchSize`, `batch-size` and `batch_size` are one."""
    return name.lower().replace("_", "").replace("-", "")


def table_rows() -> dict[str, list[tuple[str, str]]]:
    """Return the rows of each project's table: a cell with its options, and a cell with those of
    gantrain.
    """
    tables: dict[str, list[tuple[str, str]]] = {}
    for project, rows in _sections().items():
        if project != _NEWCOMERS:
            tables[project] = [(row["there"], row["here"]) for row in rows]
    return tables


def words_for(option: str, value: str) -> list[str]:
    """The words that set in gantrain what `option` sets elsewhere; empty where none are known."""
    for name, template in _entries("give"):
        if normalise(name) != normalise(option):
            continue
        chosen = template.get(value, template.get(_ANY)) if isinstance(template, dict) else template
        if chosen is not None:
            words = [chosen] if isinstance(chosen, str) else chosen
            return [word.replace("{}", value) for word in words]
    return []


def explanation_for(option: str) -> str:
    """What a user needs to know of an option without a counterpart; empty where nothing is
    known.
    """
    for name, text in _entries("none"):
        if normalise(name) == normalise(option):
            return str(text)
    return ""


def _entries(part: str) -> list[tuple[str, Any]]:
    """All options of a part, `give` or `none`, in the order of the file."""
    entries: list[tuple[str, Any]] = []
    for section in _sections().values():
        rows = section if isinstance(section, list) else [section]
        for row in rows:
            entries += row.get(part, {}).items()
    return entries
