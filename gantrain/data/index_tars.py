"""`gantrain index`: external WebDataset tars as a data set; the tars stay where they lie."""

import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from gantrain.core.errors import UserError
from gantrain.core.files import atomic_folder, write_bytes
from gantrain.core.paths import check_not_special
from gantrain.core.printable import printable
from gantrain.core.threads import map_in_order
from gantrain.data.conversion_notes import summarise
from gantrain.data.field import NAME
from gantrain.data.index import SHARD_NAME, Shard
from gantrain.data.index_writer import save_index
from gantrain.data.prepare.check import (
    CheckedSample,
    check_sample,
    conversions,
    describe_fields,
)
from gantrain.data.prepare.field_options import apply_field_options
from gantrain.data.prepare.hints import as_note, note_gaps
from gantrain.data.prepare.layouts import FieldSpec, FieldSpecs
from gantrain.data.prepare.left_out import check_left_out
from gantrain.data.prepare.pack_report import REPORT_FILE, Report
from gantrain.data.prepare.range_options import (
    RangeOption,
    check_names,
    choose_ranges,
    numbers_of,
)
from gantrain.data.prepare.value_counts import ValueCounts
from gantrain.data.remote import FetchFailed, fetch
from gantrain.data.shard_names import expand_pattern
from gantrain.data.urls import check_url, is_url

_TAIL_BYTES = 1 << 20  # behind a tar's last file that are checked
_FETCHED = "fetched.tar"

Extensions = Mapping[str, Sequence[str]]  # by field


class _File(NamedTuple):
    """A file in a tar, as `prepare.layouts.File` asks for it; `name` is for messages."""

    name: str
    offset: int
    content: bytes

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        return self.content


class _TarSample(NamedTuple):
    """A sample of a tar: its key, and its files by field."""

    key: str
    files: dict[str, _File]


class _Entry(NamedTuple):
    """A file in a tar as WebDataset names it."""

    key: str
    extension: str
    header: tarfile.TarInfo


@dataclass
class _Contents:
    """The contents of the tars, by key of a sample unless stated otherwise.

    file_names: by field, for messages. rows: the index's numbers by name of the array, such as
    `image_offset`, and by key. shard_of: the tar's name. shard_bytes: by name of a tar. notes: on
    files that are converted when they are decoded. value_counts: the values of images.
    """

    value_counts: ValueCounts
    checked: dict[str, CheckedSample] = field(default_factory=dict)
    file_names: dict[str, dict[str, str]] = field(default_factory=dict)
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    shard_of: dict[str, str] = field(default_factory=dict)
    shard_bytes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, sample: _TarSample, checked: CheckedSample) -> None:
        self.checked[sample.key] = checked
        self.file_names[sample.key] = {name: file.name for name, file in sample.files.items()}
        for name, file in sample.files.items():
            numbers = {
                "offset": file.offset,
                "size": len(file.content),
                "crc": zlib.crc32(file.content),
            }
            for part, number in numbers.items():
                self.rows.setdefault(f"{name}_{part}", {})[sample.key] = number


def index_tars(  # noqa: PLR0913 (the command's options)
    tars: Sequence[str],
    out: Path,
    fields: Extensions,
    *,
    labels: Collection[str] = (),
    classes: int | None = None,
    ignore: int | None = None,
    ranges: Mapping[str, RangeOption] | None = None,
    max_left_out: float = 0.5,
) -> Report:
    """Write the index of `tars` (paths, URLs, patterns; all in one folder) as the folder `out`.

    labels, classes, ignore, ranges, max_left_out, and the samples that are left out: as in
    `prepare`. Raises UserError, in one line, for what no data set can be: compressed or interleaved
    tars, links, keys that come twice.
    """
    out = out.expanduser().absolute()
    for name in fields:
        if not re.fullmatch(NAME, name):
            raise UserError(f"--field: found {name!r}, allowed: letters, digits, _ and -")
    ranges = ranges or {}
    check_names(ranges, fields)
    base, names = _places(tars)
    field_specs = apply_field_options(
        {name: FieldSpec(name) for name in fields}, labels=labels, classes=classes, ignore=ignore
    )
    contents = _Contents(ValueCounts(numbers_of(ranges)))
    try:
        with atomic_folder(out) as partial:
            for name in names:
                path = Path(base, name)
                if is_url(base):
                    path = partial / _FETCHED
                    fetch(f"{base}/{name}", path)
                samples = _samples(path, f"{base}/{name}", fields, contents.shard_of)
                if not _check_samples(samples, field_specs, contents):
                    raise UserError(f"{base}/{name} holds no samples (files KEY.EXTENSION)")
                contents.shard_bytes[name] = path.stat().st_size
            (partial / _FETCHED).unlink(missing_ok=True)
            good_keys, problems, described = describe_fields(
                contents.file_names, contents.checked, field_specs
            )
            check_left_out(base, contents.checked, good_keys, list(fields), limit=max_left_out)
            ranged = choose_ranges(described, contents.value_counts, ranges)
            described = ranged.fields
            converted = conversions(contents.checked, good_keys, described)
            notes = map(as_note, summarise([*converted, *sorted(contents.notes)]))
            report = Report(
                folder=out,
                layout="webdataset",
                samples=len(good_keys),
                fields=described,
                unmatched=[],
                unreadable=problems,
                notes=[*notes, *ranged.notes, *note_gaps(described)],
            )
            write_bytes(partial / REPORT_FILE, report.to_bytes())
            counts = Counter(contents.shard_of[key] for key in good_keys)
            shards = [
                Shard(name=name, bytes=contents.shard_bytes[name], samples=counts[name])
                for name in names
                if counts[name]
            ]
            rows = {}
            for name, row in contents.rows.items():
                rows[name] = [row[key] for key in good_keys]
            save_index(partial, described, shards, keys=good_keys, rows=rows, base=base)
    except FetchFailed as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}") from None
    return report


