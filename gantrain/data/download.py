"""`gantrain download`: pix2pix's and CycleGAN's archives, fetched and unpacked where the recipes
look for them.
"""

import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial as bound
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from gantrain.core.console import say
from gantrain.core.files import atomic_folder
from gantrain.core.paths import check_not_special
from gantrain.core.weight_files import reason
from gantrain.data.opener import guarded
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.remote import STALL_SECONDS, FetchFailed, with_retries
from gantrain.data.web import BadStatus, Incomplete, paced

# URLs as datasets/download_pix2pix_dataset.sh and download_cyclegan_dataset.sh of
# pytorch-CycleGAN-and-pix2pix have them. What is known of the terms is on this page, also where the
# images come from.
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
# Photographs hardly shrink in an archive, and the largest of these has some 10 GB in 140,000 files:
# what claims to hold much more is broken, or made to fill a disk.
_MOST_TIMES, _MOST_BYTES, _MOST_FILES = 50, 64 << 30, 500_000
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
    """Make the folder `out/name` of that set's archive, which is fetched, or is the file `source`;
    returns the folder.

    What is known of the terms is told first. A fetch that broke off goes on where it was. Raises
    ValueError, in one line; then nothing is left but the archive, or NAME.part with what has come
    of it."""
    if name not in URLS:
        advice = (
            f"; {HOW_TO[name].format(out=out / name / 'train', split='train')}"
            if name in HOW_TO
            else ""
        )
        raise ValueError(f"download: found {name!r}, allowed: {', '.join(URLS)}{advice}")
    url, target = URLS[name], (out / name).expanduser().absolute()
    came = f"its images come from {_ORIGINS[name]}; " if _ORIGINS[name] else ""
    say(f"{name}: {came}please cite the papers of those who collected them; terms: see {_PAGE}")
    archive = source.expanduser() if source else target.parent / url.rpartition("/")[2]
    check_not_special(archive, "--source" if source else "download")
    try:
        with atomic_folder(target) as partial:
            if not source and not archive.is_file():
                say(f"fetching {url} (no checksum of it is published)")
                _fetch(url, part := archive.with_name(f"{archive.name}.part"))
                part.rename(archive)
            _unpack(archive, partial)
            if (partial / name).is_dir():  # their own archives hold a folder of that name
                inside = (partial / name).rename(partial / ".inside")
                for entry in inside.iterdir():
                    entry.rename(partial / entry.name)
                inside.rmdir()
            elif [one for one in URLS if os.listdir(partial) == [one]]:
                raise ValueError(
                    f"{archive}: holds {os.listdir(partial)[0]}; give the archive of {name}"
                )
    except FetchFailed as error:
        raise ValueError(str(error)) from None
    except _UNSOUND as error:
        why = reason(error).partition(":")[0]
        raise ValueError(
            f"{archive} is damaged, or no archive ({why}); remove it and get it again"
        ) from None
    except OSError as error:
        advice = "; give an archive's file" if source else ""
        raise ValueError(
            f"{error.filename or archive}: {error.strerror or error}{advice}"
        ) from None
    if not source:
        archive.unlink()
    say(f"unpacked in {target}")
    return target


def _fetch(url: str, part: Path) -> None:
    """Go on from what `part` holds, or from the start where the server knows no ranges. Raises
    FetchFailed.
    """
    console = Console(stderr=True)
    columns = (
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(url.rpartition("/")[2], total=None)

        def receive() -> None:
            there = part.stat().st_size if part.exists() else 0
            response = _ask(url, part, there)
            if response is None:
                return
            goes_on = response.status == 206
            with response, part.open("ab" if goes_on else "wb") as file:
                total = file.tell() + response.length if response.length else None
                if goes_on:
                    served = re.match(
                        r"bytes (\d+)-\d+/(\d+|\*)$", str(response.headers["Content-Range"])
                    )
                    if not served or int(served[1]) != there:
                        file.truncate(0)
                        raise Incomplete(f"not what comes after {there} bytes")
                    if served[2] != "*":  # a part may end before the file does
                        total = int(served[2])
                for chunk in paced(response.read1, _MOST_BYTES - file.tell()):
                    file.write(chunk)
                    bar.update(task, completed=file.tell(), total=total)
                if total and file.tell() < total:
                    raise Incomplete(f"{file.tell()} of {total} bytes")

        with_retries(receive, url, part.parent)


def _ask(url: str, part: Path, there: int) -> Any:
    """The answer with what follows the first `there` bytes, or None where `part` is whole."""
    # An archive stays as it comes, whatever encoding the server states: it is unpacked with care.
    headers = {"Range": f"bytes={there}-", "Accept-Encoding": "identity"}
    try:
        response = guarded(url, STALL_SECONDS).open(
            Request(url, headers=headers), timeout=STALL_SECONDS
        )
    except HTTPError as error:
        if error.code == 416:  # nothing lies beyond: `part` is whole, or another file's
            if error.headers["Content-Range"] == f"bytes */{there}":
                return None
            part.unlink(missing_ok=True)
        if error.code in (404, 410):
            raise FileNotFoundError from None
        raise
    except URLError as error:
        raise error.reason if isinstance(error.reason, Exception) else error from None
    if response.status not in (200, 206):
        raise BadStatus(response.status)
    return response


def _unpack(archive: Path, folder: Path) -> None:
    """Into `folder`; raises ValueError for what no archive of images has, _UNSOUND for what is
    none.
    """
    most, total = min(_MOST_TIMES * archive.stat().st_size, _MOST_BYTES), 0
    for number, (name, size, is_plain, extract) in enumerate(_entries(archive), 1):
        path, total = PurePosixPath(name), total + size
        if not is_plain or path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{archive}: {name!r} is a link, a device, or leads out of it; get another archive"
            )
        if total > most or number > _MOST_FILES:
            raise ValueError(
                f"{archive}: holds more than {most:,} bytes or {_MOST_FILES:,} files; get another"
                " archive"
            )
        extract(folder)
    if not total:
        raise ValueError(f"{archive}: holds no images; get another archive")


def _entries(archive: Path) -> Iterator[tuple[str, int, bool, Callable[[Path], object]]]:
    """Of each: its name, its bytes, whether it is a file or folder and nothing else, and what
    unpacks it.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                is_plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                yield info.filename, info.file_size, is_plain, bound(zipped.extract, info)
        return
    # Python 3.11.4 brought the filters; without, what is checked above has to do.
    options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        for entry in tar:
            is_plain = entry.isdir() or (entry.isreg() and not entry.issparse())
            yield entry.name, entry.size, is_plain, bound(tar.extract, entry, **options)
        # tarfile ends at a header that is broken as if it were the last; reading to the end checks
        # gzip's sum, too.
        assert tar.fileobj
        while rest := tar.fileobj.read(1 << 20):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a header in it is broken")
