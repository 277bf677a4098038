"""Every file is decoded once before anything is written: faults are found here, not in training."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gantrain.data.decode import Array, Kind, NotLabels, cut, decode, dtype_of, palette, resize
from gantrain.data.index import Dtype
from gantrain.data.prepare.layouts import Candidate, Part
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Facts:
    """What one field of one sample is."""

    size: tuple[int, int]  # height, width
    channels: int
    dtype: Dtype
    pixels: dict[int, int]  # by class id; empty for images


@dataclass(frozen=True)
class Checked:
    """A sample's facts by field, or what is wrong with it."""

    sample: Candidate
    facts: dict[str, Facts]
    problem: str = ""
    not_labels: bool = False  # the problem is a label file that can't hold class ids


def in_order(work: Callable[[In], Out], items: Iterable[In], workers: int) -> Iterator[Out]:
    """`map` over threads (Pillow works without the interpreter's lock), a few items ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Out]] = []
        try:
            remaining = iter(items)
            for item in islice(remaining, 4 * workers):
                waiting.append(pool.submit(work, item))
            while waiting:
                done = waiting.pop(0).result()
                waiting += [pool.submit(work, item) for item in islice(remaining, 1)]
                yield done
        finally:
            for future in waiting:
                future.cancel()


def load(
    sample: Candidate, fields: dict[str, Part], to: tuple[int, int] | None
) -> dict[str, Array]:
    """A sample's fields as HWC arrays, resized to `to`, each file decoded once.

    Raises ValueError (NotLabels) that names the file.
    """
    members: dict[tuple[str, Kind], Array] = {}
    arrays = {}
    for name, part in fields.items():
        source, file = (part.member, part.kind), sample.files[part.member]
        try:
            if source not in members:
                members[source] = decode(file.read_bytes(), part.kind)
            array = cut(members[source], part.half)
        except NotLabels as error:
            raise NotLabels(f"{file}: {error}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{file}: {error}") from None
        arrays[name] = resize(array, *to, part.kind) if to else array
    return arrays


def check(sample: Candidate, fields: dict[str, Part], to: tuple[int, int] | None) -> Checked:
    """Decode a sample and say what it is, or what is wrong with it."""
    try:
        arrays = load(sample, fields, to)
    except NotLabels as error:
        return Checked(sample, {}, str(error), not_labels=True)
    except ValueError as error:
        return Checked(sample, {}, str(error))
    facts, file = {}, next(iter(sample.files.values()))
    for name, array in arrays.items():
        pixels: dict[int, int] = {}
        if fields[name].kind == "label":
            ids, counts = np.unique(array, return_counts=True)
            pixels = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
            found = f"{array.min():.4g}..{array.max():.4g}"
            return Checked(sample, {}, f"{file}: {name} has values {found}, floats must be in 0..1")
        height, width = array.shape[:2]
        facts[name] = Facts((height, width), array.shape[2], dtype_of(array), pixels)
    sizes = {name: f"{one.size[0]}x{one.size[1]}" for name, one in facts.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return Checked(sample, {}, f"{file}: fields differ in height x width: {listed}")
    if min(next(iter(facts.values())).size) < SMALLEST:
        size = next(iter(sizes.values()))
        return Checked(sample, {}, f"{file}: {size}, the smallest is {SMALLEST}x{SMALLEST}")
    return Checked(sample, facts)


def agree(checked: list[Checked], fields: dict[str, Part]) -> tuple[list[Checked], list[str]]:
    """The good samples of one kind (the most frequent), and a line for each of the others.

    Raises ValueError if files of a label field can't hold class ids: leaving them out would hide
    that the wrong files were given.
    """
    wrong = [one.problem for one in checked if one.not_labels]
    if wrong:
        raise ValueError(_several("files are no label maps", wrong))
    bad = [one.problem for one in checked if one.problem]
    good = [one for one in checked if not one.problem]

    def kind(one: Checked) -> tuple[tuple[int, str], ...]:
        return tuple((one.facts[name].channels, one.facts[name].dtype) for name in fields)

    usual = Counter(map(kind, good)).most_common(1)
    for one in good:
        for (name, part), mine, theirs in zip(fields.items(), kind(one), usual[0][0], strict=True):
            if mine != theirs:
                bad.append(
                    f"{one.sample.files[part.member]}: {name} has {mine[0]} channels of {mine[1]}, "
                    f"most have {theirs[0]} of {theirs[1]}"
                )
                break
    return [one for one in good if kind(one) == usual[0][0]], bad


def describe(
    good: list[Checked], fields: dict[str, Part], labels: Iterable[str], classes: int | None
) -> dict[str, Field]:
    """The fields of a data set made of these samples.

    Raises ValueError that names the files with class ids beyond `classes`.
    """
    described = {}
    for name, part in fields.items():
        facts = [one.facts[name] for one in good]
        told: dict[str, Any] = {}
        if name in set(labels):
            total: Counter[int] = Counter()
            for one in facts:
                total.update(one.pixels)
            number = classes or part.classes or max(total) + 1
            _check_ids(name, part, good, number)
            colours = part.palette or _stored_palette(good[0].sample.files[part.member]) or []
            told = {
                "classes": number,
                "label_counts": dict(sorted(total.items())),
                "palette": (colours + palette(number)[len(colours) :])[:number],
            }
        described[name] = Field(
            member=part.member,
            half=part.half,
            kind=part.kind,
            channels=facts[0].channels,
            dtype=facts[0].dtype,
            min_size=(min(one.size[0] for one in facts), min(one.size[1] for one in facts)),
            max_size=(max(one.size[0] for one in facts), max(one.size[1] for one in facts)),
            **told,
        )
    return described


def _check_ids(name: str, part: Part, good: list[Checked], classes: int) -> None:
    wrong = []
    for one in good:
        beyond = [i for i in one.facts[name].pixels if i >= classes]
        if beyond:
            ids = ", ".join(map(str, beyond[:8])) + (", ..." if len(beyond) > 8 else "")
            wrong.append(f"{one.sample.files[part.member]}: {ids}")
    if wrong:
        what = f"files of {name} hold ids beyond {classes} classes (0..{classes - 1})"
        raise ValueError(_several(what, wrong) + "; mend them or pass a larger --classes")


def _several(what: str, lines: list[str]) -> str:
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return f"{len(lines)} {what}: {'; '.join(lines[:_NAMED])}{more}"


def _stored_palette(file: Path) -> list[tuple[int, int, int]] | None:
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            flat = image.getpalette("RGB") if image.mode == "P" else None
    except UnidentifiedImageError:  # .npy
        return None
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) if flat else None
