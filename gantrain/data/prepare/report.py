"""What `prepare` says and shows: a few lines, and a sheet of samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gantrain.data.decode import Array, encode, resize
from gantrain.data.shards import Field
from gantrain.images import sheet

_TALL = 160  # pixels of a picture on the sheet


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


def preview(samples: list[dict[str, Array]], fields: dict[str, Field]) -> bytes:
    """A PNG with one row for each sample (HWC arrays by field), its fields side by side."""
    height, width = next(iter(fields.values())).max_size
    size = _TALL, max(1, round(_TALL * width / height))  # others are stretched to it
    columns = [
        np.stack([_viewable(resize(sample[name], *size, field.kind), field) for sample in samples])
        for name, field in fields.items()
    ]
    return encode(sheet(columns), "png")


def _viewable(array: Array, field: Field) -> Array:
    """As RGB of 8 bits, HW3."""
    if field.kind == "label":
        return np.array(field.palette, np.uint8)[array[..., 0]]
    top = 1 if array.dtype == np.float32 else np.iinfo(array.dtype).max
    array = (array * (255 / top)).round().clip(0, 255).astype(np.uint8)
    return array[..., :3] if array.shape[2] >= 3 else array[..., :1].repeat(3, axis=2)
