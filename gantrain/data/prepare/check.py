"""Every file is decoded once before anything is written: faults are found here, not in training."""

import io
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from gantrain.data.decode import Array, Kind, NotLabels, cut, decode, dtype_of, palette, resize
from gantrain.data.index import Dtype
from gantrain.data.prepare.layouts import Candidate, Part, Parts
from gantrain.data.shards import Field

SMALLEST = 16  # pixels; below it no network here has anything to work on
_NAMED = 3  # files named in an error about labels

Size = tuple[int, int]  # height, width in pixels
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Facts:
    """What one field of one sample is."""

    size: Size
    channels: int
    dtype: Dtype
    pixels: dict[int, int]  # by class id; empty for images

    def __str__(self) -> str:
        return f"{self.channels} channels of {self.dtype}"


@dataclass(frozen=True)
class Checked:
    """A sample's facts by field, or what is wrong with it."""

    sample: Candidate
    facts: dict[str, Facts]
    problem: ValueError | None = None


def in_order(work: Callable[[In], Out], items: Iterable[In], workers: int) -> Iterator[Out]:
    """`map` over threads (Pillow works without the interpreter's lock), a few items ahead."""
    waiting: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        for future in waiting:
            yield future.result()


def load(sample: Candidate, fields: Parts, to: Size | None) -> dict[str, Array]:
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
        except (OSError, ValueError) as error:
            kind = NotLabels if isinstance(error, NotLabels) else ValueError
            raise kind(f"{file}: {error}") from None
        arrays[name] = resize(array, *to, part.kind) if to else array
    return arrays


def check(sample: Candidate, fields: Parts, to: Size | None) -> Checked:
    """Decode a sample and say what it is, or what is wrong with it."""
    try:
        return Checked(sample, _facts(sample, fields, to))
    except ValueError as problem:
        return Checked(sample, {}, problem)


def _facts(sample: Candidate, fields: Parts, to: Size | None) -> dict[str, Facts]:
    facts, file = {}, next(iter(sample.files.values()))
    for name, array in load(sample, fields, to).items():
        pixels: dict[int, int] = {}
        if fields[name].kind == "label":
            ids, counts = np.unique(array, return_counts=True)
            pixels = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        elif array.dtype == np.float32 and (array.min() < 0 or array.max() > 1):
            found = f"{array.min():.4g}..{array.max():.4g}"
            raise ValueError(f"{file}: {name} has values {found}, floats must be in 0..1")
        height, width, channels = array.shape
        facts[name] = Facts((height, width), channels, dtype_of(array), pixels)
    sizes = {name: f"{one.size[0]}x{one.size[1]}" for name, one in facts.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"{file}: fields differ in height x width: {listed}")
    if min(height, width) < SMALLEST:
        raise ValueError(f"{file}: {height}x{width}, the smallest is {SMALLEST}x{SMALLEST}")
    return facts


def agree(checked: list[Checked], fields: Parts) -> tuple[list[Checked], list[str]]:
    """The good samples of one kind (the most frequent), and a line for each of the others.

    Raises ValueError if files of a label field can't hold class ids: leaving them out would hide
    that the wrong files were given.
    """
    wrong = [str(one.problem) for one in checked if isinstance(one.problem, NotLabels)]
    if wrong:
        raise ValueError(_several("files are no label maps", wrong))
    bad = [str(one.problem) for one in checked if one.problem]
    good = [one for one in checked if not one.problem]
    for name, part in fields.items():
        kinds = Counter(str(one.facts[name]) for one in good)
        usual = max(kinds, key=kinds.__getitem__, default="")
        for one in good:
            if (kind := str(one.facts[name])) != usual:
                file = one.sample.files[part.member]
                bad.append(f"{file}: {name} has {kind}, most have {usual}")
        good = [one for one in good if str(one.facts[name]) == usual]
    return good, bad


def describe(good: list[Checked], fields: Parts, classes: int | None) -> dict[str, Field]:
    """The fields of a data set made of these samples.

    Raises ValueError that names the files with class ids beyond `classes`.
    """
    described = {}
    for name, part in fields.items():
        facts = [one.facts[name] for one in good]
        heights, widths = zip(*(one.size for one in facts), strict=True)
        described[name] = Field(
            member=part.member,
            half=part.half,
            kind=part.kind,
            channels=facts[0].channels,
            dtype=facts[0].dtype,
            min_size=(min(heights), min(widths)),
            max_size=(max(heights), max(widths)),
            **(_describe_ids(name, part, good, classes) if part.kind == "label" else {}),
        )
    return described


def _describe_ids(
    name: str, part: Part, good: list[Checked], classes: int | None
) -> dict[str, Any]:
    total: Counter[int] = Counter()
    for one in good:
        total.update(one.facts[name].pixels)
    number = classes or part.classes or max(total) + 1
    wrong = []
    for one in good:
        beyond = [str(i) for i in one.facts[name].pixels if i >= number]
        if beyond:
            more = ", ..." if len(beyond) > 8 else ""
            wrong.append(f"{one.sample.files[part.member]}: {', '.join(beyond[:8])}{more}")
    if wrong:
        what = f"files of {name} hold ids beyond {number} classes (0..{number - 1})"
        raise ValueError(_several(what, wrong) + "; mend them or pass a larger --classes")
    colours = part.palette or _stored_palette(good[0].sample.files[part.member])
    return {
        "classes": number,
        "label_counts": dict(sorted(total.items())),
        "palette": (colours + palette(number)[len(colours) :])[:number],
    }


def _several(what: str, lines: list[str]) -> str:
    more = f"; and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return f"{len(lines)} {what}: {'; '.join(lines[:_NAMED])}{more}"


def _stored_palette(file: Path) -> list[tuple[int, int, int]]:
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            flat = image.getpalette("RGB") if image.mode == "P" else None
    except UnidentifiedImageError:  # .npy
        return []
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) if flat else []
