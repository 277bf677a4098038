"""`gantrain download`: fetch pix2pix's and CycleGAN's archives, and unpack them for the recipes."""

import functools
import gzip
import http
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.files import atomic_folder
from gantrain.core.paths import check_not_special
from gantrain.core.weight_files import reason
from gantrain.data.opener import guarded
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.remote import STALL_SECONDS, FetchFailed, with_retries
from gantrain.data.web import BadStatus, Incomplete, paced

# The URLs are those of datasets/download_pix2pix_dataset.sh and download_cyclegan_dataset.sh of
# pytorch-CycleGAN-and-pix2pix. This page states the known terms, and where the images come from.
_PAGE = "https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/blob/master/docs/datasets.md"
_PIX2PIX = {
    "facades": "CMP Facades, http://cmp.felk.cvut.cz/~tylecr1/facade",
    "maps": "Google Maps",
    "edges2shoes": "UT Zappos50K, http://vision.cs.utexas.edu/projects/finegrained/utzap50k",
    "edges2handbags": "Amazon, by way of https://github.com/junyanz/iGAN",
    "night2day": "",
}
_CYCLEGAN = {
    **dict.fromkeys(("horse2zebra", "apple2orange"), "ImageNet, http://www.image-net.org"),
    **dict.fromkeys(("summer2winter_yosemite", "iphone2dslr_flower"), "Flickr"),
    **{
        f"{painter}2photo": "Wikiart and Flickr"
        for painter in ("monet", "cezanne", "ukiyoe", "vangogh")
    },
    "ae_photos": "",
}
_ORIGINS = _PIX2PIX | _CYCLEGAN
URLS = {
    **{
        name: f"http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/{name}.tar.gz"
        for name in _PIX2PIX
    },
    **{
        name: f"http://efrosgans.eecs.berkeley.edu/cyclegan/datasets/{name}.zip"
        for name in _CYCLEGAN
    },
}
# Photographs hardly shrink in an archive, and the largest of these has some 10 GB in 140,000 files.
# An archive that claims to hold much more is broken, or made to fill a disk.
_MOST_TIMES = 50
_MOST_BYTES = 64 << 30
_MOST_FILES = 500_000
_CHUNK_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)$")
_UNSOUND = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
)


def download(name: str, out: Path, source: Path | None = None) -> Path:
    """Make the folder `out/name` from a data set's archive, and return the folder.

    The archive is fetched, or is the file `source`. The terms that are known are printed first. A
    fetch that broke off continues where it was. Raises UserError, in one line; nothing is left
    behind then except the archive, or NAME.part with the bytes that have arrived.
    """
    if name not in URLS:
        advice = ""
        if name in HOW_TO:
            advice = f"; {HOW_TO[name].format(out=out / name / 'train', split='train')}"
        raise UserError(f"download: found {name!r}, allowed: {', '.join(URLS)}{advice}")
    url = URLS[name]
    target = (out / name).expanduser().absolute()
    origin = f"its images come from {_ORIGINS[name]}; " if _ORIGINS[name] else ""
    say(f"{name}: {origin}please cite the papers of those who collected them; terms: see {_PAGE}")
    if source:
        archive = source.expanduser()
        check_not_special(archive, "--source")
    else:
        archive = target.parent / url.rpartition("/")[2]
        check_not_special(archive, "download")
    try:
        with atomic_folder(target) as partial:
            if not source and not archive.is_file():
                say(f"fetching {url} (no checksum of it is published)")
                part = archive.with_name(f"{archive.name}.part")
                _fetch(url, part)
                part.rename(archive)
            _unpack(archive, partial)
            _strip_folder(partial, name, archive)
    except FetchFailed as error:
        raise UserError(str(error)) from None
    except _UNSOUND as error:
        detail = reason(error).partition(":")[0]
        raise UserError(
            f"{archive} is damaged, or no archive ({detail}); remove it and get it again"
        ) from None
    except OSError as error:
        advice = "; give an archive's file" if source else ""
        raise UserError(f"{error.filename or archive}: {error.strerror or error}{advice}") from None
    if not source:
        archive.unlink()
    say(f"unpacked in {target}")
    return target


def _strip_folder(unpacked: Path, name: str, archive: Path) -> None:
    """Move the files out of the folder `name`, which the published archives hold.

    Raises UserError for the archive of another data set.
    """
    if (unpacked / name).is_dir():
        inside = (unpacked / name).rename(unpacked / ".inside")
        for entry in inside.iterdir():
            entry.rename(unpacked / entry.name)
        inside.rmdir()
        return
    names = os.listdir(unpacked)
    if len(names) == 1 and names[0] in URLS:
        raise UserError(f"{archive}: holds {names[0]}; give the archive of {name}")


