"""`gantrain download`: fetched, unpacked with care, or nothing left."""

import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faulty_server import Server, cut, elsewhere, error_500, not_found, refuse, serving
from typer.testing import CliRunner

from gantrain.cli.app import app
from gantrain.core.world import World
from gantrain.data import download, remote
from gantrain.data.decode import encode
from gantrain.recipe import schema
from gantrain.training.setup import RunSetup

NOISE = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
PAIR, SINGLE = encode(NOISE, "png"), encode(NOISE[:, :32], "png")
FACADES = {f"facades/{split}/{i}.png": PAIR for split in ("train", "val") for i in range(3)}
HORSES = {
    f"horse2zebra/{split}{side}/{i}.png": SINGLE
    for split in ("train", "test")
    for side in "AB"
    for i in range(2)
}


def tarred(files: dict[str, bytes], path: Path, *others: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in others:
            tar.addfile(entry)


def zipped(files: dict[str, bytes], path: Path, *others: zipfile.ZipInfo) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for entry in others:
            archive.writestr(entry, b"/etc/passwd")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.001)
    (tmp_path / "there").mkdir()
    tarred(FACADES, tmp_path / "there" / "facades.tar.gz")
    zipped(HORSES, tmp_path / "there" / "horse2zebra.zip")
    with serving(tmp_path / "there") as server:
        for name in ("facades.tar.gz", "horse2zebra.zip"):
            monkeypatch.setitem(download.URLS, name.partition(".")[0], f"{server.url}/{name}")
        yield server


def command(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["download", *words])
    assert done.exit_code == status, done.output
    if status:
        assert (
            len([line for line in done.output.splitlines() if line.startswith("gantrain: ")]) == 1
        )
        assert "Traceback" not in done.output
    return done.output


def inside(folder: str) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in Path(folder).rglob("*") if f.is_file()
    }


@pytest.mark.parametrize(("name", "files"), [("facades", FACADES), ("horse2zebra", HORSES)])
def test_what_is_fetched_is_where_the_recipe_looks(
    name: str, files: dict[str, bytes], server: Server
) -> None:
    said = command(name)
    assert said.index("terms: see https://github.com/junyanz/") < said.index(
        f"fetching {server.url}/{name}"
    )
    assert inside("data") == files
    assert os.listdir("data") == [name]
    small = ("data.size=[32,32]", "data.resize=null", "device=cpu")
    assert len(RunSetup(schema.load(name, small), World("cpu")).data.train) == (
        3 if name == "facades" else 2
    )
    assert "data/" + name + " exists and is never overwritten" in command(name, status=2)
    assert inside("data") == files


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_cut_connection_goes_on_or_begins_again(knows_ranges: bool, server: Server) -> None:
    server.knows_ranges, server.faults = knows_ranges, {"facades.tar.gz": [cut, error_500, refuse]}
    command("facades")
    half = Path("there/facades.tar.gz").stat().st_size // 2
    assert server.asked[:2] == ["bytes=0-", f"bytes={half}-"]
    assert inside("data") == FACADES


