"""A disk that is full while a run writes: a line, and training goes on."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from comparing import assert_identical, tensors
from conftest import SMALL, command, run_here
from processes import start

from gantrain.runs import checkpoint
from gantrain.training.trainer import RunStopped

RUN = (*SMALL, "batch_size=8", "evaluate.every=8000", "previews.every=800", "checkpoint.keep=2",
       "data.validation=null", "log_every=80", "checkpoint.every=160")  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory on a file system of 8 MiB; a checkpoint takes about 1."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "gantrain-test", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can't be mounted here (needs root on Linux)")
    monkeypatch.chdir(disk)
    yield disk
    monkeypatch.undo()
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 12)):
                pass
        except OSError:
            return


@pytest.mark.exhaustive
def test_training_goes_on_and_saves_after_space_is_made(small_disk: Path, tmp_path: Path) -> None:
    process = start(command(1, *RUN, "length=2400", "run=x"))
    assert process.stdout
    output = ""
    for line in process.stdout:
        output += line
        if "400/2400" in line:
            fill(small_disk)
        if "checkpoint: image" in line:
            break
    assert "could not be saved in runs/x/checkpoints (" in output, output
    before = checkpoint.list_checkpoints(Path("runs/x/checkpoints"))
    for folder in before:
        assert checkpoint.tensors(folder, "networks/generator", checkpoint.state(folder))
    (small_disk / "filler").unlink()
    rest, _ = process.communicate(timeout=200)
    assert process.returncode == 0, rest
    assert "Traceback" not in output + rest
    assert json.loads(Path("runs/x/status.json").read_text())["state"] == "finished"
    rows = [json.loads(row) for row in Path("runs/x/metrics.jsonl").read_text().splitlines()]
    logged = [row["images_seen"] for row in rows if "lr" in row]
    assert logged == list(range(80, 2401, 80)), "rows are lost"
    run_here(*RUN, "length=2400", "run=undisturbed", "checkpoint.every=2400")
    assert_identical(tensors("x", 2400), tensors("undisturbed", 2400))


@pytest.mark.slow
def test_run_that_cannot_save_its_end_says_so_and_goes_on_later(small_disk: Path) -> None:
    run_here(*RUN, "length=160", "run=x")
    fill(small_disk)
    with pytest.raises(ValueError, match=r"run: cannot write runs/x \(No space left on device\)"):
        run_here(*RUN, "length=320", "run=x")
    os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - (1 << 18))
    with pytest.raises(RunStopped, match=r"image 320 could not be saved .* go on from 000000160"):
        run_here(*RUN, "length=320", "run=x")
    (small_disk / "filler").unlink()
    assert run_here(*RUN, "length=320", "run=x") == "finished"


def test_refused_write_leaves_the_checkpoints_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = checkpoint.save_file
    written: list[str] = []

    def save_file(content: checkpoint.Tensors, file: Path) -> None:
        written.append(file.name)
        if len(written) in (5, 6):  # within the first checkpoint and the second
            raise OSError(28, "No space left on device")
        real(content, file)

    monkeypatch.setattr(checkpoint, "save_file", save_file)
    words = (*RUN, "run=x", "checkpoint.every=16")
    assert run_here(*words, "length=64") == "finished"
    assert "No space left on device); make space" in capsys.readouterr().out
    found = checkpoint.list_checkpoints(Path("runs/x/checkpoints"))
    assert [folder.name for folder in found] == ["000000048", "000000064"]
    assert not list(found[0].parent.glob(".*"))


@pytest.mark.slow
def test_keeping_fewer_makes_the_space(small_disk: Path) -> None:
    run_here(*RUN, "checkpoint.keep=5", "length=640", "run=x")
    assert len(checkpoint.list_checkpoints(Path("runs/x/checkpoints"))) == 4
    fill(small_disk)
    filler = small_disk / "filler"
    os.truncate(filler, filler.stat().st_size - 2**18)  # enough for what a start writes
    with pytest.raises(RunStopped, match="could not be saved"):
        run_here(*RUN, "checkpoint.keep=5", "length=800", "run=x")
    assert run_here(*RUN, "checkpoint.keep=2", "length=800", "run=x") == "finished"
    assert [folder.name for folder in checkpoint.list_checkpoints(Path("runs/x/checkpoints"))] == [
        "000000640",
        "000000800",
    ]
