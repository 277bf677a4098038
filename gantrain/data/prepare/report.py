"""What `prepare` says and shows: a few lines, and a sheet of samples."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from gantrain.data.decode import Array, palette
from gantrain.data.shards import Field

_NAMED = 10  # files named in the short form
_TALL = 160  # pixels of a picture on the sheet
_GAP = 4


@dataclass(frozen=True)
class Report:
    """The outcome of `prepare`: what was written, and one line for each file that was not."""

    folder: Path
    layout: str
    samples: int
    fields: dict[str, Field]
    unmatched: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def lines(self, whole: bool = False) -> list[str]:
        """For people; names ten left-over files of each sort, or all with `whole`."""
        lines = [f"{self.samples} samples ({self.layout}) in {self.folder}"]
        for name, one in self.fields.items():
            low, high = ("x".join(map(str, size)) for size in (one.min_size, one.max_size))
            size = low if low == high else f"{low} to {high}"
            what = f"{one.classes} classes" if one.classes else f"{one.channels} channels"
            lines.append(f"  {name}: {one.kind}, {what}, {one.dtype}, height x width {size}")
        for what, names in (("unmatched", self.unmatched), ("left out", self.unreadable)):
            if names:
                lines.append(f"{len(names)} {what}:")
                lines += [f"  {name}" for name in (names if whole else names[:_NAMED])]
                if not whole and len(names) > _NAMED:
                    lines.append(f"  ... and {len(names) - _NAMED} more, all in report.txt")
        return lines


def sheet(samples: list[dict[str, Array]], fields: dict[str, Field]) -> bytes:
    """A PNG with one row for each sample (HWC arrays by field), its fields side by side."""
    rows = [[_picture(sample[name], one) for name, one in fields.items()] for sample in samples]
    width = max(sum(picture.width + _GAP for picture in row) for row in rows) + _GAP
    page = Image.new("RGB", (width, len(rows) * (_TALL + _GAP) + _GAP), "white")
    for i, row in enumerate(rows):
        x = _GAP
        for picture in row:
            page.paste(picture, (x, _GAP + i * (_TALL + _GAP)))
            x += picture.width + _GAP
    stream = io.BytesIO()
    page.save(stream, "PNG")
    return stream.getvalue()


def _picture(array: Array, one: Field) -> Image.Image:
    if one.kind == "label":
        colours = np.array(one.palette or palette(one.classes or 256), np.uint8)
        array = colours[array[..., 0].astype(int) % len(colours)]
    elif array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype == np.float32:
        array = (array * 255).round().astype(np.uint8)
    array = array[..., :3] if array.shape[2] >= 3 else array[..., :1].repeat(3, axis=2)
    image = Image.fromarray(np.ascontiguousarray(array))
    width = max(1, round(image.width * _TALL / image.height))
    method = Image.Resampling.NEAREST if one.kind == "label" else Image.Resampling.BICUBIC
    return image.resize((width, _TALL), method)
