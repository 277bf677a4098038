"""An index that somebody else wrote: bounds, its base, the names in it, and generated hostile ones."""

import copy
import io
import json
import random
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import serving
from fuzzing import check_error, limited

from gantrain.data import index as indexing
from gantrain.data import remote
from gantrain.data.field import Field
from gantrain.data.index import load, load_index
from gantrain.data.open_dataset import open_set
from gantrain.data.request import DataRequest
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import DamagedSample, Shards

SECRET = "hush-hush"
SAMPLES = 25
MOST_MEMORY = 256 << 20
MOST_SECONDS = 20
Change = Callable[[Path], object]


def write(folder: Path) -> Path:
    """A sound data set of three shards."""
    size = {"min_size": (16, 16), "max_size": (32, 64)}
    counts = {0: 7, 1: 5, 2: 9}
    fields = {
        "image": Field(member="image", channels=3, **size),
        "label": Field(
            member="label",
            kind="label",
            channels=1,
            classes=3,
            label_counts=counts,
            palette=[(0, 0, 0)] * 3,
            **size,
        ),
    }
    samples = [
        PackedSample(
            f"k{i:03d}",
            {"image": ("jpg", f"image {i}".encode()), "label": ("png", bytes([i % 3] * 5))},
        )
        for i in range(SAMPLES)
    ]
    write_shards(samples, folder, fields, shard_samples=10)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "set")


def change_json(change: Callable[[dict[str, Any]], object]) -> Change:
    def make(folder: Path) -> None:
        content = json.loads((folder / "index.json").read_text())
        change(content)
        (folder / "index.json").write_text(json.dumps(content))

    return make


