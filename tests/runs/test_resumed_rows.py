"""The rows of metrics.jsonl after a kill or a signal are those of a run that was never stopped."""

import json
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, launch, run_here

from gantrain.runs import checkpoint
from gantrain.runs.meters import Meters
from gantrain.runs.metric_rows import Row, read_rows, rows_before
from gantrain.training.setup import RunSetup
from gantrain.training.trainer import Trainer

NOT_COMPARED = {"time", "images_per_second", "data_wait", "memory_gib"}
RUN = (
    *SMALL,
    "batch_size=8",
    "length=112",
    "log_every=40",  # no multiple of what checkpoints are written at
    "checkpoint.every=24",
    "checkpoint.keep=9",
    "evaluate.every=32",
    "evaluate.max_samples=4",
    "previews.every=1000",
    "method.penalties=[{name: r1, interval_steps: 2}]",
    "phases.discriminator.interval_steps=2",
    "schedule.name=linear",
)
# Where a run is stopped, by what, and from where the next one goes on.
STOPS = {
    "killed between checkpoints": (64, "kill", 48),
    "killed at a log point, before its checkpoint": (80, "kill", 72),
    "killed before the first checkpoint": (16, "kill", 0),
    "signal at an odd place": (56, "signal", 56),
    "signal at an evaluation": (64, "signal", 64),
}

QUICK = ("killed between checkpoints", "signal at an evaluation")


class Killed(BaseException):
    """As SIGKILL: nothing is saved."""


def rows(run: str) -> list[dict[str, Any]]:
    lines = (
        Path(f"runs/{run}/metrics.jsonl")
        .read_text()
        .replace(f"runs/{run}/", "runs/x/")
        .splitlines()
    )
    return [{k: v for k, v in json.loads(line).items() if k not in NOT_COMPARED} for line in lines]


