"""Folders of images to data sets: checked, packed, reported. `LAYOUTS` says which are known."""

import hashlib
import os
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from gantrain.data.decode import Array, encode
from gantrain.data.prepare import cityscapes
from gantrain.data.prepare.check import SMALLEST, Size, agree, check, describe, in_order, load
from gantrain.data.prepare.layouts import FOLDERS, IMAGES, PAIRS, Candidate, Parts, images_in
from gantrain.data.prepare.report import Report, sheet
from gantrain.data.shard_writer import Packed, locked, refuse_existing, write_shards

__all__ = ["HOW_TO", "LAYOUTS", "Report", "pack_once", "prepare"]

LAYOUTS = {
    "pairs": PAIRS,
    "folders": FOLDERS,
    "images": IMAGES,
    "cityscapes": cityscapes.CITYSCAPES,
}
# Where to get a recipe's data, in half a sentence with {out} and {split}; by the recipe's name.
HOW_TO: dict[str, str] = {"cityscapes": cityscapes.HOW_TO}

_SHOWN = 8  # samples on the preview sheet, evenly from the whole set
_CACHE_VERSION = 1  # counted up when the same folder would be packed otherwise than before


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    classes: int | None = None,
    resize: Size | None = None,
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
    layout = layout or _recognise(source)
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} is not known; choose one of {', '.join(LAYOUTS)}")
    found = LAYOUTS[layout].find(source, split)
    parts = _with_labels(found.fields, labels, classes)

    console = Console(stderr=True)
    hidden = not (progress and console.is_terminal)
    shown = partial(track, console=console, disable=hidden, transient=True)
    results = in_order(lambda sample: check(sample, parts, resize), found.samples, workers)
    good, bad = agree(list(shown(results, "checking", len(found.samples))), parts)
    if not good:
        raise ValueError(f"{source}: none of {len(bad)} samples is usable; the first: {bad[0]}")
    fields = describe(good, parts, classes)
    report = Report(out, layout, len(good), fields, found.unmatched, bad)
    spread = [one.sample for one in good[:: -(-len(good) // _SHOWN)]]
    extras = {
        "report.txt": "\n".join([*report.lines(whole=True), ""]).encode(),
        "preview.png": sheet([load(sample, parts, resize) for sample in spread], fields),
    }
    packed = in_order(lambda one: _pack(one.sample, parts, resize), good, workers)
    try:
        write_shards(shown(packed, "packing", len(good)), out, fields, extras=extras)
    except OSError as error:
        raise ValueError(f"{out} could not be written: {error}") from None
    return report


def pack_once(
    folder: str | Path,
    cache: str | Path,
    *,
    labels: Collection[str] = (),
    classes: int | None = None,
) -> Path:
    """The data set packed from `folder`, made below `cache` unless it is there already.

    A changed folder (names, sizes, times of its files) or other options make another data set.
    Processes may race: one packs, the others wait for it. Raises what `prepare` raises.
    """
    folder, cache = Path(folder).expanduser().resolve(), Path(cache).expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}; check the path")
    told = [f"{folder}\n{(_CACHE_VERSION, sorted(labels), classes)}"]
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            status = file.stat()
            told.append(f"{file.relative_to(folder)}\n{status.st_size} {status.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()
    target = cache / f"{folder.name}-{digest[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f".{target.name}.packing", wait=True):
        if not (target / "index.json").is_file():
            prepare(folder, target, labels=labels, classes=classes)
    return target


def _check_request(source: Path, out: Path, classes: int | None, resize: Size | None) -> None:
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
        f"the folder that does, or its layout with --as ({', '.join(LAYOUTS)})"
    )


def _with_labels(fields: Parts, labels: Collection[str], classes: int | None) -> Parts:
    """The same with the named fields as labels."""
    whole = [name for name, part in fields.items() if part.half is None]
    for name in labels:
        if name not in whole:
            raise ValueError(
                f"--labels {name}: not a field that can hold class ids; found are "
                f"{', '.join(whole) or 'side-by-side images only, ids need a folder of their own'}"
            )
    fields = fields | {name: replace(fields[name], kind="label") for name in labels}
    if classes is not None and all(part.kind == "image" for part in fields.values()):
        raise ValueError(f"--classes {classes}: no field holds class ids; name one with --labels")
    return fields


def _pack(sample: Candidate, fields: Parts, resize: Size | None) -> Packed:
    original = {member: file.read_bytes() for member, file in sample.files.items()}
    if resize is None:
        endings = {member: file.suffix.lower()[1:] for member, file in sample.files.items()}
        return Packed(sample.key, {m: (endings[m], data) for m, data in original.items()})
    arrays: dict[str, list[Array]] = {}
    for name, array in load(sample, fields, resize).items():  # halves apart: no bleeding
        arrays.setdefault(fields[name].member, []).append(array)
    members = {}
    for member, halves in arrays.items():
        array = np.concatenate(halves, axis=1)
        fits_png = array.shape[2] <= {"uint8": 4, "uint16": 1}.get(array.dtype.name, 0)
        ending = "png" if fits_png else "npy"
        ending = "jpg" if original[member].startswith(b"\xff\xd8") else ending
        members[member] = (ending, encode(array, ending))
    return Packed(sample.key, members)