def test_the_next_command_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    server.knows_ranges, server.faults = True, {"facades.tar.gz": [cut]}
    whole = Path("there/facades.tar.gz").read_bytes()
    said = command("facades", status=2)
    assert (
        f"(tries: 1, the last: {len(whole) // 2} of {len(whole)} bytes); when it can be had, go on with"
        in said
    )
    assert inside("data") == {"facades.tar.gz.part": whole[: len(whole) // 2]}
    command("facades")
    assert server.asked == ["bytes=0-", f"bytes={len(whole) // 2}-"]
    assert inside("data") == FACADES


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_what_came_before_is_whole_or_another_files(extra: bytes, server: Server) -> None:
    server.knows_ranges = True
    Path("data").mkdir()
    Path("data/facades.tar.gz.part").write_bytes(Path("there/facades.tar.gz").read_bytes() + extra)
    command("facades")
    assert inside("data") == FACADES
    assert len(server.asked) == (2 if extra else 1)


def test_a_range_that_was_not_asked_for_is_not_appended(server: Server) -> None:
    server.knows_ranges, server.faults = True, {"facades.tar.gz": [elsewhere]}
    Path("data").mkdir()
    Path("data/facades.tar.gz.part").write_bytes(Path("there/facades.tar.gz").read_bytes()[:100])
    command("facades")
    assert server.asked == ["bytes=100-", "bytes=0-"]
    assert inside("data") == FACADES


def test_a_file_that_is_not_there_is_told_at_once(server: Server) -> None:
    server.faults = {"facades.tar.gz": [not_found]}
    assert "facades.tar.gz cannot be fetched (tries: 1, the last: it is not there)" in command(
        "facades", status=2
    )
    assert inside("data") == {}


def test_names(server: Server) -> None:
    assert "found 'faces', allowed: facades, maps, edges2shoes" in command("faces", status=2)
    assert "registration and licence: https://www.cityscapes-dataset.com/" in command(
        "cityscapes", status=2
    )
    assert not Path("data").exists()
    assert all(
        name in download.URLS
        for name in ("facades", "maps", "edges2shoes", "horse2zebra", "monet2photo")
    )


@pytest.mark.parametrize("top", ["facades/", ""])
def test_an_archive_on_the_disk(top: str) -> None:
    zipped(
        {name.replace("facades/", top): content for name, content in FACADES.items()},
        Path("own.zip"),
    )
    command("facades", "--source", "own.zip", "--out", "sets")
    assert inside("sets") == FACADES
    assert Path("own.zip").is_file()
    assert "none.zip: No such file" in command(
        "maps", "--source", "none.zip", "--out", "sets", status=2
    )


def entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def link_in_zip() -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("facades/link")
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return made


def broken_header(path: Path) -> bytes:
    """A tar whose fourth file has a header of noise."""
    tarred(FACADES, path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    with tarfile.open(path) as tar:
        start = tar.getmembers()[3].offset
    content[start : start + 512] = b"?" * 512
    return bytes(content)


HOSTILE = {
    "tar up": lambda path: tarred({"../up.png": PAIR}, path),
    "tar absolute": lambda path: tarred({f"{path.parent}/up.png": PAIR}, path),
    "tar symlink": lambda path: tarred(
        FACADES, path, entry("facades/link", tarfile.SYMTYPE, "/etc/passwd")
    ),
    "tar hard link": lambda path: tarred(
        FACADES, path, entry("facades/link", tarfile.LNKTYPE, "facades/val/0.png")
    ),
    "tar device": lambda path: tarred({}, path, entry("facades/zero", tarfile.CHRTYPE)),
    "tar bomb": lambda path: tarred({"facades/train/0.png": bytes(10**7)}, path),
    "zip up": lambda path: zipped({"facades/../../up.png": PAIR}, path),
    "zip absolute": lambda path: zipped({f"{path.parent}/up.png": PAIR}, path),
    "zip symlink": lambda path: zipped(FACADES, path, link_in_zip()),
    "zip bomb": lambda path: zipped(
        {f"facades/train/{i}.png": bytes(10**6) for i in range(9)}, path
    ),
    "cut tar": lambda path: (tarred(FACADES, path), os.truncate(path, path.stat().st_size // 2)),
    "cut zip": lambda path: (zipped(FACADES, path), os.truncate(path, path.stat().st_size // 2)),
    "damaged header": lambda path: path.write_bytes(gzip.compress(broken_header(path))),
    "damaged sum": lambda path: (
        tarred(FACADES, path),
        path.write_bytes(path.read_bytes()[:-8] + bytes(8)),
    ),
    "damaged xz": lambda path: path.write_bytes(lzma.compress(b"facades")[:-9] + bytes(9)),
    "empty tar": lambda path: tarred({}, path),
    "another set": lambda path: zipped(HORSES, path),
    "text": lambda path: path.write_text("<html>moved"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_broken_archives_leave_nothing(name: str) -> None:
    HOSTILE[name](Path.cwd() / "archive")
    said = command("facades", "--source", "archive", status=2)
    assert ("is damaged, or no archive" in said) == name.startswith(("cut", "damaged", "text"))
    assert ("holds more than" in said) == ("bomb" in name)
    assert (
        "get another archive" in said
        or "get it again" in said
        or "holds horse2zebra; give the archive" in said
    )
    assert sorted(os.listdir()) == ["archive", "data"]
    assert os.listdir("data") == []


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_MOST_FILES", 5)
    zipped(FACADES, Path("archive"))
    assert "bytes or 5 files; get another archive" in command(
        "facades", "--source", "archive", status=2
    )