def assert_same_rows(run: str, undisturbed: str) -> None:
    found = rows(run)
    expected = rows(undisturbed)
    assert [row["images_seen"] for row in found] == [row["images_seen"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row.pop("init_from", "") == other.pop("init_from", "")
        assert row == pytest.approx(other, rel=1e-6)


def stop_at(images: int, by: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the run stopped after the step that reaches so many images; returns what lets the
    next one go on.
    """
    step = Trainer._step

    def stopped(self: Trainer, raw: Any) -> None:
        step(self, raw)
        if self.images_seen == images and by == "kill":
            raise Killed
        if self.images_seen == images and by == "signal":
            signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(Trainer, "_step", stopped)
    return lambda: monkeypatch.setattr(Trainer, "_step", step)


@pytest.fixture(autouse=True)
def _one_bad_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    one_bad_batch(monkeypatch)


def one_bad_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step at 40 images is not finite, and so left out; samples of the batch before it are
    damaged.
    """
    micro_batches = RunSetup.micro_batches
    step = Trainer._step

    def with_nan(self: RunSetup, raw: Any, images_seen: int) -> Any:
        batches, contexts = micro_batches(self, raw, images_seen)
        if images_seen == 40:
            batches = [
                {role: images * math.nan for role, images in batch.items()} for batch in batches
            ]
        return batches, contexts

    def with_damage(self: Trainer, raw: Any) -> None:
        damaged = ("sample 7 is damaged", "sample é too") if self.images_seen == 32 else ()
        step(self, raw._replace(damaged=damaged))

    monkeypatch.setattr(RunSetup, "micro_batches", with_nan)
    monkeypatch.setattr(Trainer, "_step", with_damage)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GANTRAIN_CACHE", str(cache))
        one_bad_batch(patch)
        run_here(*RUN, "run=undisturbed")
    return folder / "runs" / "undisturbed"


@pytest.fixture
def _undisturbed(whole: Path) -> None:
    shutil.copytree(whole, "runs/undisturbed")


@pytest.mark.usefixtures("_undisturbed")
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in STOPS],
)
def test_rows_of_a_resumed_run(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, by, goes_on_at = STOPS[name]
    assert any(
        row.get("nonfinite_steps") == 1 and row["damaged_samples"] == 2
        for row in rows("undisturbed")
    )
    assert {"discriminator_gradient", "penalty"} <= rows("undisturbed")[1].keys()
    let_go_on = stop_at(images, by, monkeypatch)
    if by == "kill":
        with pytest.raises(Killed):
            run_here(*RUN, "run=stopped")
    else:
        assert run_here(*RUN, "run=stopped") == "unfinished"
    let_go_on()
    capsys.readouterr()
    assert run_here(*RUN, "run=stopped") == "finished"
    said = capsys.readouterr().out
    assert said.startswith(
        f"resuming at image {goes_on_at}" if goes_on_at else "starting a new run"
    )
    assert_same_rows("stopped", "undisturbed")


@pytest.mark.slow
@pytest.mark.usefixtures("_undisturbed")
def test_evaluation_that_a_signal_put_off_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the run is killed just after it, and its checkpoint gets the metrics."""
    let_go_on = stop_at(64, "signal", monkeypatch)
    assert run_here(*RUN, "run=stopped") == "unfinished"
    let_go_on()
    let_go_on = stop_at(72, "kill", monkeypatch)
    with pytest.raises(Killed):
        run_here(*RUN, "run=stopped")
    let_go_on()
    state = json.loads(Path("runs/stopped/checkpoints/000000064/state.json").read_text())
    assert {"l1", "psnr"} <= state["metrics"].keys()
    assert run_here(*RUN, "run=stopped") == "finished"
    assert_same_rows("stopped", "undisturbed")


def cut_short(run: str, copy: str, last: int) -> None:
    """A copy of the run as a kill would have left it after that checkpoint."""
    shutil.copytree(Path("runs", run), Path("runs", copy))
    folders = checkpoint.list_checkpoints(Path("runs", copy, "checkpoints"))
    assert [folder for folder in folders if int(folder.name) == last]
    for folder in folders:
        if int(folder.name) > last:
            shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (2, 1),
        pytest.param(2, 2, marks=pytest.mark.exhaustive),
        pytest.param(1, 2, marks=pytest.mark.exhaustive),
    ],
)
def test_rows_on_several_ranks(before: int, after: int) -> None:
    """Resumed within an interval, on as many ranks or on others, and with other micro-batches."""
    words = (*RUN, "precision=fp64", "ema.half_life=null")
    words = (
        *words,
        "method.generator.dropout=0",
        "method.generator.norm=none",
        "method.discriminator.norm=none",
    )
    words = (*words, "length=80", "evaluate.every=1000")
    launch(before, *words, "run=undisturbed")
    cut_short("undisturbed", "stopped", 48)
    output = launch(after, *words, "run=stopped", "micro_batch_size=2")
    assert "resuming at image 48" in output
    assert_same_rows("stopped", "undisturbed")


@pytest.mark.slow
def test_rows_of_a_stage_that_was_killed_before_its_first_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second start of the stage writes its row of init_from again, instead of a second one."""
    stages = "stages=[{length: 48}, {length: 48, optimizer: {lr: 0.0001}}]"
    run_here(*RUN, stages, "run=undisturbed")
    let_go_on = stop_at(64, "kill", monkeypatch)
    with pytest.raises(Killed):
        run_here(*RUN, stages, "run=stopped")
    let_go_on()
    run_here(*RUN, stages, "run=stopped")
    assert sum("init_from" in row for row in rows("undisturbed")) == 1
    assert_same_rows("stopped", "undisturbed")


def test_meters_go_on_from_their_sums() -> None:
    """A mean is that of the steps, however many micro-batches a step had before and after."""
    device = torch.device("cpu")
    whole = Meters(device)
    first = Meters(device)
    second = Meters(device)
    for step in range(7):
        pieces = 3 if step < 4 else 1
        for piece in range(pieces):
            values = {"loss": torch.tensor(0.1 * step + piece), "bad": torch.tensor(math.nan)}
            whole.add(values, 1 / pieces)
            (first if step < 4 else second).add(values, 1 / pieces)
        if step == 3:
            second.restore(json.loads(json.dumps(first.sums())))
    means = whole.means()
    assert means == pytest.approx(second.means(), rel=1e-12)
    assert means["loss"] == pytest.approx((sum(0.1 * step for step in range(7)) + 4) / 7)
    assert means["bad"] == 0
    assert whole.means() == {}


BROKEN = {
    "not UTF-8": b'{"images_seen": 8, "x": "\xff"}',
    "cut short": b'{"images_seen": 8, "l1"',
    "NUL": b"\0\0\0\0",
    "a number": b"7",
    "without its images": b'{"l1": 1}',
    "images as text": b'{"images_seen": "8"}',
    "images that are no number": b'{"images_seen": NaN}',
    "deep": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
def test_damaged_line_is_named_and_the_rest_is_used(
    line: bytes, place: int, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [b'{"images_seen": 8, "l1": 1.5}', '{"images_seen": 16, "name": "é"}'.encode()]
    lines.insert(place, line)
    path.write_bytes(b"\n".join(lines) + b"\n")
    found, problems = read_rows(path)
    assert [row.values["images_seen"] for row in found] == [8, 16]
    assert [row.line for row in found] == [other for other in lines if other is not line]
    assert problems == [f"{path}: line {place + 1} is damaged or cut short, and is left out"]


def test_rows_that_are_made_again_are_dropped() -> None:
    found = [
        {"images_seen": 8, "val_l1": 1},
        {"images_seen": 16, "lr": 1},
        {"images_seen": 16, "val_l1": 1},
    ]
    found.append({"images_seen": 24, "lr": 1})
    every = [Row(b"", values) for values in found]
    assert rows_before(every, 16) == every[:3]
    assert rows_before(every, 16, "val_") == every[:2]
    assert rows_before(every, -1) == []


@pytest.mark.usefixtures("_undisturbed")
def test_damaged_rows_do_not_stop_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    cut_short("undisturbed", "x", 96)
    path = Path("runs/x/metrics.jsonl")
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n\xff\xfe\n" + rest)
    Path("runs/x/status.json").write_bytes(b"\xff{")
    capsys.readouterr()
    assert run_here(*RUN, "run=x") == "finished"
    assert (
        "runs/x/metrics.jsonl: line 2 is damaged or cut short, and is left out\n"
        in capsys.readouterr().out
    )
    assert_same_rows("x", "undisturbed")
    assert json.loads(Path("runs/x/status.json").read_text())["state"] == "finished"
