"""Folders of images to data sets: checked, packed, reported. `LAYOUTS` says which are known."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress

from gantrain.data.decode import Array, encode
from gantrain.data.prepare import cityscapes
from gantrain.data.prepare.check import SMALLEST, agree, check, describe, in_order, load
from gantrain.data.prepare.layouts import (
    FOLDERS,
    IMAGES,
    PAIRS,
    Candidate,
    Found,
    Layout,
    Part,
    images_in,
)
from gantrain.data.prepare.report import Report, sheet
from gantrain.data.shard_writer import Packed, locked, refuse_existing, write_shards

__all__ = ["HOW_TO", "LAYOUTS", "Report", "pack_once", "prepare"]

LAYOUTS: dict[str, Layout] = {
    "pairs": PAIRS,
    "folders": FOLDERS,
    "images": IMAGES,
    "cityscapes": cityscapes.CITYSCAPES,
}
# Where to get a recipe's data, in half a sentence; by the recipe's name.
HOW_TO: dict[str, str] = {"cityscapes": cityscapes.HOW_TO}

_SHOWN = 8  # samples on the preview sheet, evenly from the whole set
_CACHE_VERSION = 1  # counted up when the same folder would be packed otherwise than before

T = TypeVar("T")


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    classes: int | None = None,
    resize: tuple[int, int] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Check every image of the folder `source` and pack them as a data set in the new folder `out`.

    layout: a name in `LAYOUTS`; None recognises it. split: which part, where the layout has parts.
    labels: the fields that hold class ids. classes: their number; None takes the highest id + 1.
    resize: (height, width) in pixels of every field; without it files are kept byte for byte.

    Beside the shards lie `report.txt` and `preview.png`. Raises ValueError, in one line, for
    anything a user can mend; then nothing is left behind.
    """
    source, out = Path(source).expanduser().absolute(), Path(out).expanduser().absolute()
    workers = workers or min(16, os.cpu_count() or 1)
    _check_request(source, out, classes, resize)
    name = layout or _recognise(source)
    if name not in LAYOUTS:
        raise ValueError(f"layout {name!r} is not known; choose one of {', '.join(LAYOUTS)}")
    found = _with_labels(LAYOUTS[name].find(source, split), labels, classes)
    label_fields = [name for name, part in found.fields.items() if part.kind == "label"]

    console = Console(stderr=True)
    progress = progress and console.is_terminal
    with Progress(console=console, disable=not progress, transient=True) as bar:

        def shown(what: str, items: Iterator[T], total: int) -> Iterable[T]:
            return bar.track(items, total=total, description=what)

        results = in_order(lambda s: check(s, found.fields, resize), found.samples, workers)
        checked = list(shown("checking", results, len(found.samples)))
        good, bad = agree(checked, found.fields)
        if not good:
            raise ValueError(
                f"{source}: none of {len(checked)} samples is usable; the first: {bad[0]}"
            )
        fields = describe(good, found.fields, label_fields, classes)
        report = Report(out, name, len(good), fields, found.unmatched, bad)
        spread = good[:: -(-len(good) // _SHOWN)]
        shown_samples = [load(one.sample, found.fields, resize) for one in spread]
        extras = {
            "report.txt": "\n".join([*report.lines(whole=True), ""]).encode(),
            "preview.png": sheet(shown_samples, fields),
        }
        packed = in_order(lambda one: _pack(one.sample, found.fields, resize), good, workers)
        try:
            write_shards(shown("packing", packed, len(good)), out, fields, extras=extras)
        except OSError as error:
            raise ValueError(f"{out} could not be written: {error}") from None
    return report


def pack_once(
    folder: str | Path,
    cache: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    classes: int | None = None,
    resize: tuple[int, int] | None = None,
) -> Path:
    """The data set packed from `folder`, made below `cache` unless it is there already.

    A changed folder (names, sizes, times of its files) or other options make another data set.
    Processes may race: one packs, the others wait for it. Raises what `prepare` raises.
    """
    folder, cache = Path(folder).expanduser().resolve(), Path(cache).expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}; check the path")
    options = (_CACHE_VERSION, layout, split, sorted(labels), classes, resize)
    digest = hashlib.sha256(f"{folder}\n{options}\n".encode(errors="surrogateescape"))
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            status = file.stat()
            line = f"{file.relative_to(folder)}\n{status.st_size} {status.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    target = cache / f"{folder.name}-{digest.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f".{target.name}.packing", wait=True):
        if not (target / "index.json").is_file():
            prepare(
                folder,
                target,
                layout=layout,
                split=split,
                labels=labels,
                classes=classes,
                resize=resize,
            )
    return target


def _check_request(
    source: Path, out: Path, classes: int | None, resize: tuple[int, int] | None
) -> None:
    if not source.is_dir():
        what = "is a file, not a folder" if source.exists() else "does not exist; check the path"
        raise ValueError(f"{source} {what}")
    refuse_existing(out)
    parent = next(folder for folder in out.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{out} cannot be made: {parent} is not a folder that you can write to")
    if resize and min(resize) < SMALLEST:
        raise ValueError(
            f"--resize {resize[0]}x{resize[1]} (height x width) is too small, the smallest is "
            f"{SMALLEST}x{SMALLEST}"
        )
    if classes is not None and not 2 <= classes <= 65536:
        raise ValueError(f"--classes {classes}: give a number in 2..65536")


def _recognise(source: Path) -> str:
    names = [name for name, layout in LAYOUTS.items() if layout.recognise(source)]
    if len(names) == 1:
        return names[0]
    choices = ", ".join(LAYOUTS)
    if names:
        raise ValueError(f"{source} could be {' or '.join(names)}; say which with --as")
    if images_in(source)[0]:
        raise ValueError(
            f"{source} could hold side-by-side pairs or single images, since the widths are not "
            "twice the heights; say which with --as pairs or --as images"
        )
    inside = ", ".join(sorted(f.name for f in source.iterdir())[:8]) or "nothing"
    raise ValueError(
        f"{source} holds neither images nor two or more folders of images (found: {inside}); name "
        f"the folder that does, or its layout with --as ({choices})"
    )


def _with_labels(found: Found, labels: Collection[str], classes: int | None) -> Found:
    """The same with the named fields as labels."""
    for name in labels:
        part = found.fields.get(name)
        if part is None or part.half is not None:
            whole = [n for n, p in found.fields.items() if p.half is None]
            raise ValueError(
                f"--labels {name}: not a field that can hold class ids; found are "
                f"{', '.join(whole) or 'side-by-side images only, ids need a folder of their own'}"
            )
    fields = {
        name: replace(part, kind="label") if name in labels else part
        for name, part in found.fields.items()
    }
    if classes is not None and all(part.kind == "image" for part in fields.values()):
        raise ValueError(f"--classes {classes}: no field holds class ids; name one with --labels")
    return replace(found, fields=fields)


def _pack(sample: Candidate, fields: dict[str, Part], resize: tuple[int, int] | None) -> Packed:
    original = {member: file.read_bytes() for member, file in sample.files.items()}
    if resize is None:
        names = {member: file.suffix.lower()[1:] for member, file in sample.files.items()}
        return Packed(
            sample.key, {member: (names[member], original[member]) for member in original}
        )
    arrays = load(sample, fields, resize)
    members: dict[str, list[Array]] = {}
    for name, part in fields.items():  # halves are resized apart: nothing bleeds over the seam
        members.setdefault(part.member, []).append(arrays[name])
    joined = {member: np.concatenate(halves, axis=1) for member, halves in members.items()}
    return Packed(
        sample.key,
        {
            m: (ext := _extension(original[m], array), encode(array, ext))
            for m, array in joined.items()
        },
    )


def _extension(original: bytes, array: Array) -> str:
    if original.startswith(b"\xff\xd8"):
        return "jpg"
    return "png" if array.dtype != np.float32 and array.shape[2] <= 4 else "npy"