def _places(tars: Sequence[str]) -> tuple[str, list[str]]:
    """Return the folder of the tars, and their names."""
    places = []
    for pattern in tars:
        expanded = expand_pattern(os.path.expanduser(pattern))
        if not expanded:
            raise UserError(f"found {pattern}, whose range is empty; count upwards")
        for tar in expanded:
            place = check_url(tar) if is_url(tar) else os.path.abspath(tar)
            places.append(os.path.split(place))
    first_base = places[0][0]
    for base, name in places:
        if base != first_base:
            raise UserError(f"found tars in {first_base} and {base}; index each folder apart")
        if not re.fullmatch(SHARD_NAME, name):
            allowed = "NAME.tar of letters, digits, _, - and ., not compressed"
            raise UserError(f"found {name}, allowed: {allowed}; gunzip or rename it")
    return first_base, list(dict.fromkeys(name for _, name in places))


def _check_samples(
    samples: Iterator[_TarSample], field_specs: FieldSpecs, contents: _Contents
) -> int:
    """Check samples, enter them into `contents`, and return their number."""

    def check(sample: _TarSample) -> tuple[_TarSample, CheckedSample]:
        return sample, check_sample(
            sample.files, field_specs, contents.notes, contents.value_counts
        )

    count = 0
    for sample, checked in map_in_order(check, samples):
        contents.add(sample, checked)
        count += 1
    return count


def _samples(
    path: Path, place: str, fields: Extensions, shard_of: dict[str, str]
) -> Iterator[_TarSample]:
    """Yield a tar's samples, whose keys are entered in `shard_of`."""
    check_not_special(path, "index")
    try:
        with tarfile.open(path, "r:") as tar:
            for key, group in groupby(_entries(tar, place), lambda entry: entry.key):
                if key in shard_of:
                    twice = f"sample {printable(key)} comes twice (also in {shard_of[key]})"
                    raise UserError(
                        f"{place}: {twice}, or its files don't follow one another; repack the tars"
                    )
                shard_of[key] = place.rpartition("/")[2]
                entries = list(group)
                files = {}
                for name, extensions in fields.items():
                    header = _choose_file(entries, name, extensions, place)
                    content = tar.extractfile(header)
                    assert content is not None  # a regular file
                    files[name] = _File(
                        f"{place}: {printable(header.name)}", header.offset_data, content.read()
                    )
                yield _TarSample(key, files)
            _check_end(path, tar.offset)
    except tarfile.TarError as error:
        raise UserError(
            f"{place} is no whole, uncompressed tar ({error}); gunzip it or copy it again"
        ) from None


def _choose_file(
    entries: Sequence[_Entry], field_name: str, extensions: Sequence[str], place: str
) -> tarfile.TarInfo:
    """Return a field's file of a sample. Raises UserError unless exactly one has an extension."""
    fitting = [entry.header for entry in entries if entry.extension in extensions]
    if len(fitting) == 1:
        return fitting[0]
    count = "two files" if fitting else f"no {' or '.join(extensions)}"
    present = printable(", ".join(entry.extension for entry in entries))
    advice = "its files must follow one another, and its key ends at the first dot"
    raise UserError(
        f"{place}: sample {printable(entries[0].key)} has {count} for {field_name}, but {present};"
        f" {advice}"
    )


def _check_end(path: Path, offset: int) -> None:
    """Raises TarError unless whole blocks of zeros follow the last file, as they end a tar."""
    with path.open("rb") as file:
        file.seek(offset)
        tail = file.read(_TAIL_BYTES)
    if any(tail):
        raise tarfile.ReadError("more after its end")
    if not tail or len(tail) % tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")


def _entries(tar: tarfile.TarFile, place: str) -> Iterator[_Entry]:
    """Yield each file that WebDataset would see."""
    from webdataset.tariterators import base_plus_ext  # imports torch, over a second

    for header in tar:
        key, extension = base_plus_ext(header.name)
        if key is None or header.isdir():
            continue
        if not header.isreg() or header.issparse():
            raise UserError(
                f"{place}: {printable(header.name)} is a link, sparse or special; repack the tar"
            )
        yield _Entry(key, extension.lower(), header)
