"""The format: what is written is read back, and nothing else is taken for it."""

import json
import multiprocessing
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from gantrain.core.files import file_lock
from gantrain.data.shard_writer import PackedSample, write_shards
from gantrain.data.shards import MAX_OPEN_FILES, DamagedSample, Field, Shards


def _field(member="image", **more):
    return Field(member=member, channels=1, min_size=(1, 1), max_size=(1, 1), **more)


FIELDS = {"image": _field(), "label": _field("label", kind="label", classes=3)}


def _content(i):
    return {"image": f"image {i} ".encode() * (i + 1), "label": bytes([i % 3] * 5)}


def _samples(n, key="k{:03d}"):
    for i in range(n):
        content = _content(i)
        yield PackedSample(
            key.format(i), {"image": ("jpg", content["image"]), "label": ("png", content["label"])}
        )


@pytest.fixture
def folder(tmp_path):
    write_shards(_samples(25), tmp_path / "set", FIELDS, shard_samples=10)
    return tmp_path / "set"


def test_every_byte_comes_back(folder):
    shards = Shards.open(folder)
    assert len(shards) == 25
    assert [s.samples for s in shards.index.shards] == [10, 10, 5]
    for i in np.random.default_rng(0).permutation(25):
        assert {m: shards.read(i, m) for m in ("image", "label")} == _content(i)
        assert shards.key(i) == f"k{i:03d}"
    with pytest.raises(IndexError):
        shards.read(25, "image")


def test_webdataset_reads_the_shards(folder):
    webdataset = pytest.importorskip("webdataset")
    urls = sorted(str(p) for p in folder.glob("*.tar"))
    read = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [s["__key__"] for s in read] == [f"k{i:03d}" for i in range(25)]
    assert read[7]["image.jpg"] == _content(7)["image"]


def test_odd_names(tmp_path):
    folder = tmp_path / "50% [x] {name}"
    keys = ["straße 1", "x" * 180, "日本"]
    packed = [PackedSample(key, {"image": ("jpg", key.encode())}) for key in keys]
    write_shards(packed, folder, {"image": _field()})
    shards = Shards.open(folder)
    assert [shards.key(i) for i in range(3)] == keys
    assert [shards.read(i, "image").decode() for i in range(3)] == keys


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a.b",
        "a/b.c",
        "../a",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        ".a/b",
        "a\\b",
        "a\x1bb",
        "a\x1b/b",
        "__meta__",
        "same",
    ],
)
def test_unusable_keys_are_refused(tmp_path, key):
    samples = [PackedSample(k, {"image": ("jpg", b"x")}) for k in ("same", key)]
    with pytest.raises(ValueError, match="key"):
        write_shards(samples, tmp_path / "set", {"image": _field()})
    assert list(tmp_path.iterdir()) == []


def test_the_same_samples_give_the_same_files(folder, tmp_path):
    write_shards(_samples(25), tmp_path / "again", FIELDS, shard_samples=10)
    for file in sorted(folder.iterdir()):
        if file.suffix != ".npz":  # a zip holds times
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
    other = write_shards(_samples(24), tmp_path / "other", FIELDS, shard_samples=10)
    assert other.fingerprint != Shards.open(folder).fingerprint


def test_an_existing_folder_is_never_written(folder):
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    with pytest.raises(ValueError, match="never overwritten"):
        write_shards(_samples(3), folder, FIELDS)
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before


def test_a_failing_source_leaves_nothing(tmp_path):
    def failing():
        yield from _samples(3)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        write_shards(failing(), tmp_path / "set", FIELDS)
    with pytest.raises(ValueError, match="no samples"):
        write_shards([], tmp_path / "set", FIELDS)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_removed_and_a_rival_is_refused(tmp_path):
    leftover = tmp_path / ".set.partial"
    leftover.mkdir()
    (leftover / "s-000000.tar").write_bytes(b"half")
    other = tmp_path / ".settle.partial"  # another set's
    other.mkdir()
    with (
        file_lock(tmp_path / ".set.lock", wait=False),
        pytest.raises(ValueError, match="another process"),
    ):
        write_shards(_samples(3), tmp_path / "set", FIELDS)
    assert leftover.exists()
    write_shards(_samples(3), tmp_path / "set", FIELDS)
    assert sorted(f.name for f in tmp_path.iterdir()) == [".settle.partial", "set"]


