"""Label maps in colours: their table, and class ids from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gantrain.core.amounts import count_text
from gantrain.core.paths import check_not_special
from gantrain.data.decode import Array, Colour, NotLabels, decode, refuse_lossy

_NAMED = 3  # colours named in an error


def read_table(file: Path) -> tuple[Colour, ...]:
    """The colours (RGB, 0..255) by class id, from a line `R G B [name]` for each; from `#` on it is
    a comment.

    Such is CamVid's label_colors.txt. Raises ValueError, in one line.
    """
    check_not_special(file, "--colors")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(
            f"--colors: {file} cannot be read as text ({e}); give a table of R G B [name]"
        ) from None
    table: dict[Colour, int] = {}  # to the lines' numbers
    for number, line in enumerate(lines, 1):
        if not (words := line.partition("#")[0].split()):
            continue
        here = f"--colors: {file}, line {number}"
        if len(words) < 3 or not all(word.isdecimal() and int(word) < 256 for word in words[:3]):
            raise ValueError(
                f"{here}: found {line.strip()!r}, allowed: R G B [name], each in 0..255"
            )
        red, green, blue = map(int, words[:3])
        if (before := table.setdefault((red, green, blue), number)) != number:
            raise ValueError(
                f"{here}: {red} {green} {blue} is the colour of line {before} too; give each class"
                " its own"
            )
    if not 2 <= len(table) <= 65536:
        raise ValueError(
            f"--colors: {file} has {len(table)} colours, allowed: 2 to 65536, a line for each class"
        )
    return tuple(table)


def decode_colours(data: bytes, table: Sequence[Colour], notes: list[str] | None = None) -> Array:
    """The ids (HW1) of an image file's colours, which no colour profile changes; notes as `decode`
    takes them.

    Raises ValueError if the bytes don't decode, NotLabels for a file whose compression changes
    colours."""
    refuse_lossy(data, "label")
    return class_ids(decode(data, convert_profile=False, notes=notes), table)


def class_ids(array: Array, table: Sequence[Colour]) -> Array:
    """The ids (HW1) that colours (HWC) have in the table; alpha says nothing. Raises NotLabels
    for other colours.
    """
    if array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        found = f"{array.dtype} with {count_text(array.shape[2], 'channel')}"
        raise NotLabels(f"{found}, the colours of --colors are RGB of 8 bits")
    known, pixels = (
        np.asarray(rgb, np.int32)[..., :3] @ (1 << 16, 1 << 8, 1) for rgb in (table, array)
    )
    order = known.argsort()
    places = np.searchsorted(known, pixels, sorter=order).clip(max=len(known) - 1)
    ids: Array = order[places].astype(np.uint8 if len(table) <= 256 else np.uint16)
    if (strange := known[ids] != pixels).any():
        colours, counts = np.unique(pixels[strange], return_counts=True)
        most = counts.argsort()[::-1][:_NAMED]
        listed = [
            f"{c >> 16} {c >> 8 & 255} {c & 255} ({n} pixels)"
            for c, n in zip(colours[most], counts[most], strict=True)
        ]
        more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
        raise NotLabels(f"colours of no class: {', '.join(listed)}{more}")
    return ids[..., None]