def set_in(*path: Any, to: Any) -> Change:
    """A change of the value at that path in index.json."""

    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = to

    return change_json(change)


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError, match=r"index\.") as caught:
        Shards.open(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    return text


# -- what an index may state
# -------------------------------------------------------------------------

BOUNDS = {
    "classes": (
        set_in("fields", "label", "classes", to=65537),
        "fields.label.classes: found 65537, allowed: at most",
    ),
    "no classes": (
        set_in("fields", "label", "classes", to=None),
        "fields.label.classes: missing, although the field",
    ),
    "channels": (
        set_in("fields", "image", "channels", to=1025),
        "fields.image.channels: found 1025, allowed: at most",
    ),
    "height": (
        set_in("fields", "image", "max_size", to=[65537, 1]),
        "fields.image.max_size: found 65537, allowed",
    ),
    "width": (
        set_in("fields", "image", "max_size", to=[99, 10**30]),
        "fields.image.max_size: found 1000",
    ),
    "sizes": (
        set_in("fields", "image", "min_size", to=[33, 16]),
        "min_size: found [33, 16] and max_size [32, 64]",
    ),
    "ids": (set_in("fields", "label", "label_counts", to={"65536": 1}), "label_counts"),
    "counts": (
        set_in("fields", "label", "label_counts", to={"1": 2**63}),
        "fields.label.label_counts.1: found 9223",
    ),
    "palette": (
        set_in("fields", "label", "palette", to=[[0, 0, 0]] * 65537),
        "fields.label.palette",
    ),
    "samples": (
        set_in("samples", to=2**40 + 1),
        "samples: found 1099511627777, allowed: less than or equal to",
    ),
    "shard's samples": (
        set_in("shards", 0, "samples", to=2**41),
        "shards.0.samples: found 2199023255552, allowed",
    ),
    "shard's bytes": (
        set_in("shards", 0, "bytes", to=2**51),
        "shards.0.bytes: found 2251799813685248, allowed",
    ),
    "fields": (
        change_json(lambda c: c.update(fields={f"f{i}": c["fields"]["image"] for i in range(257)})),
        "fields: found",
    ),
    "fingerprint": (set_in("fingerprint", to="x" * 10**6), "fingerprint: found 'xxx"),
    "many unknown keys": (
        change_json(lambda c: c.update({f"k{i}": i for i in range(10**4)})),
        "k0: unknown key",
    ),
    "many wrong shards": (
        set_in("shards", to=[0] * 10**6),
        "shards.0: found 0, allowed: a mapping",
    ),
    "no mapping": (
        lambda folder: (folder / "index.json").write_text(f'["{SECRET}"]'),
        "found format 'none'",
    ),
    "not a number": (set_in("samples", to=float("nan")), "samples: found nan, allowed"),
    "deep": (lambda folder: (folder / "index.json").write_text("[" * 10**6), "recursion"),
    "deep format": (
        lambda folder: (folder / "index.json").write_text(
            '{"format": ' + "[" * 900 + "]" * 900 + "}"
        ),
        "format: found no number",
    ),
    "digits": (lambda folder: (folder / "index.json").write_text("9" * 10**6), "Exceeds the limit"),
    "large": (
        lambda folder: (folder / "index.json").write_bytes(b" " * (indexing.MOST_INDEX_BYTES + 1)),
        "index.json: found 33554433 bytes, allowed: 33554432; copy or prepare",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_what_no_index_may_state_is_refused(name: str, folder: Path) -> None:
    change, reason = BOUNDS[name]
    change(folder)
    before = time.monotonic()
    assert reason in refusal(folder)
    assert time.monotonic() - before < MOST_SECONDS


def test_the_advice_about_another_format_comes_once(folder: Path) -> None:
    set_in("format", to=9)(folder)
    advice = "found format 9, this gantrain reads format 3; prepare or index the data again"
    assert refusal(folder) == f"{folder}/index.json: {advice}"


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    size = {"min_size": (16, 16), "max_size": (16, 16)}
    packed = [PackedSample("k", {"image": ("npy", b"x")})]
    with pytest.raises(ValueError, match="channels: found 1025, allowed: at most 1024"):
        write_shards(
            packed, tmp_path / "set", {"image": Field(member="image", channels=1025, **size)}
        )
    packed = [PackedSample("k" * 4097, {"image": ("npy", b"x")})]
    with pytest.raises(ValueError, match="a sample's name has 4097 bytes, allowed: 4096"):
        write_shards(packed, tmp_path / "set", {"image": Field(member="image", channels=1, **size)})
    assert not list(tmp_path.iterdir())


def test_memory_is_taken_for_bytes_that_are_there(folder: Path) -> None:
    """A shard and a sample that claim a terabyte."""
    arrays = dict(np.load(folder / "index.npz"))
    arrays["image_size"][3] = 2**40
    np.savez(folder / "index.npz", **arrays)
    set_in("shards", 0, "bytes", to=2**41)(folder)
    index = load_index(folder)
    digest = indexing.fingerprint(index.fields, index.shards, dict(np.load(folder / "index.npz")))
    set_in("fingerprint", to=digest)(folder)
    shards = Shards.open(folder)
    tracemalloc.start()
    try:
        with pytest.raises(
            DamagedSample, match=r"sample 3 \(k003\): image: \d+ bytes of 1099511627776 read"
        ):
            shards.read(3, "image")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# -- where the shards lie
# ----------------------------------------------------------------------------

BASES = {
    f"https://me:{SECRET}@example.org/set": "credentials",
    f"s3://key:{SECRET}@bucket/set": "credentials",
    f"https://example.org/set?token={SECRET}": "credentials",
    f"pipe:curl -H {SECRET} https://example.org": "would run a shell command",
    f"ftp://example.org/{SECRET}": "found ftp, allowed: a folder, or http://",
    "gopher://x": "found gopher, allowed",
    "https://example.org/\x1b[31m": "control characters",
    "http://169.254.169.254/latest": "base: found the link-local address 169.254.169.254; such addresses",
    "http://[::1/x": "base: found a URL whose host cannot be read; write it as",
    "relative/folder": "base: found 'relative/folder', allowed: a path from the root, or a URL",
    "../up": "allowed: a path from the root",
    "": "allowed: a path from the root",
    "/data/\x1b[31m": r"base: found '/data/\x1b[31m', allowed",
    "/data/\nset": r"base: found '/data/\nset', allowed",
    7: "base: found no text, allowed: a folder or a URL",
    (f"https://me:{SECRET}@example.org/set",): "base: found no text, allowed: a folder or a URL",
}


@pytest.mark.parametrize("base", BASES)
def test_the_base_of_a_local_index_is_checked(base: object, folder: Path) -> None:
    set_in("base", to=base)(folder)
    text = refusal(folder)
    assert BASES[base] in text
    assert text.endswith("; or index the tars again")


def test_a_base_on_the_disk_is_used(folder: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    for tar in folder.glob("*.tar"):
        tar.rename(away / tar.name)
    set_in("base", to=str(away))(folder)
    assert Shards.open(folder).read(7, "image") == b"image 7"


WANTED = DataRequest("x", "label", "image", {"label": 3}, (16, 16), (16, 16), 1)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        ("https://data.example.org/set/", "data.train: the shards lie at host data.example.org\n"),
        ("http://10.0.0.1:8080/set", "data.train: the shards lie at host 10.0.0.1:8080\n"),
        ("s3://bucket/set", "data.train: the shards lie at s3://bucket\n"),
        ("file:///data/set", "data.train: the shards lie in folder /data/set\n"),
    ],
)
def test_a_remote_base_is_named(
    base: str, line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_in("base", to=base)(folder)
    shards = open_set("train", str(folder), WANTED)
    assert shards.place == base.rstrip("/")
    assert capsys.readouterr().out == line


def test_a_base_from_a_server_is_ignored(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    for base in ("/etc", f"https://me:{SECRET}@example.org/set", "pipe:id", 7):
        set_in("base", to=base)(folder)
        with serving(folder) as server:
            shards = open_set("train", server.url, WANTED)
            assert shards.place == server.url
            assert shards.read(7, "image") == b"image 7"
    assert capsys.readouterr().out == ""


def test_a_large_index_from_a_server_is_not_fetched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What index.npz may have follows from the samples that index.json states."""
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    most = indexing.largest_arrays(load_index(folder))
    assert most < 2 << 20
    with (folder / "index.npz").open("ab") as file:
        file.truncate(most + 1)
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    reason = rf"index\.npz cannot be fetched .*more than {most} bytes"
    with serving(folder) as server, pytest.raises(ValueError, match=reason):
        open_set("train", server.url, WANTED)
    assert f"it has {most + 1} bytes, 25 samples take at most {most}" in refusal(folder)


# -- generated ones
# ----------------------------------------------------------------------------------

VALUES: list[Any] = [
    -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 0.5, float("nan"), float("inf"), "", "x", "x" * 10**6, "\x1b[31m\u202e",
    "line\nline", "../../etc/passwd", "https://me:you@host/", "pipe:id", None, True, [], {}, [[]], [0] * 10**5,
    {"name": "x"}, {str(i): i for i in range(10**4)}, [[[[[[[[]]]]]]]], "\ud800",
]  # fmt: skip
DTYPES = ["<i4", ">i8", "<f8", "<u8", "|S1", "<U3", "|b1", "<c16", "|O", "|V8", "<M8[s]"]


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value, with each of its keys."""
    found = []
    items = list(content.items()) if isinstance(content, dict) else list(enumerate(content))
    for key, value in items:
        found.append((content, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


def other_value(folder: Path, draw: random.Random) -> None:
    content = json.loads((folder / "index.json").read_text())
    for _ in range(draw.choice([1, 1, 2, 5])):
        container, key = draw.choice(places(content))
        container[key] = copy.deepcopy(draw.choice(VALUES))
    (folder / "index.json").write_text(json.dumps(content))


def other_key(folder: Path, draw: random.Random) -> None:
    content = json.loads((folder / "index.json").read_text())
    container, key = draw.choice([place for place in places(content) if isinstance(place[0], dict)])
    value = container.pop(key)
    if draw.random() < 0.7:
        container[draw.choice(["", "x", "\x1b[2J\u202e", "a\nb", "../x", "k" * 10**6])] = value
    (folder / "index.json").write_text(json.dumps(content))


def other_bytes(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(["index.json", "index.npz", "index.npz"])
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 3, 30])):
        data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)


def other_length(folder: Path, draw: random.Random) -> None:
    path = folder / draw.choice(["index.json", "index.npz"])
    data = path.read_bytes()
    cut = data[: draw.randrange(len(data))]
    path.write_bytes(draw.choice([cut, data + cut, cut + data, data + bytes(10**6)]))


def other_array(folder: Path, draw: random.Random) -> None:
    arrays = dict(np.load(folder / "index.npz"))
    name = draw.choice(sorted(arrays))
    shape = draw.choice(
        [(), (0,), (SAMPLES,), (SAMPLES, 1), (1, SAMPLES), (SAMPLES - 1,), (10**5,)]
    )
    arrays[name] = np.zeros(shape, draw.choice(DTYPES))
    np.savez(folder / "index.npz", **arrays)


def other_number(folder: Path, draw: random.Random) -> None:
    """Hostile numbers, with the fingerprint that belongs to them."""
    arrays = dict(np.load(folder / "index.npz"))
    name = draw.choice([name for name in sorted(arrays) if name != "keys"])
    low, high = np.iinfo(arrays[name].dtype).min, np.iinfo(arrays[name].dtype).max
    arrays[name][draw.randrange(SAMPLES)] = draw.choice(
        [low, high, -1 if low else 0, 0, 1, high // 2]
    )
    np.savez(folder / "index.npz", **arrays)
    index = load_index(folder)
    set_in("fingerprint", to=indexing.fingerprint(index.fields, index.shards, arrays))(folder)


def other_keys(folder: Path, draw: random.Random) -> None:
    """Names that a terminal would obey, with the fingerprint that belongs to them."""
    arrays = dict(np.load(folder / "index.npz"))
    names = [
        b"\x1b[31mred",
        "\u202edesrever".encode(),
        b"a\nforged line",
        b"\xff\xfe",
        b"x" * 4096,
        b"\x9b2J",
    ]
    arrays["keys"] = np.array([draw.choice(names) for _ in range(SAMPLES)])
    np.savez(folder / "index.npz", **arrays)
    index = load_index(folder)
    set_in("fingerprint", to=indexing.fingerprint(index.fields, index.shards, arrays))(folder)


def header_that_lies(folder: Path, draw: random.Random) -> None:
    shape = draw.choice(
        [
            "(25,)",
            "(1099511627776,)",
            "(-1,)",
            "(25, 1)",
            "(" * 500 + ")" * 500,
            "(__import__('os'),)",
        ]
    )
    descr = draw.choice(["<i8", "|S4096", "|S99999999", "|O", "<i8'*9, 'x"])
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    length = draw.choice([len(header), 0, 65535])
    array = b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + header + bytes(8 * SAMPLES)
    name = draw.choice(["keys", "image_offset", "label_crc"])
    contents = {f"{n}.npy": npy(a) for n, a in np.load(folder / "index.npz").items()} | {
        f"{name}.npy": array
    }
    archive(folder, contents, zipfile.ZIP_STORED)


def bomb(folder: Path, draw: random.Random) -> None:
    """A few kilobytes that would expand to many times that."""
    contents = {f"{n}.npy": npy(a) for n, a in np.load(folder / "index.npz").items()}
    contents[draw.choice(sorted(contents))] = npy(np.zeros(SAMPLES * 10**5, "<i8"))
    archive(folder, contents, draw.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED]))


def many_members(folder: Path, draw: random.Random) -> None:
    archive(folder, {f"{i}.npy": b"" for i in range(draw.choice([10, 5000]))}, zipfile.ZIP_STORED)


def many_samples(folder: Path, draw: random.Random) -> None:
    """Counts that agree with one another and with nothing else."""
    content = json.loads((folder / "index.json").read_text())
    count = draw.choice([2**30, 2**38])
    for shard in content["shards"]:
        shard.update(samples=count, bytes=2**50)
    content["samples"] = count * len(content["shards"])
    (folder / "index.json").write_text(json.dumps(content))


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def archive(folder: Path, contents: dict[str, bytes], method: int) -> None:
    with zipfile.ZipFile(folder / "index.npz", "w", method) as file:
        for name, data in contents.items():
            file.writestr(name, data)


KINDS = (
    other_value, other_value, other_value, other_key, other_bytes, other_bytes, other_length, other_array, other_number,
    other_keys, header_that_lies, bomb, many_members, many_samples,
)  # fmt: skip


def check_load(folder: Path) -> str:
    """Load a data set and read it; returns what was wrong.

    Fails for anything but success or a line of ours.
    """
    tracemalloc.start()
    problem = ""
    try:
        with limited(str(folder)):
            load(folder)
            read_all(Shards.open(folder))
    except ValueError as error:
        check_error(str(folder), error)
        problem = str(error)
    finally:
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert memory < MOST_MEMORY
    return problem


def read_all(shards: Shards) -> None:
    damaged = []
    for i in range(min(len(shards), 100)):
        assert shards.where(i).isprintable()
        for member in shards.index.members if not shards.cache else []:
            try:
                shards.read(i, member)
            except DamagedSample as error:
                damaged.append(str(error))
    assert "".join(damaged).isprintable()


def generated(seed: int, folder: Path) -> str:
    write(folder)
    draw = random.Random(seed)
    KINDS[seed % len(KINDS)](folder, draw)
    return check_load(folder)


@pytest.mark.parametrize("seed", range(len(KINDS) + 6))
def test_a_generated_index_ends_in_success_or_one_line(seed: int, tmp_path: Path) -> None:
    generated(seed, tmp_path / "set")


@pytest.mark.exhaustive
def test_many_generated_indexes_end_in_success_or_one_line(tmp_path: Path) -> None:
    problems = [generated(seed, tmp_path / f"set{seed}") for seed in range(100, 300)]
    refused = [problem for problem in problems if problem]
    assert len(refused) > 100
    assert len(refused) < len(problems), "some changes do no harm"


@pytest.mark.slow
def test_the_largest_json_ends_soon(folder: Path) -> None:
    """As many small values as the bound allows."""
    most = indexing.MOST_INDEX_BYTES
    values = b"{}," * (most // 3 - 100)
    (folder / "index.json").write_bytes(b'{"format": 3, "shards": [' + values + b"{}]}")
    before = time.monotonic()
    assert "missing" in refusal(folder)
    assert time.monotonic() - before < MOST_SECONDS
