"""What `prepare` says."""

from dataclasses import dataclass
from pathlib import Path

from gantrain.data.shards import Field


@dataclass(frozen=True)
class Report:
    """The outcome of `prepare`: what was written, and one line for each file that was not."""

    folder: Path
    layout: str
    samples: int
    fields: dict[str, Field]
    unmatched: list[str]
    unreadable: list[str]

    def whole(self) -> bytes:
        """The content of report.txt: every left-over file."""
        return "\n".join([*self.lines(None), ""]).encode()

    def lines(self, most: int | None = 10) -> list[str]:
        """For people; names so many left-over files of each sort, or all (None)."""
        lines = [f"{self.samples} samples ({self.layout}) in {self.folder}"]
        for name, one in self.fields.items():
            size = " to ".join(dict.fromkeys(f"{height}x{width}" for height, width in (one.min_size, one.max_size)))
            what = f"{one.classes} classes" if one.classes else f"{one.channels} channels"
            lines.append(f"  {name}: {one.kind}, {what}, {one.dtype}, height x width {size}")
        for what, names in (("unmatched", self.unmatched), ("left out", self.unreadable)):
            named = names[:most]
            lines += [f"{len(names)} {what}:"] * bool(names) + [f"  {name}" for name in named]
            if len(names) > len(named):
                lines.append(f"  ... and {len(names) - len(named)} more, all in report.txt")
        return lines
