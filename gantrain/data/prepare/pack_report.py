"""The report on a packed data set: what was written, and what was left out and why."""

from dataclasses import dataclass, field
from pathlib import Path

from gantrain.core.amounts import count_text
from gantrain.core.printable import printable
from gantrain.data.field import Field
from gantrain.data.kinds.image import range_of
from gantrain.data.ranges import range_text

REPORT_FILE = "report.txt"  # beside the shards


@dataclass(frozen=True)
class Report:
    """The outcome of `prepare` or of `index_tars`.

    folder: the data set. layout: the name of the source's layout. samples: how many were packed.
    unmatched, unreadable: a line for each sample or file that was left out. notes: lines as
    `hints.as_note` gives them.
    """

    folder: Path
    layout: str
    samples: int
    fields: dict[str, Field]
    unmatched: list[str]
    unreadable: list[str]
    notes: list[str] = field(default_factory=list)

    def lines(self, most: int | None = 10) -> list[str]:
        """Return the report for people; it names at most `most` left-out files of each sort.

        most: None names all of them.
        """
        lines = [f"{count_text(self.samples, 'sample')} ({self.layout}) in {self.folder}"]
        for name, described in self.fields.items():
            lines.append(f"  {name}: {_describe_field(described)}")
        lines += self.notes
        for sort, names in (("unmatched", self.unmatched), ("left out", self.unreadable)):
            if names:
                lines.append(f"{len(names)} {sort}:")
                lines += [f"  {name}" for name in names[:most]]
            if most is not None and len(names) > most:
                lines.append(f"  ... and {len(names) - most} more, all in {REPORT_FILE}")
        return [printable(line) for line in lines]  # a file's name may hold anything

    def to_bytes(self) -> bytes:
        """Return the content of `report.txt`, which names all left-out files."""
        text = "\n".join(self.lines(None)) + "\n"
        return text.encode(errors="surrogateescape")


def _describe_field(described: Field) -> str:
    content = count_text(described.channels, "channel")
    if described.classes:
        content = count_text(described.classes, "class", "classes")
    if described.ignore is not None:
        content += f", the last of them id {described.ignore}"
    values = ""
    if described.statistics is not None:
        values = f", {describe_values(described)}"
    size = f"{described.min_size[0]}x{described.min_size[1]}"
    if described.max_size != described.min_size:
        size += f" to {described.max_size[0]}x{described.max_size[1]}"
    return f"{described.kind}, {content}, {described.dtype}{values}, height x width {size}"


def describe_values(described: Field) -> str:
    """Describe the values of a field that has statistics, and its range."""
    assert described.statistics is not None
    measured = range_text((described.statistics.minimum, described.statistics.maximum))
    return f"values {measured}, range {range_text(range_of(described))}"
