"""Every file is decoded once before anything is written: faults are found here, not in training."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from gantrain.core.amounts import count_text
from gantrain.data import channels
from gantrain.data.decode import Array, Colour, Kind, NotLabels, cut, decode, resize, unequal
from gantrain.data.index import MOST_CHANNELS, MOST_SIDE
from gantrain.data.prepare.color_table import decode_colours
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs, Files
from gantrain.data.prepare.left_out import TooSmall, UnequalSizes, advise_unequal
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

In = TypeVar("In")
Out = TypeVar("Out")
CheckedSample = dict[str, Field] | ValueError  # a sample's fields, or what is wrong with it


def map_in_order(
    work: Callable[[In], Out], items: Iterable[In], workers: int | None = None
) -> Iterator[Out]:
    """`map` over threads (Pillow works without the interpreter's lock), some items ahead."""
    rest, workers = iter(items), workers or min(16, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        while ahead := list(islice(rest, 16 * workers)):
            yield from pool.map(work, ahead)


def load(files: Files, parts: FieldSpecs, notes: list[str] | None = None) -> dict[str, Array]:
    """A sample's fields as HWC arrays of their part's size, each file decoded once.

    notes: takes sentences, with their member, on what was converted (see `notes.py`). Raises
    ValueError (NotLabels) that names the file.
    """
    return _at_part_sizes(_load_originals(files, parts, notes), parts)


def _at_part_sizes(arrays: Mapping[str, Array], parts: FieldSpecs) -> dict[str, Array]:
    resized = {}
    for name, array in arrays.items():
        part = parts[name]
        resized[name] = resize(array, *part.size, part.kind) if part.size else array
    return resized


def _load_originals(files: Files, parts: FieldSpecs, notes: list[str] | None) -> dict[str, Array]:
    """A sample's fields at the sizes that their files have."""

    @cache
    def decoded(member: str, kind: Kind, colors: Sequence[Colour] | None) -> Array:
        data = files[member].read_bytes()
        own_notes: list[str] = []
        if colors:
            array = decode_colours(data, colors, own_notes)
        else:
            array = decode(data, kind, notes=own_notes)
        if notes is not None:
            notes.extend(f"{member}: {note}" for note in own_notes)
        return array

    arrays = {}
    for name, part in parts.items():
        try:
            array = cut(decoded(part.member, part.kind, part.colors), part.half)
        except (OSError, ValueError) as error:
            sort = NotLabels if isinstance(error, NotLabels) else ValueError
            raise sort(f"{files[part.member]}: {error}") from None
        arrays[name] = array
    return arrays


def check_sample(files: Files, parts: FieldSpecs, notes: list[str] | None = None) -> CheckedSample:
    """Decode a sample and describe it as if it were the whole data set; notes as `load` takes
    them.
    """
    try:
        originals = _load_originals(files, parts, notes)
        arrays = _at_part_sizes(originals, parts)
        file = next(iter(files.values()))
        if listed := unequal(arrays):
            sizes = [array.shape[:2] for array in arrays.values()]
            raise UnequalSizes(f"{file}: fields differ in height x width: {listed}", sizes)
        height, width, _ = next(iter(arrays.values())).shape
        if min(height, width) < SMALLEST:
            raise TooSmall(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
        if max(height, width) > MOST_SIDE:
            raise ValueError(
                f"{file}: {height}x{width}, the largest is {MOST_SIDE}x{MOST_SIDE}; cut it into"
                " tiles"
            )
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


def _describe(array: Array, name: str, part: FieldSpec, files: Files) -> Field:
    file, counts = files[part.member], None
    if part.kind == "label":
        ids, pixels = np.unique(array, return_counts=True)
        spare = part.ignore is not None  # the last class has no other id
        if part.classes and (
            beyond := [str(i) for i in ids if i >= part.classes - spare and i != part.ignore]
        ):
            listed = ", ".join([*beyond[:8], *["..."] * (len(beyond) > 8)])
            classes = f"{part.classes} classes" + f", the last of which is {part.ignore}" * spare
            raise NotLabels(f"{file}: {name} holds ids beyond {classes}: {listed}")
        counts = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
        raise ValueError(
            f"{file}: {name} has values {array.min():.4g}..{array.max():.4g}, floats must be in"
            " 0..1"
        )
    if array.shape[2] > MOST_CHANNELS:
        raise ValueError(
            f"{file}: {name} has {array.shape[2]} channels, allowed: at most {MOST_CHANNELS}"
        )
    about: dict[str, Any] = {
        "channels": array.shape[2],
        "dtype": array.dtype.name,
        "label_counts": counts,
    }
    about |= {"kind": part.kind, "ignore": part.ignore if counts else None, "palette": part.colors}
    size = array.shape[:2]
    return Field(member=part.member, half=part.half, min_size=size, max_size=size, **about)


def describe_fields(
    samples: Mapping[str, Files], looks: Mapping[str, CheckedSample], parts: FieldSpecs
) -> tuple[list[str], list[str], dict[str, Field]]:
    """The keys of good samples; a line for each other one; the set's fields.

    The most frequent channels and dtype of a field are those of the set, and the widest dtype of
    class ids. Samples that `channels.fit` can convert to them when they are decoded are good ones.
    Raises ValueError if files of a field of ids can't hold any, or hold ids beyond its classes:
    leaving them out would hide that the wrong files were given.
    """
    if wrong := [str(found) for found in looks.values() if isinstance(found, NotLabels)]:
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        advice = (
            "mend them, or give other --labels or --instances, more --classes, the id of no class"
            " to --ignore, "
        )
        advice += "or the table of colours to --colors"
        files = (
            "1 file is no label map"
            if len(wrong) == 1
            else f"{len(wrong):,} files are no label maps"
        )
        raise ValueError(f"{files}: {'; '.join(wrong[:_NAMED])}{more}; {advice}")
    bad = [str(found) for found in looks.values() if isinstance(found, ValueError)]
    good = {key: found for key, found in looks.items() if not isinstance(found, ValueError)}
    if not good:
        tried = count_text(len(bad), "sample")
        raise ValueError(
            f"none of {tried} is usable; the first: {bad[0]}{advise_unequal(looks.values())}"
        )
    usual_kinds: dict[str, tuple[int, str]] = {}
    for name, part in parts.items():
        kinds = {key: (fields[name].channels, fields[name].dtype) for key, fields in good.items()}
        usual = _usual(kinds.values(), part.kind)
        for key, kind in kinds.items():
            if not channels.can_fit(kind, usual, part.kind):
                file = samples[key][part.member]
                bad.append(f"{file}: {name} has {_named(kind)}, most have {_named(usual)}")
                del good[key]
        usual_kinds[name] = usual
    merged = {}
    for name, part in parts.items():  # only now it is known which samples all fields leave
        field = _merge([fields[name] for fields in good.values()], part)
        count, dtype = usual_kinds[name]
        merged[name] = field.model_copy(update={"channels": count, "dtype": dtype})
    return list(good), bad, merged


def conversions(
    looks: Mapping[str, CheckedSample], good: Iterable[str], fields: Mapping[str, Field]
) -> list[str]:
    """A note for each file of good samples whose channels are converted to its field's when it
    is decoded.
    """
    notes = []
    for key in good:
        described = looks[key]
        assert not isinstance(described, ValueError)
        for name, field in fields.items():
            if described[name].channels != field.channels:
                notes.append(f"{name}: {channels.note(described[name].channels, field.channels)}")
    return notes


def _usual(kinds: Iterable[tuple[int, str]], part_kind: Kind) -> tuple[int, str]:
    """The (channels, dtype) of a whole field, from those of its files."""
    counts = Counter(kinds)
    if part_kind != "image":  # ids below 256 fit into 16 bits too
        return max(counts, key=lambda kind: kind[1] == "uint16")

    def preference(kind: tuple[int, str]) -> tuple[int, int, int]:
        usable = sum(n for other, n in counts.items() if channels.can_fit(other, kind, part_kind))
        return usable, counts[kind], kind[0]  # of equally many, the one that keeps more

    return max(counts, key=preference)


def _named(kind: tuple[int, str]) -> str:
    return f"{count_text(kind[0], 'channel')} of {kind[1]}"


def _merge(fields: list[Field], part: FieldSpec) -> Field:
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
