"""`gantrain index`: WebDataset tars of others as a data set, left where they lie."""

import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from gantrain.core.files import write_bytes
from gantrain.core.paths import check_not_special
from gantrain.core.printable import printable
from gantrain.data.conversion_notes import summarise
from gantrain.data.index import NAME, PARTS, SHARD_NAME, Shard, save
from gantrain.data.open_dataset import expand
from gantrain.data.prepare.check import (
    CheckedSample,
    check_sample,
    conversions,
    describe_fields,
    map_in_order,
)
from gantrain.data.prepare.hints import as_note, note_gaps
from gantrain.data.prepare.layouts import FieldSpec
from gantrain.data.prepare.left_out import check_left_out
from gantrain.data.prepare.pack import Report, asked
from gantrain.data.remote import FetchFailed, fetch
from gantrain.data.shard_writer import atomic_folder
from gantrain.data.urls import check_url, is_url

Extensions = Mapping[str, Sequence[str]]  # by field


class _File(NamedTuple):
    """A file in a tar, with what `look` asks of files."""

    name: str
    offset: int
    content: bytes

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        return self.content


def index_tars(
    tars: Sequence[str],
    out: Path,
    fields: Extensions,
    *,
    labels: Collection[str] = (),
    classes: int | None = None,
    ignore: int | None = None,
    max_left_out: float = 0.5,
) -> Report:
    """Write the index of `tars` (paths, URLs, patterns; all in one folder) as the folder `out`.

    labels, classes, ignore, max_left_out, and the samples that are left out: as in `prepare`.
    Raises ValueError, in one line, for what a data set can't be: compressed or interleaved tars,
    links, keys that come twice."""
    out = out.expanduser().absolute()
    if wrong := [field for field in fields if not re.fullmatch(NAME, field)]:
        raise ValueError(f"--field: found {wrong[0]!r}, allowed: letters, digits, _ and -")
    base, names = _places(tars)
    parts = asked({field: FieldSpec(field) for field in fields}, labels, classes, ignore, None)
    shard_of: dict[str, str] = {}  # names by key
    looks, told = dict[str, CheckedSample](), dict[str, Any]()
    notes: list[str] = []
    rows: dict[str, dict[str, int]] = {f"{field}_{part}": {} for field in fields for part in PARTS}
    sizes: dict[str, int] = {}
    try:
        with atomic_folder(out) as partial:
            for name in names:
                path, place, before = Path(base, name), f"{base}/{name}", len(looks)
                if is_url(base):
                    fetch(place, path := partial / "fetched.tar")
                found = _samples(path, place, fields, shard_of)
                for key, files, looked in map_in_order(
                    lambda sample: (*sample, check_sample(sample[1], parts, notes)), found
                ):
                    looks[key], told[key] = (
                        looked,
                        {field: file.name for field, file in files.items()},
                    )
                    for field, file in files.items():
                        numbers = {
                            "offset": file.offset,
                            "size": len(file.content),
                            "crc": zlib.crc32(file.content),
                        }
                        for part, number in numbers.items():
                            rows[f"{field}_{part}"][key] = number
                if len(looks) == before:
                    raise ValueError(f"{place} holds no samples (files KEY.EXTENSION)")
                sizes[name] = path.stat().st_size
            (partial / "fetched.tar").unlink(missing_ok=True)
            good, bad, described = describe_fields(told, looks, parts)
            check_left_out(base, looks, good, list(fields), limit=max_left_out)
            converted = summarise([*conversions(looks, good, described), *sorted(notes)])
            all_notes = [as_note(line) for line in converted] + note_gaps(described)
            report = Report(out, "webdataset", len(good), described, [], bad, all_notes)
            lines = "\n".join([*report.lines(None), ""])
            write_bytes(partial / "report.txt", lines.encode(errors="surrogateescape"))
            counts = Counter(shard_of[key] for key in good)
            shards = [
                Shard(name=name, bytes=sizes[name], samples=counts[name])
                for name in names
                if counts[name]
            ]
            kept = {name: [row[key] for key in good] for name, row in rows.items()}
            save(partial, described, shards, good, kept, base)
    except FetchFailed as error:
        raise ValueError(str(error)) from None
    except OSError as error:
        raise ValueError(f"{error.filename or out}: {error.strerror}") from None
    return report


def _places(tars: Sequence[str]) -> tuple[str, list[str]]:
    """The folder of the tars, and their names."""
    places = []
    for pattern in tars:
        expanded = expand(os.path.expanduser(pattern))
        if not expanded:
            raise ValueError(f"found {pattern}, whose range is empty; count upwards")
        places += [
            os.path.split(check_url(f) if is_url(f) else os.path.abspath(f)) for f in expanded
        ]
    for base, name in places:
        if base != places[0][0]:
            raise ValueError(f"found tars in {places[0][0]} and {base}; index each folder apart")
        if not re.fullmatch(SHARD_NAME, name):
            allowed = "NAME.tar of letters, digits, _, - and ., not compressed"
            raise ValueError(f"found {name}, allowed: {allowed}; gunzip or rename it")
    return places[0][0], list(dict.fromkeys(name for _, name in places))


def _samples(
    path: Path, place: str, fields: Extensions, shard_of: dict[str, str]
) -> Iterator[tuple[str, dict[str, _File]]]:
    """Keys and files (by field) of a tar's samples, which are entered in `shard_of`."""
    check_not_special(path, "index")
    try:
        with tarfile.open(path, "r:") as tar:
            for key, group in groupby(_entries(tar, place), lambda entry: entry[0]):
                if key in shard_of:
                    twice = f"sample {printable(key)} comes twice (also in {shard_of[key]})"
                    raise ValueError(
                        f"{place}: {twice}, or its files don't follow one another; repack the tars"
                    )
                shard_of[key] = place.rpartition("/")[2]
                entries, files = list(group), {}
                for field, known in fields.items():
                    fitting = [entry for _, extension, entry in entries if extension in known]
                    if len(fitting) != 1:
                        found = "two files" if fitting else f"no {' or '.join(known)}"
                        there = printable(", ".join(extension for _, extension, _ in entries))
                        why = "its files must follow one another, and its key ends at the first dot"
                        raise ValueError(
                            f"{place}: sample {printable(key)} has {found} for {field}, but"
                            f" {there}; {why}"
                        )
                    content = cast(IO[bytes], tar.extractfile(fitting[0])).read()
                    files[field] = _File(
                        f"{place}: {printable(fitting[0].name)}", fitting[0].offset_data, content
                    )
                yield key, files
            with path.open("rb") as file:
                file.seek(tar.offset)
                if not (rest := file.read(1 << 20)) or len(rest) % tarfile.BLOCKSIZE or any(rest):
                    raise tarfile.ReadError(
                        "more after its end" if any(rest) else "unexpected end of data"
                    )
    except tarfile.TarError as error:
        raise ValueError(
            f"{place} is no whole, uncompressed tar ({error}); gunzip it or copy it again"
        ) from None


def _entries(tar: tarfile.TarFile, place: str) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, extension and header of each file that WebDataset would see."""
    from webdataset.tariterators import base_plus_ext  # imports torch, over a second

    for entry in tar:
        key, extension = base_plus_ext(entry.name)
        if key is None or entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise ValueError(
                f"{place}: {printable(entry.name)} is a link, sparse or special; repack the tar"
            )
        yield key, extension.lower(), entry
