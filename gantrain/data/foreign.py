"""`gantrain index`: WebDataset tars of others as a data set, left where they lie."""

import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, cast

from gantrain.data.index import NAME, PARTS, SHARD, Shard, save
from gantrain.data.prepare import asked
from gantrain.data.prepare.check import Fields, agree, in_order, look
from gantrain.data.prepare.layouts import Files, Part
from gantrain.data.prepare.report import Report
from gantrain.data.remote import FetchFailed, check_url, fetch, is_url
from gantrain.data.sets import expand
from gantrain.data.shard_writer import appearing

Extensions = Mapping[str, Sequence[str]]  # by field


@dataclass
class _Member:
    """A file in a tar, with what `check` asks of files; the content is dropped after that."""

    name: str
    shard: int
    offset: int
    content: bytes

    def __post_init__(self) -> None:
        self.size, self.crc = len(self.content), zlib.crc32(self.content)

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        return self.content


_Members = dict[str, _Member]  # of one sample, by field


def index_tars(
    tars: Sequence[str], out: Path, fields: Extensions, *, labels: Collection[str] = (), classes: int | None = None
) -> Report:
    """Write the index of `tars` (paths, URLs, patterns; all in one folder) as the folder `out`.

    labels, classes, and the samples that are left out: as in `prepare`. Raises ValueError, in one
    line, for what a data set can't be: compressed or interleaved tars, links, keys that come twice.
    """
    out = out.expanduser().absolute()
    if wrong := [field for field in fields if not NAME.fullmatch(field)]:
        raise ValueError(f"--field: found {wrong[0]!r}, allowed: letters, digits, _ and -")
    base, names = _places(tars)
    parts = asked({field: Part(field) for field in fields}, labels, classes)
    try:
        with appearing(out) as partial:
            members: dict[str, _Members] = {}
            looks: dict[str, Fields | ValueError] = {}
            fetched, sizes = partial / "fetched.tar", list[int]()
            found = _samples(base, names, fields, fetched, sizes)
            for key, files, looked in in_order(lambda s: (*s, look(cast(Files, s[1]), parts)), found):
                for member in files.values() if members else ():
                    member.content = b""  # but the first sample's, whose palette is taken
                members[key], looks[key] = files, looked
            good, bad, described = agree(looks, cast(dict[str, Files], members), parts)
            report = Report(out, "webdataset", len(good), described, [], bad)
            fetched.unlink(missing_ok=True)
            (partial / "report.txt").write_bytes(report.whole())
            kept = [members[key] for key in good]
            counts = Counter(next(iter(files.values())).shard for files in kept)
            shards = [Shard(name=names[i], bytes=sizes[i], samples=counts[i]) for i in sorted(counts)]
            rows = {f"{f}_{part}": [getattr(files[f], part) for files in kept] for f in fields for part in PARTS}
            save(partial, described, shards, good, rows, base)
    except FetchFailed as error:
        raise ValueError(str(error)) from None
    except OSError as error:
        raise ValueError(f"{error.filename or out}: {error.strerror}") from None
    return report


def _places(tars: Sequence[str]) -> tuple[str, list[str]]:
    """The folder of the tars, and their names."""
    files = [name for pattern in tars for name in expand(os.path.expanduser(pattern))]
    places = [os.path.split(check_url(f) if is_url(f) else os.path.abspath(f)) for f in files]
    for base, name in places:
        if base != places[0][0]:
            raise ValueError(f"found tars in {places[0][0]} and {base}; index each folder apart")
        if not SHARD.fullmatch(name):
            allowed = "NAME.tar of letters, digits, _, - and ., not compressed"
            raise ValueError(f"found {name}, allowed: {allowed}; gunzip or rename it")
    return places[0][0], [name for _, name in places]


def _samples(
    base: str, names: list[str], fields: Extensions, fetched: Path, sizes: list[int]
) -> Iterator[tuple[str, _Members]]:
    """All samples in the tars' order; each tar's length goes into `sizes`."""
    seen: dict[str, str] = {}
    for shard, name in enumerate(names):
        place, path, before = f"{base}/{name}", Path(base, name), len(seen)
        if is_url(base):
            fetch(place, path := fetched)
        try:
            with tarfile.open(path, "r:") as tar:
                for key, group in groupby(_entries(tar, place), lambda entry: entry[0]):
                    if key in seen:
                        twice = f"sample {key} comes twice (also in {seen[key]})"
                        raise ValueError(f"{place}: {twice}, or its files don't follow one another; repack the tars")
                    seen[key] = name
                    entries, files = list(group), _Members()
                    for field, known in fields.items():
                        fitting = [entry for _, extension, entry in entries if extension in known]
                        if not fitting:
                            raise ValueError(f"{place}: sample {key} has no {' or '.join(known)} for {field}")
                        if len(fitting) > 1:
                            raise ValueError(f"{place}: {key} has two files for {field}")
                        content = cast(IO[bytes], tar.extractfile(fitting[0])).read()
                        told = f"{place}: {fitting[0].name}"
                        files[field] = _Member(told, shard, fitting[0].offset_data, content)
                    yield key, files
            sizes.append(path.stat().st_size)
            if sizes[-1] % tarfile.BLOCKSIZE:
                raise tarfile.ReadError("unexpected end of data")
        except tarfile.TarError as error:
            raise ValueError(f"{place} is no whole, uncompressed tar ({error}); gunzip it or copy it again") from None
        if len(seen) == before:
            raise ValueError(f"{place} holds no samples (files KEY.EXTENSION)")


def _entries(tar: tarfile.TarFile, place: str) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, extension and header of each file that WebDataset would see."""
    from webdataset.tariterators import base_plus_ext  # imports torch, over a second

    for entry in tar:
        key, extension = base_plus_ext(entry.name)
        if key is None or entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise ValueError(f"{place}: {entry.name} is a link, sparse or special; repack the tar")
        yield key, extension.lower(), entry
