"""The data of `dataloading.py`: one set of pairs in each format, packed and loose.

The module also serves the files over HTTP, and drops them from the page cache.
"""

import argparse
import contextlib
import ctypes
import mmap
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from gantrain.data import synthetic
from gantrain.data.decode import decode, encode
from gantrain.data.prepare.pack import prepare
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import Shards

FORMATS = ("jpg", "png", "png16")
SHARDS = 8  # At least as many as workers, since webdataset distributes whole shards.


def gather(args: argparse.Namespace, folder: Path, form: str) -> None:
    """Write the pairs of --images or --shards, or synthetic ones, as single files.

    JPEG files stay as they are. Other formats are encoded anew.
    """
    folder.mkdir()
    if args.images:
        found = sorted(f for f in args.images.iterdir() if f.is_file())[: args.samples]
        given = [(file.suffix.lower()[1:], file.read_bytes()) for file in found]
    elif args.shards:
        given = [("jpg", data) for data in unpacked(Shards.open(args.shards), args.samples)]
    else:
        given = [
            ("jpg", encode(pair, "jpg")) for pair in drawn(args.samples, args.size)
        ]  # quality 95
    for i, (extension, data) in enumerate(given):
        if form != "jpg":
            array = decode(data)
            if form == "png16":  # Grey, since Pillow has no colours of 16 bits.
                array = (array.sum(axis=2, keepdims=True) * (65535 / 255 / array.shape[2])).astype(
                    np.uint16
                )
            extension, data = "png", encode(array, "png")
        (folder / f"{i:06d}.{extension}").write_bytes(data)


def drawn(samples: int, size: int) -> Iterator[np.ndarray]:
    colours = np.array(synthetic.PALETTE, np.uint8)
    for i in range(samples):
        ids, photograph, _ = synthetic.draw(i, size, size, seed=0)
        yield np.concatenate([photograph, colours[ids]], axis=1)


def unpacked(shards: Shards, most: int) -> Iterator[bytes]:
    """Yield the files of the shards, byte for byte."""
    if set(shards.fields) != {"left", "right"} or len(shards.index.members) != 1:
        raise ValueError(
            f"{shards.folder}: found {', '.join(shards.fields)}, needed: left and right, the halves"
            " of side-by-side images"
        )
    for i in range(min(most, len(shards))):
        yield shards.read(i, shards.index.members[0])


def pack(given: Path, folder: Path, resize: tuple[int, int] | None) -> Shards:
    """Make `folder`/shards and `folder`/files with the same bytes.

    Files that cannot be decoded are in neither.
    """
    prepare(given, folder / "one", layout="pairs", resize=resize, progress=False)
    one = Shards.open(folder / "one")
    (folder / "files").mkdir()
    extension = next(given.iterdir()).suffix[1:]
    packed = []
    for i, data in enumerate(unpacked(one, len(one))):
        (folder / "files" / f"{i:06d}.{extension}").write_bytes(data)
        packed.append(PackedSample(f"{i:06d}", {"pair": (extension, data)}))
    write_shards(packed, folder / "shards", one.fields, shard_samples=-(-len(one) // SHARDS))
    shutil.rmtree(folder / "one")
    return Shards.open(folder / "shards")


def drop(folders: Iterable[Path]) -> None:
    """Drop the files from the system's page cache. A cache of remote shards is removed."""
    for folder in folders:
        if (folder / "shards").is_dir() and not (folder / "files").is_dir():
            shutil.rmtree(folder / "shards")
        for file in (f for f in folder.rglob("*") if f.is_file()):
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)  # The system does not drop what is not on the disk yet.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def cached_share(folder: Path) -> float:
    """Return the fraction of a folder's files that is in the page cache, 0 to 1 (Linux)."""
    libc, found = ctypes.CDLL(None, use_errno=True), []
    for file in (f for f in folder.rglob("*") if f.is_file() and f.stat().st_size):
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
            start = (ctypes.c_char * len(mapped)).from_buffer(mapped)
            if libc.mincore(
                ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped)), pages
            ):
                raise OSError(ctypes.get_errno(), "mincore")
            del start  # The map cannot be closed before.
            found += [page & 1 for page in pages]
    return sum(found) / len(found)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the folder's files by a process on this machine, and return the URL."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--protocol",
        "HTTP/1.1",
    ]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([*command, "--directory", str(folder)], **quiet) as server:
        try:
            assert server.stdout
            port = re.search(r"port (\d+)", server.stdout.readline())
            assert port, "python -m http.server says no port"
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            server.terminate()
