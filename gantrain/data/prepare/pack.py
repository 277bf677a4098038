"""Folders of images to data sets: checked, packed, reported. `LAYOUTS` says which are known."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.paths import check_not_special
from gantrain.core.printable import printable
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import Colour, Kind, encode, lossless
from gantrain.data.prepare.check import (
    SMALLEST,
    check_sample,
    conversions,
    describe_fields,
    load,
    map_in_order,
)
from gantrain.data.prepare.color_table import read_table
from gantrain.data.prepare.common_formats import read_as_usual
from gantrain.data.prepare.hints import as_note, note_gaps, note_ids_as_images
from gantrain.data.prepare.layouts import (
    FieldSpecs,
    Layout,
    folders,
    images,
    pairs,
    published,
    recognise,
)
from gantrain.data.prepare.left_out import check_left_out, suggest_names
from gantrain.data.prepare.matching import match
from gantrain.data.prepare.pack_cache import describe_pack, pack_folder, remove_replaced
from gantrain.data.prepare.patterns import patterned
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.shard_writer import PackedSample, create_once, refuse_existing, write_shards
from gantrain.data.shards import Field

LAYOUTS: dict[str, Layout] = {
    "pairs": pairs,
    "folders": folders,
    "images": images,
    # 34, the licence plate, is -1 there and never comes.
    "cityscapes": published(
        "leftImg8bit/{split}/*/*_leftImg8bit.png",
        "gtFine/{split}/*/*_gtFine_labelIds.png",
        classes=35,
        instances="gtFine/{split}/*/*_gtFine_instanceIds.png",
    ),
    "camvid": published("{split}/*", "{split}annot/*", classes=12),  # the last one is void
    # 0 is what is none of the 150.
    "ade20k": published(
        "images/{split}/*", "annotations/{split}/*", classes=151, train="training", val="validation"
    ),
    # COCO-stuff's archive has no ids of instances: they are a user's own.
    "coco": published(
        "images/{split}2017/*",
        "annotations/{split}2017/*",
        classes=183,
        ignore=255,
        instances="instances/{split}2017/*",
    ),
}


@dataclass(frozen=True)
class Report:
    """The outcome of `prepare`: what was written, one line for each sample or file that was not,
    and notes.
    """

    folder: Path
    layout: str
    samples: int
    fields: dict[str, Field]
    unmatched: list[str]
    unreadable: list[str]
    notes: list[str] = field(default_factory=list)

    def lines(self, most: int | None = 10) -> list[str]:
        """For people; names so many left-over files of each sort, or all (None)."""
        lines = [f"{count_text(self.samples, 'sample')} ({self.layout}) in {self.folder}"]
        for name, one in self.fields.items():
            size = " to ".join(
                dict.fromkeys(f"{height}x{width}" for height, width in (one.min_size, one.max_size))
            )
            what = count_text(one.channels, "channel")
            if one.classes:
                what = count_text(one.classes, "class", "classes")
            what += "" if one.ignore is None else f", the last of them id {one.ignore}"
            lines.append(f"  {name}: {one.kind}, {what}, {one.dtype}, height x width {size}")
        lines += self.notes
        for what, names in (("unmatched", self.unmatched), ("left out", self.unreadable)):
            if names:
                lines += [f"{len(names)} {what}:", *(f"  {name}" for name in names[:most])]
            if most is not None and len(names) > most:
                lines.append(f"  ... and {len(names) - most} more, all in report.txt")
        return [printable(line) for line in lines]  # a file's name may hold anything


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    instances: str | None = None,
    classes: int | None = None,
    ignore: int | None = None,
    colors: str | Path | None = None,
    resize: tuple[int, int] | None = None,
    patterns: Mapping[str, str] | None = None,
    max_left_out: float = 0.5,
    workers: int | None = None,
    progress: bool = True,
    extras: Mapping[str, bytes] | None = None,
) -> Report:
    """Check every image of the folder `source` and pack them as a data set in the new folder `out`.

    layout: a name in `LAYOUTS`; None recognises it. split: which part, where the layout has parts.
    labels: the fields that hold class ids. classes: their number; None takes the highest id + 1.
    instances: the field that holds ids of instances. ignore: the id of pixels that are of no class;
    they are the last class, which `classes` counts. colors: a table, `read_table`'s, of the colours
    that the label files hold instead of ids, and of all classes. resize: (height, width) in pixels
    of every field; without it files that hold no `colors` are kept byte for byte, but for BMP, PPM
    and GIF, which become PNG. patterns: by field, what its files' names look like, with {} for what
    they share: `{"label": "{}_label"}`. max_left_out: the largest fraction (0 to 1) of samples that
    may be unusable or unmatched. extras: further files to write, by name.

    Beside the shards lies `report.txt`. Raises ValueError, in one line, for anything a user can
    mend; then nothing is left behind.
    """
    check_not_special(source, "prepare")  # a URL, of which an absolute path shows nothing
    source, out = Path(source).expanduser().absolute(), Path(out).expanduser().absolute()
    check_not_special(source, "prepare")
    if not source.is_dir():
        what = "is a file, not a folder" if source.exists() else "does not exist; check the path"
        raise ValueError(f"{source} {what}")
    refuse_existing(out)
    layout, parts = _lay_out(source, layout, split, patterns or {})
    table = None if colors is None else read_table(Path(colors).expanduser())
    parts = asked(parts, labels, classes, ignore, resize, instances, table)
    matched = match(source, parts)
    samples, unmatched = matched.samples, matched.lines
    names_by_field = {name: matched.names[part.member] for name, part in parts.items()}
    names_remedy = suggest_names(names_by_field, layout, bool(patterns))
    if not samples:
        wanted = " that match ".join(dict.fromkeys(part.files for part in parts.values()))
        first = f" ({unmatched[0]})" if unmatched else ""
        unpaired = "prepare unpaired images folder by folder with --as images"
        if matched.left_out and not patterns:
            unpaired = f"{names_remedy}; {unpaired}"
        advice = HOW_TO.get(layout, unpaired)
        raise ValueError(
            f"{source}: found no images like {wanted}{first}; {_filled(advice, out, split)}"
        )
    stderr = Console(stderr=True)
    shown = partial(
        track, console=stderr, disable=not (progress and stderr.is_terminal), transient=True
    )
    notes: list[str] = []
    looks = map_in_order(lambda files: check_sample(files, parts, notes), samples.values(), workers)
    looked = zip(samples, shown(looks, "checking", len(samples)), strict=True)
    looks_by_key = dict(looked)
    good, bad, fields = describe_fields(samples, looks_by_key, parts)
    check_left_out(
        source,
        looks_by_key,
        good,
        list(parts),
        unmatched=matched.left_out,
        names_remedy=names_remedy,
        limit=max_left_out,
    )
    packed_samples = [samples[key] for key in good]
    converted = summarise([*conversions(looks_by_key, good, fields), *sorted(notes)])
    all_notes = [as_note(line) for line in [*matched.renamed, *converted]]
    all_notes += note_gaps(fields) + note_ids_as_images(fields, packed_samples, parts)
    report = Report(out, layout, len(good), fields, unmatched, bad, all_notes)
    whole = "\n".join([*report.lines(None), ""]).encode(errors="surrogateescape")
    packed = map_in_order(lambda key: _pack(key, samples[key], parts), good, workers)
    try:
        write_shards(
            shown(packed, "packing", len(good)),
            out,
            fields,
            extras={"report.txt": whole, **(extras or {})},
        )
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
    instances: str | None = None,
    classes: int | None = None,
    max_left_out: float = 0.5,
) -> Path:
    """The data set packed from `folder`, made below `cache` unless it is there already.

    A changed folder (names, sizes, times of its images, also through links) or other options make
    another data set; a pack of the folder's older state is removed, unless a process reads it, and
    a line says so. Processes may race: one packs, the others wait for it. Raises what `prepare`
    raises."""
    folder, cache = Path(folder), Path(cache).absolute()
    check_not_special(folder, "prepare")  # resolving a loop of links raises an error of its own
    folder = folder.resolve()
    options: dict[str, Any] = {"layout": layout, "split": split, "labels": sorted(labels)}
    options |= {"instances": instances, "classes": classes}
    target = pack_folder(folder, cache, options)
    extras = {"pack.json": describe_pack()}
    create_once(
        target, lambda: prepare(folder, target, **options, max_left_out=max_left_out, extras=extras)
    )
    for removed in remove_replaced(target):
        say(f"{folder}: its files have changed; removed the pack of their older state, {removed}")
    return target


def _lay_out(
    source: Path, layout: str | None, split: str, patterns: Mapping[str, str]
) -> tuple[str, FieldSpecs]:
    """The layout's name and the fields. Raises ValueError for a layout that is not known or
    doesn't fit.
    """
    if patterns:
        if layout not in (None, "folders"):
            raise ValueError(
                f"--pattern: found --as {layout} too, allowed: --as folders, or no --as"
            )
        return "folders", patterned(source, split, patterns)
    layout = layout or recognise(source)
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r} is not known; choose one of {', '.join(LAYOUTS)}")
    return layout, LAYOUTS[layout](source, split)


def _filled(advice: str, out: Path, split: str) -> str:
    """An advice with the user's own folder and split in it."""
    return advice.replace("{out}", str(out)).replace("{split}", split)


