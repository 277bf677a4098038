"""Packing folders of images as data sets: every file is checked, packed and reported."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.files import create_once, refuse_existing
from gantrain.core.paths import check_not_special
from gantrain.core.threads import map_in_order
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import encode, lossless
from gantrain.data.prepare.check import (
    CheckedSample,
    check_sample,
    conversions,
    describe_fields,
    load,
)
from gantrain.data.prepare.color_table import read_table
from gantrain.data.prepare.common_formats import read_as_usual
from gantrain.data.prepare.field_options import apply_field_options
from gantrain.data.prepare.hints import as_note, note_gaps, note_ids_as_images
from gantrain.data.prepare.layouts import LAYOUTS, FieldSpecs, recognise
from gantrain.data.prepare.left_out import check_left_out, suggest_names
from gantrain.data.prepare.matching import Matched, match
from gantrain.data.prepare.pack_cache import describe_pack, pack_folder, remove_replaced
from gantrain.data.prepare.pack_report import REPORT_FILE, Report
from gantrain.data.prepare.patterns import patterned
from gantrain.data.prepare.range_options import (
    RangeOption,
    check_names,
    choose_ranges,
    numbers_of,
)
from gantrain.data.prepare.value_counts import ValueCounts
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.shard_writer import PackedSample, write_shards

_JPEG_START = b"\xff\xd8"

Item = TypeVar("Item")


def prepare(  # noqa: PLR0913 (the command's options)
    source: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
    classes: int | None = None,
    ignore: int | None = None,
    colors: str | Path | None = None,
    resize: tuple[int, int] | None = None,
    patterns: Mapping[str, str] | None = None,
    max_left_out: float = 0.5,
    ranges: Mapping[str, RangeOption] | None = None,
    needs_ranges: bool = True,
    workers: int | None = None,
    progress: bool = True,
    extras: Mapping[str, bytes] | None = None,
) -> Report:
    """Check every image of the folder `source`, and pack them as a data set in a new folder `out`.

    Every file is decoded once before anything is written, so that faults show here and not in
    training.

    layout: a name in `LAYOUTS`; None recognises it. split: which split is packed, where the layout
    has splits. labels: the fields that hold class ids. classes: their number; None takes the
    highest id + 1. kinds: the kinds of other fields that are no images, by name, such as
    `{"ids": "instances"}`. ignore: the id of pixels that are of no class; they are the last class,
    which `classes` counts. colors: a table, as `read_table` reads it, of the colours that the label
    files hold instead of ids, and of all classes. resize: (height, width) in pixels of every field.
    Without it files that hold no `colors` are kept byte for byte, except BMP, PPM and GIF, which
    become PNG. patterns: by field, how its files are named, with {} for the name that the fields
    share: `{"label": "{}_label"}`.
    max_left_out: the largest fraction (0 to 1) of samples that may be unusable or unmatched.
    ranges: by field of images that have other dtypes than uint8, the values that networks see as -1
    and as 1, or `auto`. needs_ranges: refuse such fields whose range nobody states but should; a
    run asks for it where it opens the data.
    extras: further files to write, by name.

    `report.txt` lies beside the shards. Raises UserError, in one line, for anything that a user
    can mend; nothing is left behind then.
    """
    check_not_special(source, "prepare")  # a URL, which an absolute path would hide
    source = Path(source).expanduser().absolute()
    out = Path(out).expanduser().absolute()
    _check_source(source)
    refuse_existing(out)

    layout, field_specs = _lay_out(source, layout, split, patterns or {})
    field_specs = apply_field_options(
        field_specs,
        labels=labels,
        kinds=kinds,
        classes=classes,
        ignore=ignore,
        colors=None if colors is None else read_table(Path(colors).expanduser()),
        resize=resize,
    )
    ranges = ranges or {}
    check_names(ranges, field_specs)
    matched = match(source, field_specs)
    names_by_field = {name: matched.names[spec.member] for name, spec in field_specs.items()}
    names_remedy = suggest_names(names_by_field, layout, bool(patterns))
    samples = matched.samples
    if not samples:
        advice = "prepare unpaired images folder by folder with --as images"
        if matched.left_out and not patterns:
            advice = f"{names_remedy}; {advice}"
        advice = HOW_TO.get(layout, advice).replace("{out}", str(out)).replace("{split}", split)
        raise UserError(f"{source}: {_describe_no_images(field_specs, matched)}; {advice}")

    notes: list[str] = []
    value_counts = ValueCounts(numbers_of(ranges))
    checks = map_in_order(
        lambda files: check_sample(files, field_specs, notes, value_counts),
        samples.values(),
        workers,
    )
    shown_checks = _with_progress(checks, "checking", len(samples), is_wanted=progress)
    checked: dict[str, CheckedSample] = dict(zip(samples, shown_checks, strict=True))
    good_keys, problems, fields = describe_fields(samples, checked, field_specs)
    check_left_out(
        source,
        checked,
        good_keys,
        list(field_specs),
        unmatched=matched.left_out,
        names_remedy=names_remedy,
        limit=max_left_out,
    )
    ranged = choose_ranges(fields, value_counts, ranges, needs_ranges=needs_ranges)
    fields = ranged.fields
    good_samples = [samples[key] for key in good_keys]
    converted = summarise([*conversions(checked, good_keys, fields), *sorted(notes)])
    report = Report(
        folder=out,
        layout=layout,
        samples=len(good_keys),
        fields=fields,
        unmatched=matched.lines,
        unreadable=problems,
        notes=[
            *map(as_note, matched.renamed),
            *map(as_note, converted),
            *ranged.notes,
            *note_gaps(fields),
            *note_ids_as_images(fields, good_samples, field_specs),
        ],
    )

    packed = map_in_order(lambda key: _pack(key, samples[key], field_specs), good_keys, workers)
    shown_packed = _with_progress(packed, "packing", len(good_keys), is_wanted=progress)
    extras = {REPORT_FILE: report.to_bytes(), **(extras or {})}
    try:
        write_shards(shown_packed, out, fields, extras=extras)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error}") from None
    return report


def pack_once(  # noqa: PLR0913 (the options of prepare that a recipe sets)
    folder: str | Path,
    cache: str | Path,
    *,
    layout: str | None = None,
    split: str = "train",
    labels: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
    classes: int | None = None,
    max_left_out: float = 0.5,
) -> Path:
    """Return the data set packed from `folder`; it is made below `cache` unless it is there.

    A changed folder (names, sizes, times of its images, also through links) or other options make
    another data set. A pack of the folder's older state is removed, unless a process reads it, and
    a printed line reports this. Processes may race: one packs, the others wait for it. Raises what
    `prepare` raises.
    """
    folder = Path(folder)
    check_not_special(folder, "prepare")  # resolving a loop of links raises an error of its own
    folder = folder.resolve()
    options: dict[str, Any] = {
        "layout": layout,
        "split": split,
        "labels": sorted(labels),
        "kinds": dict(sorted((kinds or {}).items())),
        "classes": classes,
    }
    target = pack_folder(folder, Path(cache).absolute(), options)
    extras = {"pack.json": describe_pack()}

    def pack() -> None:
        prepare(
            folder,
            target,
            **options,
            max_left_out=max_left_out,
            needs_ranges=False,
            extras=extras,
        )

    create_once(target, "index.json", pack)
    for removed in remove_replaced(target):
        say(f"{folder}: its files have changed; removed the pack of their older state, {removed}")
    return target


def _check_source(source: Path) -> None:
    """Raises UserError where `source` is no folder."""
    check_not_special(source, "prepare")
    if source.is_dir():
        return
    if source.exists():
        raise UserError(f"{source} is a file, not a folder")
    raise UserError(f"{source} does not exist; check the path")


def _lay_out(
    source: Path, layout: str | None, split: str, patterns: Mapping[str, str]
) -> tuple[str, FieldSpecs]:
    """Return the layout's name and the fields.

    Raises UserError for a layout that is not known or does not fit.
    """
    if patterns:
        if layout not in (None, "folders"):
            raise UserError(
                f"--pattern: found --as {layout} too, allowed: --as folders, or no --as"
            )
        return "folders", patterned(source, split, patterns)
    layout = layout or recognise(source)
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is not known; choose one of {', '.join(LAYOUTS)}")
    return layout, LAYOUTS[layout](source, split)


def _describe_no_images(field_specs: FieldSpecs, matched: Matched) -> str:
    """Describe, for an error, which files were looked for, and the first one that was left out."""
    patterns = dict.fromkeys(spec.files for spec in field_specs.values())
    description = f"found no images like {' that match '.join(patterns)}"
    if matched.lines:
        description += f" ({matched.lines[0]})"
    return description


def _with_progress(
    items: Iterable[Item], description: str, count: int, *, is_wanted: bool
) -> Iterable[Item]:
    """Return the items, whose progress is shown on standard error where that is a terminal."""
    console = Console(stderr=True)
    is_shown = is_wanted and console.is_terminal
    return track(
        items,
        description=description,
        total=count,
        console=console,
        disable=not is_shown,
        transient=True,
    )


def _pack(key: str, files: Mapping[str, Path], field_specs: FieldSpecs) -> PackedSample:
    """Return a sample with the bytes of its files.

    A member is encoded anew where one of its fields is resized or holds colours, or where its
    format becomes PNG.
    """
    changed = {spec.member for spec in field_specs.values() if spec.size or spec.colors}
    changed_specs = {name: spec for name, spec in field_specs.items() if spec.member in changed}
    arrays = load(files, changed_specs)
    kinds = {spec.member: spec.kind for spec in field_specs.values()}
    members = {}
    for member, file in files.items():
        if member not in changed:
            members[member] = read_as_usual(file, kinds[member])
    for member in sorted(changed):
        # Each half was resized by itself, so that no colour bleeds across the middle.
        halves = [arrays[name] for name, spec in changed_specs.items() if spec.member == member]
        array = np.concatenate(halves, axis=1)
        extension = lossless(array.shape[2], array.dtype.name)
        if files[member].read_bytes().startswith(_JPEG_START):
            extension = "jpg"
        members[member] = (extension, encode(array, extension))
    return PackedSample(key, members)
