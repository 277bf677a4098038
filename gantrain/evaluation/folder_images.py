"""Reads the images of two folders for `gantrain evaluate --real FOLDER --fake FOLDER`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gantrain.core.errors import UserError
from gantrain.core.threads import map_in_order
from gantrain.core.wording import is_command, option, option_with
from gantrain.core.world import World
from gantrain.data import channels
from gantrain.data.batch import normalise
from gantrain.data.clip_counter import ClipCounter
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import decode
from gantrain.data.field import Field
from gantrain.data.kinds.kind import Array
from gantrain.data.kinds.table import KINDS
from gantrain.data.ranges import (
    FIXED_DTYPE,
    FULL_RANGES,
    Range,
    describe_unknown_range,
    range_text,
    suggest_range,
)
from gantrain.data.value_statistics import ValueCounter

_FILES_AHEAD = 8  # images of each folder that are decoded before they are measured

Files = Mapping[str, Path]  # by what pairs them: the sub-path without the extension


class FolderImages:
    """Reads this rank's images, and collects what is wrong with them and what was converted.

    values_range: of images of other dtypes than uint8; None stands for the range of their dtype,
    which `report` refuses where the values do not suit it. reads_real: the real images are read;
    otherwise they were read and accepted before.
    """

    def __init__(self, world: World, values_range: Range | None, *, reads_real: bool) -> None:
        self.world = world
        self.values_range = values_range
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._needs_range = values_range is None and reads_real
        # By dtype, of all dtypes but that of 8 bits.
        self._value_counters: dict[str, ValueCounter] = {}
        ranges: dict[str, Range] = {}
        for dtype, full_range in FULL_RANGES.items():
            if dtype != FIXED_DTYPE:
                ranges[dtype] = values_range or full_range
        self._clip_counter = ClipCounter(ranges)

    def read(self, *folders: Files) -> Iterator[list[Tensor]]:
        """Yield this rank's images, one of each folder, while threads decode the next ones.

        It ends at an image that cannot be used, which `report` raises on all ranks.
        """
        names = sorted(folders[0])[self.world.rank :: self.world.size]
        groups = (_files_of(name, folders) for name in names)
        with closing(map_in_order(_decode_group, groups, ahead=_FILES_AHEAD)) as decoded_groups:
            for decoded in decoded_groups:
                self.notes += decoded.notes
                try:
                    if decoded.error is not None:
                        raise decoded.error
                    images = [self._as_tensor(array) for array in decoded.arrays]
                    images = _with_equal_channels(images)
                    _check_sizes(decoded.files, images)
                except ValueError as e:
                    self.problems.append(str(e))
                    return
                yield images

    def _as_tensor(self, array: Array) -> Tensor:
        dtype = array.dtype.name
        if dtype != FIXED_DTYPE:
            self._value_counters.setdefault(dtype, ValueCounter(dtype)).add(array)
            self._clip_counter.add({dtype: array[None]})
        return normalise_array(array, self.values_range, self.world.device)

    def report(self) -> None:
        """Print what was converted. Every rank calls it. Raises UserError for bad images."""
        self.world.raise_on_all_ranks(self.problems)
        self._check_range()
        for line in self._clip_counter.lines(self.world.gather):
            self.world.say(line)
        notes: list[str] = []
        for of_rank in self.world.gather(self.notes):
            notes += of_rank
        for line in summarise(notes):
            self.world.say(line)

    def _check_range(self) -> None:
        """Raise UserError where the values of all ranks do not suit the range."""
        counters: dict[str, ValueCounter] = {}
        for of_rank in self.world.gather(self._value_counters):
            for dtype, counter in of_rank.items():
                counters.setdefault(dtype, ValueCounter(dtype)).merge(counter)
        if self.values_range is not None and not counters:
            raise UserError(
                f"{option('range')}: found {range_text(self.values_range)}, but all images have 8"
                " bits, whose range is always 0..255; leave it out"
            )
        if not self._needs_range:
            return
        problems: list[str] = []
        for dtype, counter in counters.items():
            statistics = counter.statistics()
            reason = describe_unknown_range("the set of images", dtype, statistics)
            if reason is not None:
                suggested = range_text(suggest_range(dtype, statistics))
                given = option_with("range", suggested)
                if not is_command():
                    given = f"range={suggest_range(dtype, statistics)}"
                problems.append(f"{reason}; state the values of black and white, such as {given}")
        if problems:
            raise UserError("\n".join(problems))


class _Decoded(NamedTuple):
    """The images of one name. error: why they, or one of them, cannot be read."""

    files: list[Path]
    arrays: list[Array]
    notes: list[str]
    error: ValueError | None


def _files_of(name: str, folders: Sequence[Files]) -> list[Path]:
    return [folder[name] for folder in folders]


def _decode_group(files: list[Path]) -> _Decoded:
    """Decode the files of one name. Several threads call it."""
    arrays: list[Array] = []
    notes: list[str] = []
    try:
        for file in files:
            arrays.append(read_array(file, notes))
    except ValueError as error:
        return _Decoded(files, arrays, notes, error)
    return _Decoded(files, arrays, notes, None)


def _with_equal_channels(images: list[Tensor]) -> list[Tensor]:
    """Return the images with three channels where a grey one stands beside one in colour."""
    if len({image.shape[1] for image in images}) == 1:
        return images
    return [image.expand(-1, 3, -1, -1) for image in images]


def _check_sizes(files: list[Path], images: list[Tensor]) -> None:
    """Refuse a pair of images of different sizes. Raises UserError."""
    if len({image.shape for image in images}) == 1:
        return
    names = " and ".join(str(file) for file in files)
    sizes = " and ".join("x".join(map(str, image.shape[2:])) for image in images)
    raise UserError(f"{option('fake')}: {names} have sizes {sizes}; give pairs of one size")


def read_array(file: Path, notes: list[str]) -> Array:
    """Read an image of any depth as HWC with 1 or 3 channels, as the file stores its values.

    Alpha is composited over white. notes: takes sentences on what was converted. Raises UserError.
    """
    try:
        array = decode(file.read_bytes(), notes=notes)
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e}); remove it or give it again") from None
    if channels.has_alpha(array.shape[2], array.dtype.name):
        with_alpha = array
        array = KINDS["image"].fit(array, (array.shape[2] - 1, "uint8"))
        notes.append(channels.note(with_alpha.shape[2], array.shape[2]))
    bands = array.shape[2]
    if bands not in (1, 3):
        raise UserError(f"{file}: has {bands} channels, allowed: 1 or 3; give it without its alpha")
    return array


def normalise_array(array: Array, values_range: Range | None, device: torch.device) -> Tensor:
    """Return an image HWC as (1, 1 or 3, H, W) in [-1, 1], float64.

    values_range: of dtypes other than uint8; None stands for the range of the dtype.
    """
    height, width, bands = array.shape
    size = (height, width)
    field = Field(
        member="image",
        channels=bands,
        dtype=array.dtype.name,
        min_size=size,
        max_size=size,
        range=None if array.dtype.name == FIXED_DTYPE else values_range,
    )
    return normalise(torch.from_numpy(array)[None], field, torch.float64, device)
