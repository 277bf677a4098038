"""The one writer of files: whole or not at all, also where the disk is full or the writer is
interrupted.
"""

import ast
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from gantrain.core import files
from gantrain.data.decode import encode
from gantrain.data.pictures import save_png
from gantrain.evaluation.evaluate_results import write_json
from gantrain.metrics import feature_cache

FULL = OSError(28, "No space left on device")
WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: files.write_bytes(path, b"new"),
    "text": lambda path: files.write_text(path, "new"),
    "on the disk": lambda path: files.write_text(path, "new", sync=True),
    "preview": lambda path: save_png(np.zeros((2, 2, 3), np.uint8), path),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_a_file_is_replaced_whole(writer: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    writer(path)
    assert path.read_bytes() != b"old"
    assert os.listdir(tmp_path) == ["x.png"]


@pytest.mark.parametrize(
    "error", [FULL, KeyboardInterrupt(), RuntimeError("x")], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    writer: Callable[[Path], object],
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> None:
        assert self.is_file(), "written before it is renamed"
        raise error

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(type(error)):
        writer(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.png"]


def test_features_that_cannot_be_kept_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise FULL

    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "replace", refuse)
    feature_cache.store_features("key", {})
    assert os.listdir(tmp_path / "metrics") == []


def test_evaluations_that_cannot_be_written_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise FULL

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(
        ValueError,
        match=r"--out: cannot write .*found.json \(No space left on device\); make space",
    ):
        write_json(tmp_path / "found.json", {}, {"content": {}})
    assert os.listdir(tmp_path) == []


def test_killed_writers_files_are_removed(tmp_path: Path) -> None:
    names = ["mine.partial", ".hidden", ".0123456789abcdef.partial"]
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / ".000000080.partial").mkdir()  # a checkpoint's, which is another's to remove
    files.clean(tmp_path, 60)  # somebody may be writing it
    assert len(os.listdir(tmp_path)) == 4
    files.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".000000080.partial", ".hidden", "mine.partial"]


def test_long_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    files.write_bytes(path, encode(np.zeros((2, 2, 3), np.uint8), "png"))
    assert path.is_file()


@pytest.mark.parametrize(
    "read", [lambda path: files.read_bytes(path, 9), files.sha256, lambda p: files.read_json(p, 9)]
)
def test_pipes_and_large_files_are_not_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a FIFO"):
        read(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


def test_a_file_past_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1234567890")
    with pytest.raises(ValueError, match=r"has 10 bytes, allowed: at most 9"):
        files.read_bytes(path, 9)
    assert files.sha256(path) == hashlib.sha256(b"1234567890").hexdigest()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_broken_json_is_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x.json is no JSON \(.*\)$"):
        files.read_json(path, 1 << 20)


# Folders that take their name when all is in them, a log that grows, a fetch that goes on,
# temporary files, and files in memory.
OTHER_WRITERS = {
    "bench/loose_files.py",
    "bench/peer_files.py",
    "bench/peer_side.py",
    "core/files.py",
    "data/cache.py",
    "data/decode.py",
    "data/degradations/jpeg.py",
    "data/download.py",
    "data/index_writer.py",
    "data/pictures.py",
    "data/remote.py",
    "metrics/extractors.py",
    "metrics/feature_cache.py",
    "runs/checkpoint.py",
    "runs/run_folder.py",
}
WRITING = {"write_text", "write_bytes", "save", "savez", "save_file"}


def test_files_are_written_by_the_one_writer() -> None:
    """A module that writes by itself has to be known here, with the reason."""
    found = set()
    for path in sorted((ROOT / "gantrain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            opens = node.func.attr == "open" and any(
                isinstance(w, str) and set(w) & set("wax") for w in words[:1]
            )
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            by_itself = node.func.attr in WRITING and owner not in ("files", "checkpoint")
            if opens or by_itself:
                found.add(path.relative_to(ROOT / "gantrain").as_posix())
    assert found - OTHER_WRITERS == set()
