"""Every file is decoded once before anything is written: faults are found here, not in training."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from gantrain.data.decode import Array, Colour, Kind, NotLabels, cut, decode, resize, unequal
from gantrain.data.prepare.colours import decode_colours
from gantrain.data.prepare.layouts import Files, Part, Parts
from gantrain.data.prepare.left_out import TooSmall, UnequalSizes, advise_unequal
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

In = TypeVar("In")
Out = TypeVar("Out")
Look = dict[str, Field] | ValueError  # a sample's fields, or what is wrong with it


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
    return _at_part_sizes(_load_originals(files, parts), parts)


def _at_part_sizes(arrays: Mapping[str, Array], parts: Parts) -> dict[str, Array]:
    resized = {}
    for name, array in arrays.items():
        part = parts[name]
        resized[name] = resize(array, *part.size, part.kind) if part.size else array
    return resized


def _load_originals(files: Files, parts: Parts) -> dict[str, Array]:
    """A sample's fields at the sizes that their files have."""

    @cache
    def decoded(member: str, kind: Kind, colors: Sequence[Colour] | None) -> Array:
        data = files[member].read_bytes()
        return decode_colours(data, colors) if colors else decode(data, kind)

    arrays = {}
    for name, part in parts.items():
        try:
            array = cut(decoded(part.member, part.kind, part.colors), part.half)
        except (OSError, ValueError) as error:
            sort = NotLabels if isinstance(error, NotLabels) else ValueError
            raise sort(f"{files[part.member]}: {error}") from None
        arrays[name] = array
    return arrays


def look(files: Files, parts: Parts) -> Look:
    """Decode a sample and describe it as if it were the whole data set."""
    try:
        originals = _load_originals(files, parts)
        arrays = _at_part_sizes(originals, parts)
        file = next(iter(files.values()))
        if listed := unequal(arrays):
            sizes = [array.shape[:2] for array in arrays.values()]
            raise UnequalSizes(f"{file}: fields differ in height x width: {listed}", sizes)
        height, width, _ = next(iter(arrays.values())).shape
        if min(height, width) < SMALLEST:
            raise TooSmall(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
        fields = {}
        for name, array in arrays.items():
            field = _describe(array, name, parts[name], files)
            if parts[name].size:
                original = originals[name].shape[:2]
                original_sizes = {"original_min_size": original, "original_max_size": original}
                field = field.model_copy(update=original_sizes)
            fields[name] = field
        return fields
    except ValueError as problem:
        return problem


def _describe(array: Array, name: str, part: Part, files: Files) -> Field:
    file, counts = files[part.member], None
    if part.kind == "label":
        ids, pixels = np.unique(array, return_counts=True)
        spare = part.ignore is not None  # the last class has no other id
        if part.classes and (beyond := [str(i) for i in ids if i >= part.classes - spare and i != part.ignore]):
            listed = ", ".join([*beyond[:8], *["..."] * (len(beyond) > 8)])
            classes = f"{part.classes} classes" + f", the last of which is {part.ignore}" * spare
            raise NotLabels(f"{file}: {name} holds ids beyond {classes}: {listed}")
        counts = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
        raise ValueError(f"{file}: {name} has values {array.min():.4g}..{array.max():.4g}, floats must be in 0..1")
    about: dict[str, Any] = {"channels": array.shape[2], "dtype": array.dtype.name, "label_counts": counts}
    about |= {"kind": part.kind, "ignore": part.ignore if counts else None, "palette": part.colors}
    size = array.shape[:2]
    return Field(member=part.member, half=part.half, min_size=size, max_size=size, **about)


def agree(
    samples: Mapping[str, Files], looks: Mapping[str, Look], parts: Parts
) -> tuple[list[str], list[str], dict[str, Field]]:
    """The keys of good samples, all of the most frequent kind; a line for each other one; the set's fields.

    Raises ValueError if files of a field of ids can't hold any, or hold ids beyond its classes:
    leaving them out would hide that the wrong files were given.
    """
    if wrong := [str(found) for found in looks.values() if isinstance(found, NotLabels)]:
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        advice = "mend them, or give other --labels or --instances, more --classes, the id of no class to --ignore, "
        advice += "or the table of colours to --colors"
        raise ValueError(f"{len(wrong)} files are no label maps: {'; '.join(wrong[:_NAMED])}{more}; {advice}")
    bad = [str(found) for found in looks.values() if isinstance(found, ValueError)]
    good = {key: found for key, found in looks.items() if not isinstance(found, ValueError)}
    if not good:
        raise ValueError(f"none of {len(bad)} samples is usable; the first: {bad[0]}{advise_unequal(looks.values())}")
    for name, part in parts.items():
        kinds = {key: f"{one[name].channels} channels of {one[name].dtype}" for key, one in good.items()}
        ((usual, _),) = Counter(kinds.values()).most_common(1)
        odd = {key: kind for key, kind in kinds.items() if kind != usual}
        bad += [f"{samples[key][part.member]}: {name} has {kind}, most have {usual}" for key, kind in odd.items()]
        good = {key: one for key, one in good.items() if key not in odd}
    return list(good), bad, {name: _merge([one[name] for one in good.values()], part) for name, part in parts.items()}


def _merge(fields: list[Field], part: Part) -> Field:
    sizes = np.array([one.min_size for one in fields])
    smallest, largest = (tuple(size.tolist()) for size in (sizes.min(axis=0), sizes.max(axis=0)))
    about: dict[str, Any] = {"min_size": smallest, "max_size": largest}
    if part.size:
        originals = np.array([one.original_min_size for one in fields])
        about["original_min_size"] = tuple(originals.min(axis=0).tolist())
        about["original_max_size"] = tuple(originals.max(axis=0).tolist())
    if part.kind == "label":
        counts: Counter[int] = Counter()
        for one in fields:
            counts.update(one.label_counts)
        own = max(counts.keys() - {part.ignore}, default=-1) + 1
        classes = part.classes or own + (part.ignore is not None)
        about |= {"classes": classes, "label_counts": dict(sorted(counts.items()))}
    return fields[0].model_copy(update=about)
