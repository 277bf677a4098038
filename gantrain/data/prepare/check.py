"""Every file is decoded once before anything is written: faults are found here, not in training."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gantrain.data.decode import Array, Colour, NotLabels, cut, decode, palette, resize
from gantrain.data.prepare.layouts import Files, Part, Parts
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

Fields = dict[str, Field]
In = TypeVar("In")
Out = TypeVar("Out")


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


def look(files: Files, parts: Parts) -> Fields | ValueError:
    """What one sample's fields are, or what is wrong with it."""
    fields, file = {}, next(iter(files.values()))
    try:
        arrays = load(files, parts)
    except ValueError as problem:
        return problem
    for name, array in arrays.items():
        part, counts, (height, width, channels) = parts[name], None, array.shape
        if part.kind == "label":
            ids, pixels = np.unique(array, return_counts=True)
            counts = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
        elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
            found = f"{array.min():.4g}..{array.max():.4g}"
            return ValueError(f"{file}: {name} has values {found}, floats must be in 0..1")
        fields[name] = Field(
            member=part.member,
            half=part.half,
            kind=part.kind,
            channels=channels,
            dtype=array.dtype.name,
            label_counts=counts,
            min_size=(height, width),
            max_size=(height, width),
        )
    if len({field.min_size for field in fields.values()}) > 1:
        listed = ", ".join(f"{n} {f.min_size[0]}x{f.min_size[1]}" for n, f in fields.items())
        return ValueError(f"{file}: fields differ in height x width: {listed}")
    if min(height, width) < SMALLEST:
        return ValueError(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
    return fields


def agree(
    looks: Mapping[str, Fields | ValueError], samples: Mapping[str, Files], parts: Parts
) -> tuple[list[str], list[str], Fields]:
    """The keys of good samples, all of the most frequent kind; a line for each other one; the set's fields.

    Raises ValueError if files of a label field can't hold class ids, or hold ids beyond its classes:
    leaving them out would hide that the wrong files were given.
    """
    if wrong := [str(found) for found in looks.values() if isinstance(found, NotLabels)]:
        raise ValueError(_several("files are no label maps", wrong))
    bad = [str(found) for found in looks.values() if isinstance(found, ValueError)]
    good = {key: found for key, found in looks.items() if not isinstance(found, ValueError)}
    for name, part in parts.items():
        kinds = {key: f"{f[name].channels} channels of {f[name].dtype}" for key, f in good.items()}
        usual = max(kinds.values(), key=Counter(kinds.values()).__getitem__, default="")
        for key, kind in kinds.items():
            if kind != usual:
                del good[key]
                bad.append(f"{samples[key][part.member]}: {name} has {kind}, most have {usual}")
    if not good:
        raise ValueError(f"none of {len(bad)} samples is usable; the first: {bad[0]}")
    described = {}
    for name, part in parts.items():
        seen = [(samples[key][part.member], fields[name]) for key, fields in good.items()]
        sizes = np.array([one.min_size for _, one in seen])
        low, high = (tuple(size.tolist()) for size in (sizes.min(axis=0), sizes.max(axis=0)))
        ids = _ids(name, part, seen) if part.kind == "label" else {}
        described[name] = seen[0][1].model_copy(update={"min_size": low, "max_size": high, **ids})
    return list(good), bad, described


def _ids(name: str, part: Part, looks: list[tuple[Path, Field]]) -> dict[str, Any]:
    counts: Counter[int] = Counter()
    for _, one in looks:
        counts.update(one.label_counts)
    number = part.classes or max(counts) + 1
    beyond = [(file, [str(i) for i in one.label_counts or () if i >= number]) for file, one in looks]
    if wrong := [f"{f}: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}" for f, ids in beyond if ids]:
        what = f"files of {name} hold ids beyond {number} classes (0..{number - 1})"
        raise ValueError(_several(what, wrong) + "; mend them or pass a larger --classes")
    colours = palette(number, part.palette or _stored_palette(looks[0][0]))
    return {"classes": number, "label_counts": dict(sorted(counts.items())), "palette": colours}


def _several(what: str, lines: list[str]) -> str:
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return f"{len(lines)} {what}: {'; '.join(lines[:_NAMED])}{more}"


def _stored_palette(file: Path) -> list[Colour]:
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            flat = image.getpalette("RGB") if image.mode == "P" else None
    except UnidentifiedImageError:  # .npy
        return []
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) if flat else []