def _fetch(url: str, part: Path) -> None:
    """Fetch what `part` lacks, or all of it where a server knows no ranges. Raises FetchFailed."""
    console = Console(stderr=True)
    columns = (
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    is_hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=is_hidden, transient=True) as bar:
        task = bar.add_task(url.rpartition("/")[2], total=None)

        def receive() -> None:
            present = part.stat().st_size if part.exists() else 0
            response = _ask(url, part, present)
            if response is None:
                return
            continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with response, part.open("ab" if continues else "wb") as file:
                total = file.tell() + response.length if response.length else None
                if continues:
                    total = _check_range(response, present, file) or total
                for chunk in paced(response.read1, _MOST_BYTES - file.tell()):
                    file.write(chunk)
                    bar.update(task, completed=file.tell(), total=total)
                if total and file.tell() < total:
                    raise Incomplete(f"{file.tell()} of {total} bytes")

        with_retries(receive, url, part.parent)


def _check_range(response: HTTPResponse, present: int, file: IO[bytes]) -> int | None:
    """Return the whole file's bytes where the answer states them.

    Raises Incomplete, and empties `file`, where the answer does not follow the `present` bytes.
    """
    content_range = _CONTENT_RANGE.match(str(response.headers["Content-Range"]))
    if not content_range or int(content_range[1]) != present:
        file.truncate(0)
        raise Incomplete(f"not what comes after {present} bytes")
    # A part may end before the file does.
    return None if content_range[2] == "*" else int(content_range[2])


def _ask(url: str, part: Path, present: int) -> HTTPResponse | None:
    """Return the answer with what follows the first `present` bytes, or None if `part` is whole."""
    # An archive stays as it comes, whatever encoding the server states: it is unpacked with care.
    headers = {"Range": f"bytes={present}-", "Accept-Encoding": "identity"}
    request = Request(url, headers=headers)
    try:
        response: HTTPResponse = guarded(url, STALL_SECONDS).open(request, timeout=STALL_SECONDS)
    except HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Nothing lies beyond: `part` is whole, or another file's.
            if error.headers["Content-Range"] == f"bytes */{present}":
                return None
            part.unlink(missing_ok=True)
        if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
            raise FileNotFoundError from None
        raise
    except URLError as error:
        raise error.reason if isinstance(error.reason, Exception) else error from None
    if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        raise BadStatus(response.status)
    return response


class _Entry(NamedTuple):
    """A member of an archive. is_plain: it is a file or folder, and nothing else."""

    name: str
    size: int
    is_plain: bool
    extract: Callable[[Path], object]


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive of images into `folder`.

    Raises UserError for an archive that no images come in, and _UNSOUND for a damaged one.
    """
    most_bytes = min(_MOST_TIMES * archive.stat().st_size, _MOST_BYTES)
    total = 0
    for number, entry in enumerate(_entries(archive), 1):
        path = PurePosixPath(entry.name)
        if not entry.is_plain or path.is_absolute() or ".." in path.parts:
            raise UserError(
                f"{archive}: {entry.name!r} is a link, a device, or leads out of it; get another"
                " archive"
            )
        total += entry.size
        if total > most_bytes or number > _MOST_FILES:
            raise UserError(
                f"{archive}: holds more than {most_bytes:,} bytes or {_MOST_FILES:,} files; get"
                " another archive"
            )
        entry.extract(folder)
    if not total:
        raise UserError(f"{archive}: holds no images; get another archive")


def _entries(archive: Path) -> Iterator[_Entry]:
    """Yield the members of a zip or tar archive, to be unpacked one after another."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                extract = functools.partial(zipped.extract, info)
                yield _Entry(info.filename, info.file_size, is_plain, extract)
        return
    # Python 3.11.4 brought the filters. Without them, the checks above have to do.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        for header in tar:
            is_plain = header.isdir() or (header.isreg() and not header.issparse())
            yield _Entry(
                header.name,
                header.size,
                is_plain,
                functools.partial(tar.extract, header, **options),
            )
        # tarfile takes a broken header for the end of the tar. Reading to the end also checks
        # gzip's sum.
        assert tar.fileobj
        rest = tar.fileobj.read(_CHUNK_BYTES)
        while rest:
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a header in it is broken")
            rest = tar.fileobj.read(_CHUNK_BYTES)
