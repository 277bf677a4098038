"""The options of other projects, and the words of a gantrain command line that replace them.

`peer_options.yaml` beside this file is the only source of suggestions and of the tables in
`docs/coming_from/`.
"""

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
    """Return a name for comparisons: `batchSize`, `batch-size` and `batch_size` are equal."""
    return name.lower().replace("_", "").replace("-", "")


def table_rows() -> dict[str, list[tuple[str, str]]]:
    """Return the rows of each project's table.

    A row has a cell with the project's options, and one with those of gantrain.
    """
    tables: dict[str, list[tuple[str, str]]] = {}
    for project, rows in _sections().items():
        if project != _NEWCOMERS:
            tables[project] = [(row["there"], row["here"]) for row in rows]
    return tables


def words_for(option: str, value: str) -> list[str]:
    """Return the words that set in gantrain what `option` sets elsewhere.

    Returns an empty list where none are known.
    """
    for name, template in _entries("give"):
        if normalise(name) != normalise(option):
            continue
        if isinstance(template, dict):
            template = template.get(value, template.get(_ANY))
        if template is not None:
            words = [template] if isinstance(template, str) else template
            return [word.replace("{}", value) for word in words]
    return []


def explanation_for(option: str) -> str:
    """Explain an option that gantrain does not have; empty where no explanation is known."""
    for name, text in _entries("none"):
        if normalise(name) == normalise(option):
            return str(text)
    return ""


def _entries(part: str) -> list[tuple[str, Any]]:
    """Return all options of a part, `give` or `none`, in the order of the file."""
    entries: list[tuple[str, object]] = []
    for section in _sections().values():
        rows = section if isinstance(section, list) else [section]
        for row in rows:
            entries += row.get(part, {}).items()
    return entries
