"""Every file is decoded once before anything is written: faults are found here, not in training."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gantrain.data.decode import Array, NotLabels, cut, decode, palette, resize, unequal
from gantrain.data.prepare.layouts import Files, Part, Parts
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

In = TypeVar("In")
Out = TypeVar("Out")


class Seen(NamedTuple):
    """A field of one sample. counts: pixels by class id. colours: RGB after RGB, as a palette file stores them."""

    file: str
    shape: tuple[int, ...]  # HWC
    dtype: str
    counts: dict[int, int]
    colours: bytes

    @property
    def kind(self) -> str:
        return f"{self.shape[2]} channels of {self.dtype}"


Look = dict[str, Seen] | ValueError  # a sample's fields, or what is wrong with it


def in_order(work: Callable[[In], Out], items: Iterable[In], workers: int | None = None) -> Iterator[Out]:
    """`map` over threads (Pillow works without the interpreter's lock), some items ahead."""
    rest, workers = iter(items), workers or min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        while ahead := list(islice(rest, 16 * workers)):
            yield from pool.map(work, ahead)


def load(files: Files, parts: Parts) -> dict[str, Array]:
    """A sample's fields as HWC arrays of their part's size, each file decoded once.

    Raises ValueError (NotLabels) that names the file.
    """
    decoded = cache(lambda member, kind: decode(files[member].read_bytes(), kind))
    arrays = {}
    for name, part in parts.items():
        try:
            array = cut(decoded(part.member, part.kind), part.half)
        except (OSError, ValueError) as error:
            sort = NotLabels if isinstance(error, NotLabels) else ValueError
            raise sort(f"{files[part.member]}: {error}") from None
        arrays[name] = resize(array, *part.size, part.kind) if part.size else array
    return arrays


def look(files: Files, parts: Parts) -> Look:
    """Decode a sample and see what it is."""
    try:
        arrays, file = load(files, parts), next(iter(files.values()))
        if listed := unequal(arrays):
            raise ValueError(f"{file}: fields differ in height x width: {listed}")
        height, width, _ = next(iter(arrays.values())).shape
        if min(height, width) < SMALLEST:
            raise ValueError(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
        return {name: _seen(name, parts[name], array, files) for name, array in arrays.items()}
    except ValueError as problem:
        return problem


def _seen(name: str, part: Part, array: Array, files: Files) -> Seen:
    file, counts, colours = files[part.member], dict[int, int](), b""
    if part.kind == "label":
        ids, pixels = np.unique(array, return_counts=True)
        counts = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
        with suppress(UnidentifiedImageError), Image.open(io.BytesIO(file.read_bytes())) as image:  # .npy has none
            colours = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
    elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
        found = f"{array.min():.4g}..{array.max():.4g}"
        raise ValueError(f"{file}: {name} has values {found}, floats must be in 0..1")
    return Seen(str(file), array.shape, array.dtype.name, counts, colours)


def agree(looks: Mapping[str, Look], parts: Parts) -> tuple[list[str], list[str], dict[str, Field]]:
    """The keys of good samples, all of the most frequent kind; a line for each other one; the set's fields.

    Raises ValueError if files of a label field can't hold class ids, or hold ids beyond its classes:
    leaving them out would hide that the wrong files were given.
    """
    if wrong := [str(found) for found in looks.values() if isinstance(found, NotLabels)]:
        raise ValueError(_several("files are no label maps", wrong))
    bad = [str(found) for found in looks.values() if isinstance(found, ValueError)]
    good = {key: found for key, found in looks.items() if not isinstance(found, ValueError)}
    if not good:
        raise ValueError(f"none of {len(bad)} samples is usable; the first: {bad[0]}")
    for name in parts:
        ((usual, _),) = Counter(found[name].kind for found in good.values()).most_common(1)
        odd = {key: found[name] for key, found in good.items() if found[name].kind != usual}
        bad += [f"{one.file}: {name} has {one.kind}, most have {usual}" for one in odd.values()]
        good = {key: found for key, found in good.items() if key not in odd}
    fields = {name: _field(name, part, [found[name] for found in good.values()]) for name, part in parts.items()}
    return list(good), bad, fields


def _field(name: str, part: Part, seen: list[Seen]) -> Field:
    sizes, ids = np.array([one.shape[:2] for one in seen]), dict[str, Any]()
    if part.kind == "label":
        counts: Counter[int] = Counter()
        for one in seen:
            counts.update(one.counts)
        number = part.classes or max(counts) + 1
        beyond = [(one.file, [str(i) for i in one.counts if i >= number]) for one in seen]
        if wrong := [f"{f}: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}" for f, ids in beyond if ids]:
            what = f"files of {name} hold ids beyond {number} classes (0..{number - 1})"
            raise ValueError(_several(what, wrong) + "; mend them or pass a larger --classes")
        flat = seen[0].colours
        colours = palette(number, part.palette or list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)))
        ids = {"classes": number, "label_counts": dict(sorted(counts.items())), "palette": colours}
    return Field(
        member=part.member,
        half=part.half,
        kind=part.kind,
        channels=seen[0].shape[2],
        dtype=seen[0].dtype,
        min_size=sizes.min(axis=0).tolist(),
        max_size=sizes.max(axis=0).tolist(),
        **ids,
    )


def _several(what: str, lines: list[str]) -> str:
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return f"{len(lines)} {what}: {'; '.join(lines[:_NAMED])}{more}"