def test_a_lock_admits_one_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with file_lock(tmp_path / "lock", wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not (tmp_path / "lock").exists()


def test_a_flipped_bit_is_a_damaged_sample(folder):
    shards = Shards.open(folder)
    offset = int(np.load(folder / "index.npz")["image_offset"][13])
    tar = folder / "s-000001.tar"
    data = bytearray(tar.read_bytes())
    data[offset + 2] ^= 1
    tar.write_bytes(data)
    with pytest.raises(DamagedSample, match=r"s-000001\.tar, sample 13 \(k013\): image"):
        shards.read(13, "image")
    assert shards.read(13, "label") == _content(13)["label"]
    assert shards.read(12, "image") == _content(12)["image"]


def test_what_a_shard_cut_short_has_lost_is_damaged_and_the_rest_is_read(folder):
    tar, opened = folder / "s-000002.tar", Shards.open(folder)
    os.truncate(tar, 3000)
    for shards in (opened, Shards.open(folder)):
        with pytest.raises(DamagedSample, match=r"sample 24 \(k024\): image: 0 bytes of"):
            shards.read(24, "image")
        assert shards.read(20, "label") == _content(20)["label"]
    tar.write_bytes(b"")
    with pytest.raises(DamagedSample, match=r"sample 20 \(k020\): label: 0 bytes of 5 read"):
        Shards.open(folder).read(20, "label")
    tar.unlink()
    with pytest.raises(ValueError, match=r"s-000002\.tar is missing"):
        Shards.open(folder)


def _read_one(shards, i, answer):
    answer.put(shards.read(i, "image"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_too(folder, method):
    shards = Shards.open(folder)
    shards.read(3, "image")  # has a file open
    context = multiprocessing.get_context(method)
    answer = context.Queue()
    process = context.Process(target=_read_one, args=(shards, 14, answer))
    process.start()
    assert answer.get(timeout=60) == _content(14)["image"]
    process.join()
    assert shards.read(3, "image") == _content(3)["image"]


def test_pickles_without_open_files(folder):
    shards = Shards.open(folder)
    shards.read(0, "image")
    copy = pickle.loads(pickle.dumps(shards))
    assert copy.read(20, "image") == _content(20)["image"]
    assert copy.fingerprint == shards.fingerprint


def test_open_files_are_bounded(tmp_path):
    n = MAX_OPEN_FILES + 6
    write_shards(_samples(n), tmp_path / "set", FIELDS, shard_samples=1)
    shards = Shards.open(tmp_path / "set")
    for i in [*range(n), *range(n)]:
        assert shards.read(i, "label") == _content(i)["label"]
    assert len(shards._open) == MAX_OPEN_FILES


def _set(*path, to):
    def change(index, arrays):
        place = index
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = to

    return change


def _array(name, change):
    def apply(index, arrays):
        arrays[name] = change(arrays[name])

    return apply


def _with(position, value):
    def change(array):
        array[position] = value
        return array

    return change


HOSTILE = {
    "another format": (
        _set("format", to=9),
        "found format 9, this gantrain reads format 3; prepare or index",
    ),
    "path in a shard's name": (
        _set("shards", 0, "name", to="../x.tar"),
        r"shards\.0\.name: found '\.\./x\.tar', string should",
    ),
    "absolute shard": (
        _set("shards", 0, "name", to="/etc/x.tar"),
        r"shards\.0\.name: found '/etc/x\.tar'",
    ),
    "dots in a shard's name": (
        _set("shards", 0, "name", to="a..tar"),
        r"shards\.0\.name: found 'a\.\.tar'",
    ),
    "shard twice": (_set("shards", 1, "name", to="s-000000.tar"), "named twice"),
    "path in a member's name": (
        _set("fields", "image", "member", to="../x"),
        r"image\.member: found '\.\./x'",
    ),
    "unknown member": (_set("fields", "image", "member", to="other"), "other_offset"),
    "unknown key": (_set("extra", to=1), "extra"),
    "no fields": (_set("fields", to={}), "no fields"),
    "too few samples": (_set("samples", to=24), "do not add up"),
    "negative samples": (_set("shards", 0, "samples", to=-1), "greater than 0"),
    "ignored id": (
        _set("fields", "image", "ignore", to=65536),
        "allowed: less than or equal to 65535",
    ),
    "colour": (
        _set("fields", "image", "palette", to=[[0, 0, 256]]),
        "allowed: less than or equal to 255",
    ),
    "other fields": (_set("fields", "image", "channels", to=4), "fingerprint"),
    "offset before": (_array("image_offset", _with(3, -1)), "sample 3 lies outside"),
    "offset behind": (_array("label_offset", _with(4, 1 << 62)), "sample 4 lies outside"),
    "size that overflows": (_array("image_size", _with(5, (1 << 63) - 1)), "sample 5 lies outside"),
    "negative size": (_array("image_size", _with(6, -5)), "sample 6 lies outside"),
    "short array": (_array("image_crc", lambda a: a[:-1]), "expected uint32"),
    "wrong dtype": (_array("image_offset", lambda a: a.astype(np.int32)), "expected int64"),
    "objects": (_array("keys", lambda a: a.astype(object)), "cannot be read"),
    "other checksum": (_array("image_crc", _with(0, 1)), "fingerprint"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_unsound_index_is_refused_in_one_line(folder, name):
    change, reason = HOSTILE[name]
    index = json.loads((folder / "index.json").read_text())
    arrays = dict(np.load(folder / "index.npz"))
    change(index, arrays)
    (folder / "index.json").write_text(json.dumps(index))
    np.savez(folder / "index.npz", **arrays)
    with pytest.raises(ValueError, match=reason) as caught:
        Shards.open(folder)
    assert "\n" not in str(caught.value)


def test_broken_index_files_are_refused_in_one_line(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no index\.json"):
        Shards.open(tmp_path)
    good = (folder / "index.npz").read_bytes()
    for content in (b"", b"PK\x03\x04", good[:200], good[:-30]):
        (folder / "index.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"index\.npz cannot be read") as caught:
            Shards.open(folder)
        assert "\n" not in str(caught.value)
    (folder / "index.npz").unlink()
    with pytest.raises(ValueError, match=r"index\.npz is missing"):
        Shards.open(folder)
    (folder / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json: Expecting property name") as caught:
        Shards.open(folder)
    assert "\n" not in str(caught.value)


def test_fields_round_trip_through_the_index(tmp_path):
    fields = {
        "left": _field("pair", half=0),
        "ids": _field(
            "ids",
            kind="label",
            classes=2,
            label_counts={0: 5, 1: 7},
            palette=[(0, 0, 0), (9, 8, 7)],
        ),
    }
    packed = [PackedSample("a", {"pair": ("jpg", b"a"), "ids": ("png", b"b")})]
    index = write_shards(packed, tmp_path / "set", fields, extras={"report.txt": b"hello"})
    assert Shards.open(tmp_path / "set").index == index
    assert Shards.open(str(tmp_path / "set")).fields == fields
    assert Path(tmp_path / "set" / "report.txt").read_bytes() == b"hello"