def asked(
    parts: FieldSpecs,
    labels: Collection[str],
    classes: int | None,
    ignore: int | None,
    resize: tuple[int, int] | None,
    instances: str | None = None,
    colors: tuple[Colour, ...] | None = None,
) -> FieldSpecs:
    """The fields as the user wants them; raises ValueError for options that don't fit them."""
    if resize and min(resize) < SMALLEST:
        least = f"{SMALLEST}x{SMALLEST} is the least"
        raise ValueError(f"--resize {resize[0]}x{resize[1]} (height x width) is too small, {least}")
    if classes is not None and not 2 <= classes <= 65536:
        raise ValueError(f"--classes {classes}: give a number in 2..65536")
    whole = [name for name, part in parts.items() if part.half is None]
    ids: dict[str, Kind] = dict.fromkeys(sorted(labels), "label")
    if instances:
        ids[instances] = "instances"
    for name, kind in ids.items():
        if name not in whole:
            option, what = (
                ("--labels", "class ids")
                if kind == "label"
                else ("--instances", "ids of instances")
            )
            found = ", ".join(whole) or "side-by-side images only, ids need a folder of their own"
            raise ValueError(
                f"{option} {name}: not a field that can hold {what}; found are {found}"
            )
        if kind == "instances" and (name in labels or parts[name].kind == "label"):
            raise ValueError(f"--instances {name}: it holds class ids already; name another field")
        parts = parts | {name: parts[name]._replace(kind=kind)}
    if colors:
        if classes or all(part.kind != "label" for part in parts.values()):
            found = (
                f"found --classes {classes} too, which it counts"
                if classes
                else "no field holds class ids"
            )
            raise ValueError(
                f"--colors: {found}; name label fields with --labels, without --classes"
            )
        if ignore not in (None, len(colors) - 1):
            raise ValueError(
                f"--ignore {ignore}: with --colors it is the table's last, {len(colors) - 1}; move"
                " its line"
            )
        classes = len(colors)
        parts = {
            name: part._replace(colors=colors) if part.kind == "label" else part
            for name, part in parts.items()
        }
    options = {"classes": classes, "ignore": ignore, "size": resize}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for option in ("classes", "ignore"):
        if option in given and all(part.kind != "label" for part in parts.values()):
            raise ValueError(
                f"--{option} {given[option]}: no field holds class ids; name one with --labels"
            )
    return {name: part._replace(**given) for name, part in parts.items()}


def _pack(key: str, files: Mapping[str, Path], parts: FieldSpecs) -> PackedSample:
    """A sample's files as they are, but for fields that are resized or hold colours, and formats
    that become PNG.
    """
    changed = {part.member for part in parts.values() if part.size or part.colors}
    arrays = load(files, {name: part for name, part in parts.items() if part.member in changed})
    kinds = {part.member: part.kind for part in parts.values()}
    members = {}
    for member, file in files.items():
        if member not in changed:
            members[member] = read_as_usual(file, kinds[member])
    for member in sorted(changed):
        # Halves were resized apart: no bleeding.
        array = np.concatenate(
            [arrays[name] for name, part in parts.items() if part.member == member], axis=1
        )
        lossy = files[member].read_bytes().startswith(b"\xff\xd8")
        ending = "jpg" if lossy else lossless(array.shape[2], array.dtype.name)
        members[member] = (ending, encode(array, ending))
    return PackedSample(key, members)
