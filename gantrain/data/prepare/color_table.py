"""Label maps in colours: their table, and class ids from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.data.decode import decode, refuse_lossy
from gantrain.data.kinds.kind import Array, Colour, NotLabels

_NAMED = 3  # colours named in an error
_MOST_CLASSES = 65536
_MOST_IDS_OF_8_BITS = 256


def read_table(file: Path) -> tuple[Colour, ...]:
    """Read the colours (RGB, 0..255) by class id, from a line `R G B [name]` for each class.

    A comment begins with `#`. CamVid's label_colors.txt is such a table. Raises UserError, in one
    line.
    """
    check_not_special(file, "--colors")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--colors: {file} cannot be read as text ({error}); give a table of R G B [name]"
        ) from None
    line_of: dict[Colour, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        place = f"--colors: {file}, line {number}"
        if len(words) < 3 or not all(map(_is_byte, words[:3])):
            raise UserError(
                f"{place}: found {line.strip()!r}, allowed: R G B [name], each in 0..255"
            )
        red, green, blue = map(int, words[:3])
        earlier = line_of.setdefault((red, green, blue), number)
        if earlier != number:
            raise UserError(
                f"{place}: {red} {green} {blue} is the colour of line {earlier} too; give each"
                " class its own"
            )
    if not 2 <= len(line_of) <= _MOST_CLASSES:
        allowed = f"allowed: 2 to {_MOST_CLASSES}, a line for each class"
        raise UserError(f"--colors: {file} has {len(line_of)} colours, {allowed}")
    return tuple(line_of)


def _is_byte(word: str) -> bool:
    return word.isdecimal() and int(word) < 256


def decode_colours(data: bytes, table: Sequence[Colour], notes: list[str] | None = None) -> Array:
    """Return the ids (HW1) of an image file's colours, which no colour profile changes.

    notes: as `decode` takes them. Raises UserError if the bytes do not decode, NotLabels for a
    file whose compression changes colours.
    """
    refuse_lossy(data, "label")
    return class_ids(decode(data, convert_profile=False, notes=notes), table)


def class_ids(array: Array, table: Sequence[Colour]) -> Array:
    """Return the ids (HW1) that colours (HWC) have in the table; alpha does not count.

    Raises NotLabels for other colours.
    """
    if array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        content = f"{array.dtype} with {count_text(array.shape[2], 'channel')}"
        raise NotLabels(f"{content}, the colours of --colors are RGB of 8 bits")
    known = _pack_rgb(table)
    pixels = _pack_rgb(array[..., :3])
    order = known.argsort()
    places = np.searchsorted(known, pixels, sorter=order).clip(max=len(known) - 1)
    dtype = np.uint8 if len(table) <= _MOST_IDS_OF_8_BITS else np.uint16
    ids: Array = order[places].astype(dtype)
    is_unknown = known[ids] != pixels
    if is_unknown.any():
        raise NotLabels(f"colours of no class: {_describe_unknown(pixels[is_unknown])}")
    return ids[..., None]


def _pack_rgb(colours: ArrayLike) -> NDArray[np.int32]:
    """Return each colour (its three channels last) as one integer, 0xRRGGBB."""
    channels = np.asarray(colours, np.int32)
    return (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]


def _unpack_rgb(colour: int) -> Colour:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _describe_unknown(pixels: NDArray[np.int32]) -> str:
    """Name the most frequent of the packed colours, with their numbers of pixels."""
    colours, counts = np.unique(pixels, return_counts=True)
    most_frequent = counts.argsort()[::-1][:_NAMED]
    words = []
    for place in most_frequent:
        red, green, blue = _unpack_rgb(int(colours[place]))
        words.append(f"{red} {green} {blue} ({counts[place]} pixels)")
    listed = ", ".join(words)
    if len(counts) > _NAMED:
        listed += f" and {len(counts) - _NAMED} more"
    return listed
