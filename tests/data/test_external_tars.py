"""`gantrain index`: tars of others, grouped as WebDataset does, left where they lie."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from conftest import SMALL
from faulty_server import serving
from typer.testing import CliRunner

from gantrain import Recipe, train
from gantrain.cli.app import app
from gantrain.data.decode import decode_sample, encode
from gantrain.data.open_dataset import open_set
from gantrain.data.request import DataRequest
from gantrain.data.shards import Shards
from gantrain.data.synthetic import draw
from gantrain.recipe.schema import load

Entry = tuple[str, bytes] | tarfile.TarInfo
FIELDS = ("--field", "target=jpg,jpeg", "--field", "source=seg.png")


def photo(i: int, size: int = 32) -> bytes:
    return encode(draw(i, size, size, 0)[1], "jpg")


def ids(i: int) -> bytes:
    return encode(draw(i, 32, 32, 0)[0], "png")


def tar(path: Path, *entries: Entry, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return path


def sample(i: int, key: str | None = None) -> list[Entry]:
    key = key or f"x{i:03}"
    jpg = ".JPG" if i % 2 else ".jpeg"
    return [(key + ".json", b"{}"), (key + jpg, photo(i)), (key + ".seg.png", ids(i))]


def folder_of_tars(folder: Path) -> Path:
    """Two tars of nine samples, with directories, long names and files without a key."""
    directory = tarfile.TarInfo("train")
    directory.type = tarfile.DIRTYPE
    first = [e for i in range(9) for e in sample(i, "train/" + "long" * 40 + f"{i}")]
    tar(folder / "a-00.tar", ("README", b"hello"), directory, *first)
    second = [entry for i in range(9, 18) for entry in sample(i)]
    tar(folder / "a-01.tar", *second, form=tarfile.GNU_FORMAT)
    return folder


def index(*words: object) -> str:
    done = CliRunner().invoke(app, ["index", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: object) -> str:
    done = CliRunner().invoke(app, ["index", *map(str, words)])
    assert done.exit_code == 2, done.output
    lines = done.output.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("where", ["path", "file", "http"])
def test_tars_of_others_are_a_data_set(tmp_path: Path, where: str) -> None:
    tars = folder_of_tars(tmp_path / "tars")
    with serving(tars) as server:
        base = {"path": str(tars), "file": f"file://{tars}", "http": server.url}[where]
        out = index(base + "/a-{00..01}.tar", "--out", "set", *FIELDS, "--labels", "source")
        assert "18 samples (webdataset)" in out
        assert sorted(p.name for p in Path("set").iterdir()) == [
            "index.json", "index.npz", "report.txt",
        ]  # fmt: skip
        wanted = DataRequest("x", "source", "target", {"source": 10}, (32, 32), None, 1)
        shards = open_set("train", "set", wanted)
        assert shards.place == base
        assert len(shards) == 18
        field = shards.fields["source"]
        assert (field.classes, field.kind, field.min_size) == (10, "label", (32, 32))
        assert sum((field.label_counts or {}).values()) == 18 * 32 * 32
        for i, found in enumerate(webdataset.WebDataset(
            [str(tars / f"a-0{n}.tar") for n in range(2)], shardshuffle=False
        )):  # fmt: skip
            jpg = "jpg" if i % 2 else "jpeg"
            assert shards.key(i) == found["__key__"]
            assert shards.read(i, "target") == found[jpg] == photo(i)
            assert shards.read(i, "source") == found["seg.png"]
            assert np.array_equal(
                decode_sample(shards, i, ["source"])["source"][..., 0], draw(i, 32, 32, 0)[0]
            )
        if where == "http":  # read once for the index, once into the cache
            assert server.requests == {"a-00.tar": 2, "a-01.tar": 2}


def test_it_trains(tmp_path: Path) -> None:
    tars = folder_of_tars(tmp_path / "tars")
    index(tars / "a-{00..01}.tar", "--out", "set", *FIELDS, "--labels", "source")
    recipe = Recipe(
        name="x",
        method=load("quickstart").method,
        data={"train": "set", "source": "source", "target": "target", "labels": {"source": 10}},
    )
    assert train(recipe, *SMALL, "length=16").state == "finished"


def test_samples_of_another_kind_are_left_out_and_named(tmp_path: Path) -> None:
    grey = encode(np.zeros((32, 32), np.uint8), "jpg")
    deep = encode(np.zeros((32, 32), np.uint16), "npy")
    entries = [e for i in range(5) for e in sample(i)]
    entries += [("grey.jpg", grey), ("grey.seg.png", ids(0))]
    entries += [("text.jpg", b"nothing"), ("text.seg.png", ids(0))]
    entries += [("deep.jpg", deep), ("deep.seg.png", ids(0))]
    tar(tmp_path / "a.tar", *entries, *sample(7))
    out = index("a.tar", "--out", "set", *FIELDS)
    assert "7 samples" in out
    assert "target: 1 file in grey: converted to RGB" in out
    assert "2 left out:" in out
    assert "a.tar: deep.jpg: target has 1 channel of uint16, most have 3" in out
    assert "a.tar: text.jpg: does not decode" in out
    shards = Shards.open("set")
    assert [shards.key(i) for i in range(7)] == [
        "x000",
        "x001",
        "x002",
        "x003",
        "x004",
        "grey",
        "x007",
    ]
    assert shards.read(5, "target") == grey
    assert np.array_equal(
        decode_sample(shards, 5, ["target"])["target"], np.zeros((32, 32, 3), np.uint8)
    )
    assert shards.read(6, "target") == photo(7)


def test_ids_beyond_the_classes_are_refused_by_name(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", *sample(0))
    line = refused("a.tar", "--out", "set", *FIELDS, "--labels", "source", "--classes", "4")
    assert "1 file does not hold the ids" in line
    assert "a.tar: x000.seg.png: source holds ids beyond 4 classes: 4, 5" in line


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "x000.jpeg"
    return info


def sparse(folder: Path) -> None:
    """As GNU tar writes a file with a hole."""
    tar(folder / "a.tar", *sample(0))
    content = bytearray((folder / "a.tar").read_bytes())
    info = tarfile.TarInfo("y.jpg")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:398], header[398:410] = b"00000000000\0", b"00000000000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (folder / "a.tar").write_bytes(bytes(header) + content)


def cut(folder: Path, place: Callable[[list[tarfile.TarInfo]], int]) -> None:
    path = tar(folder / "a.tar", *sample(0), *sample(1))
    with tarfile.open(path) as archive:
        length = place(archive.getmembers())
    os.truncate(path, length)


BAD = {
    "interleaved": (
        lambda f: tar(f / "a.tar", ("x.jpg", photo(0)), *sample(1), ("x.seg.png", ids(0))),
        "sample x has no seg.png for source",
    ),
    "interleaved after all": (
        lambda f: tar(f / "a.tar", *sample(0, "x"), *sample(1), ("x.txt", b"")),
        "sample x comes twice (also in a.tar), or its files don't follow one another",
    ),
    "key twice": (
        lambda f: tar(f / "a.tar", *sample(0), *sample(1), *sample(0)),
        "sample x000 comes twice",
    ),
    "two files for a field": (
        lambda f: tar(f / "a.tar", *sample(0), ("x000.jpg", photo(0))),
        "x000 has two files for target",
    ),
    "missing field": (
        lambda f: tar(f / "a.tar", *sample(0), ("y.jpg", photo(0))),
        "sample y has no seg.png for source",
    ),
    "symbolic link": (
        lambda f: tar(f / "a.tar", *sample(0), link("y.jpg", tarfile.SYMTYPE)),
        "y.jpg is a link, sparse or special",
    ),
    "hard link": (
        lambda f: tar(f / "a.tar", *sample(0), link("y.jpg", tarfile.LNKTYPE)),
        "y.jpg is a link, sparse or special",
    ),
    "sparse": (sparse, "y.jpg is a link, sparse or special"),
    "cut short in a file": (
        lambda f: cut(f, lambda entries: entries[-1].offset_data + 10),
        "a.tar is no whole, uncompressed tar (unexpected end of data)",
    ),
    "cut short in a header": (
        lambda f: cut(f, lambda entries: entries[3].offset + 100),
        "a.tar is no whole, uncompressed tar",
    ),
    "compressed inside": (
        lambda f: (f / "a.tar").write_bytes(gzip.compress(tar(f / "b", *sample(0)).read_bytes())),
        "a.tar is no whole, uncompressed tar",
    ),
    "cut short between files": (
        lambda f: cut(f, lambda entries: entries[3].offset),
        "a.tar is no whole, uncompressed tar (unexpected end of data)",
    ),
    "two in one": (
        lambda f: (f / "a.tar").write_bytes(2 * tar(f / "a.tar", *sample(0)).read_bytes()),
        "a.tar is no whole, uncompressed tar (more after its end)",
    ),
    "empty": (lambda f: (f / "a.tar").write_bytes(b""), "a.tar is no whole, uncompressed tar"),
    "no samples": (lambda f: tar(f / "a.tar", ("README", b"x")), "holds no samples"),
    "no file": (lambda f: None, "a.tar: No such file"),
    "images as labels": (
        lambda f: tar(f / "a.tar", ("x.jpg", photo(0)), ("x.seg.png", photo(1))),
        "a JPEG where class ids are expected",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_data_set_is_refused_by_name(name: str, tmp_path: Path) -> None:
    make, reason = BAD[name]
    make(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = refused("a.tar", "--out", "set", *FIELDS, "--labels", "source")
    assert reason in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("a.tar.gz",), "found a.tar.gz, allowed: NAME.tar of letters"),
        (("my a.tar",), "found my a.tar, allowed: NAME.tar of letters"),
        (("a-{5..2}.tar",), "a-{5..2}.tar, whose range is empty"),
        (("a.tar", "--field", "x.y=jpg"), "--field: found 'x.y', allowed: letters"),
        (("a.tar", "b/a.tar"), "index each folder apart"),
        (("https://u:secret@h/a.tar",), "a https URL with a user"),
        (("file://d/a.tar",), "found file://d/a.tar, allowed: file:// and a path from the root"),
        (("pipe:cat a.tar",), "would run a shell command"),
        (
            ("a.tar", "--labels", "mask"),
            "--labels mask: not a field that can hold class ids; found are target, source",
        ),
        (("a.tar", "--classes", "4"), "--classes 4: no field holds class ids"),
        (
            ("a.tar", "--classes", "1", "--labels", "source"),
            "--classes 1: give a number in 2..65536",
        ),
        (("a.tar", "--field", "x"), "--field: found 'x', allowed: NAME=VALUE"),
        (("a.tar", "--field", "target=png"), "--field: found one name twice"),
        (("a.tar", "--out", "old"), "old exists and is never overwritten"),
    ],
)
def test_wrong_requests_are_refused(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    out = () if "--out" in words else ("--out", "set")
    line = refused(*FIELDS, *words, *out)
    assert reason in line
    assert "secret" not in line
