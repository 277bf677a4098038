"""`gantrain doctor` finds what would fail, and says which part limits the speed."""

from pathlib import Path

import pytest
from conftest import SMALL, run_here
from typer.testing import CliRunner

from gantrain.cli import doctor
from gantrain.cli.app import app
from gantrain.data import remote


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SECONDS", 0.2)
    monkeypatch.setenv("COLUMNS", "500")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *words])
    return result.exit_code, result.output


def test_machine_alone() -> None:
    status, output = run()
    assert status == 0
    for name in ("versions", "device", "bf16", "ranks", "disk"):
        assert f" {name} " in output


def test_recipe_that_would_train() -> None:
    status, output = run("recipe=quickstart", *SMALL, "--verify")
    assert status == 0, output
    assert "data.train: 0 of 400 damaged" in output
    # The row `precision` judges the recipe's own convolutions.
    assert "bf16" not in [line.split()[0] for line in output.splitlines() if line.strip()]
    for name in ("loader alone", "step alone", "limit"):
        assert name in output
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("batch_size=x",), "batch_size: found 'x'"),
        (("data.train=nowhere",), "data.train: no folder nowhere"),
        (("method=survey",), "the discriminator needs"),
        (("trackers=[nosuch]",), "trackers: found 'nosuch'"),
    ],
)
def test_recipe_that_would_fail(words: tuple[str, ...], says: str) -> None:
    status, output = run("recipe=quickstart", *SMALL, *words)
    assert status == 1
    (line,) = [line for line in output.splitlines() if says in line]
    assert "fails" in line


@pytest.mark.slow
def test_an_existing_run_is_gone_on_with_or_refused() -> None:
    words = (
        "recipe=quickstart",
        *SMALL,
        "batch_size=8",
        "length=16",
        "checkpoint.every=16",
        "checkpoint.best=0",
    )
    run_here(*words[1:])
    status, output = run(*words, "length=32")
    assert status == 0
    assert "goes on from runs/quickstart/checkpoints/000000016" in output
    status, output = run(*words, "seed=3")
    assert status == 1
    assert "runs/quickstart was started with another recipe" in output
    assert "seed: 0 -> 3" in output


@pytest.mark.slow
def test_too_many_damaged_samples(tmp_path: Path) -> None:
    run("recipe=quickstart", *SMALL)
    (drawn,) = doctor.cache_folder().glob("synthetic-*/train-label10-photo-32x32")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in drawn.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    shard = next(copy.glob("*.tar"))
    content = bytearray(shard.read_bytes())
    for at in range(len(content) // 4, len(content) // 2, 101):
        content[at] ^= 0xFF
    shard.write_bytes(content)
    words = ("recipe=quickstart", *SMALL, f"data.train={copy}", "data.validation=null")
    status, output = run(*words, "--verify")
    assert status == 1
    assert "damaged; " in output
    assert run(*words)[0] == 0, "only --verify reads all samples"


def test_shards_that_cannot_be_fetched_are_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    run("recipe=quickstart", *SMALL)
    (drawn,) = doctor.cache_folder().glob("synthetic-*/train-label10-photo-32x32")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in drawn.glob("index.*"):  # and no shard
        (copy / file.name).write_bytes(file.read_bytes())
    words = ("recipe=quickstart", *SMALL, f"data.train={copy.as_uri()}", "data.validation=null")
    for workers in (0, 1):  # a loader's process adds its traceback
        status, output = run(*words, f"data.workers={workers}")
        assert status == 1
        (line,) = [line for line in output.splitlines() if " fails " in line]
        assert " speed " in line
        assert "s-000000.tar cannot be fetched (tries: 1" in line
    (line,) = [line for line in output.splitlines() if " data " in line[:14]]
    assert copy.as_uri() in line


@pytest.mark.slow
def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_free", lambda folder: 1 << 10)
    status, output = run("recipe=quickstart", *SMALL)
    assert status == 1
    assert "fails" in output
