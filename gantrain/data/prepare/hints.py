"""Notes on data that can be read but are probably meant otherwise, such as unnamed class ids."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from gantrain.core.amounts import list_text
from gantrain.data.decode import decode, open_picture
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.layouts import FieldSpecs, File
from gantrain.data.shards import Field

_PREFIX = "note: "  # of these lines in report.txt, which a run prints
_LOOKED_AT = 100  # files of a field
_VOID = (255, 65535)  # ids that data sets give to pixels of no class
_SMALLEST_GAP = 10
_MOST_IDS = 64  # class ids in one file
_LOW = 64  # below it values are dark, and more likely ids
_SPREAD = 2  # ids are dense: the highest is not far beyond their number


def as_note(line: str) -> str:
    """Return a line as report.txt holds it."""
    return _PREFIX + line


def read_note(line: str) -> str:
    """Return the text of a note in report.txt; "" where the line is no note."""
    return line.removeprefix(_PREFIX) if line.startswith(_PREFIX) else ""


def note_gaps(fields: Mapping[str, Field]) -> list[str]:
    """Return a note for each label field whose highest id stands far above the others.

    Fields with `--ignore`, or with a stated number of classes, give none.
    """
    notes = []
    for name, field in fields.items():
        ids = sorted(field.label_counts or {})
        if not KINDS[field.kind].has_classes or field.ignore is not None:
            continue
        if len(ids) < 2 or field.classes != ids[-1] + 1:
            continue
        highest = ids[-1]
        next_id = ids[-2]
        doubles = highest + 1 >= 2 * (next_id + 1)
        if highest - next_id > _SMALLEST_GAP and (doubles or highest in _VOID):
            notes.append(
                as_note(
                    f"{name}: the ids are {_ranges(ids[:-1])} and {highest}, which makes"
                    f" {field.classes} classes; if {highest} marks pixels of no class, give"
                    f" --ignore {highest}"
                )
            )
    return notes


def note_ids_as_images(
    fields: Mapping[str, Field], samples: Sequence[Mapping[str, File]], field_specs: FieldSpecs
) -> list[str]:
    """Return a note for each field that is packed as images, though its files look like id maps."""
    notes = []
    for name, spec in field_specs.items():
        field = fields[name]
        if field.kind != "image" or spec.half is not None or field.dtype not in ("uint8", "uint16"):
            continue
        step = max(1, len(samples) // _LOOKED_AT)
        files = [sample[spec.member] for sample in samples[::step]]
        evidence = ""
        if field.channels == 1 and _are_id_maps(files):
            evidence = "one channel with few low values"
        elif field.channels > 1 and all(_is_palette_map(file) for file in files):
            evidence = "palette files, whose colours are packed instead of their numbers"
        if evidence:
            notes.append(
                as_note(
                    f"{name}: its files look like class ids ({evidence}), and are packed as"
                    f" images; if they are ids, give `gantrain prepare --labels {name}`, and in a"
                    f" recipe 'data.labels={{{name}: CLASSES}}'"
                )
            )
    return notes


def _are_id_maps(files: Sequence[File]) -> bool:
    """Return whether all files have few values, which lie close together near 0, but for 255."""
    values: set[int] = set()
    for file in files:  # a photograph is recognised by the first
        file_values = np.unique(decode(file.read_bytes()))
        if len(file_values) > _MOST_IDS:
            return False
        values.update(file_values.tolist())
    ids = values - set(_VOID)
    if len(ids) < 2:
        return False
    return max(ids) < _LOW or max(ids) < _SPREAD * len(ids)


def _is_palette_map(file: File) -> bool:
    """Return whether a file is a PNG with a palette of which it uses few colours."""
    image = open_picture(file.read_bytes())
    if not isinstance(image, Image.Image) or image.format != "PNG" or image.mode != "P":
        return False
    return len(np.unique(np.asarray(image))) <= _MOST_IDS


def _ranges(ids: Sequence[int]) -> str:
    """Return ids as ranges, such as `0..3, 7`."""
    ranges: list[list[int]] = []
    for value in ids:
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return list_text([str(low) if low == high else f"{low}..{high}" for low, high in ranges])
