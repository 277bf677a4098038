"""Trackers: names in groups, one run for each run, and what becomes of one that fails."""

import json
import os
import resource
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import accelerate.tracking
import pytest
from accelerate.utils import LoggerType
from conftest import SMALL, run_here

from gantrain.cli.train_command import train_main
from gantrain.recipe import schema
from gantrain.runs.trackers import Trackers, check_trackers, group

QUICK = (
    *(word for word in SMALL if not word.startswith("trackers")),
    "run=tracked",
    "batch_size=8",
)
QUICK = (*QUICK, "log_every=8", "evaluate.max_samples=4", "evaluate.every=16", "previews.every=16")


class FakeWandb(ModuleType):
    """Stands in for the package: it records what it is given, and fails on demand."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.inits: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.settings: dict[str, Any] = {}
        self.finished = 0
        self.start_error: Exception | None = None
        self.fails_at = 10**9  # images seen
        self.config = self

    def init(self, **options: Any) -> "FakeWandb":
        if self.start_error:
            raise self.start_error
        self.inits.append(options)
        return self

    def update(self, values: dict[str, Any], allow_val_change: bool) -> None:
        self.settings = values

    def log(self, values: dict[str, Any], step: int) -> None:
        if step >= self.fails_at:
            raise ConnectionError("the server is\ngone")
        self.rows.append((step, values))

    def Image(self, picture: Any) -> str:  # noqa: N802 (W&B's name)
        return f"picture of {picture.shape}"

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    known = [LoggerType.TENSORBOARD, LoggerType.WANDB]
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", known)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gantrain: ")]
    assert len(lines) == 1, lines
    return lines[0]


def state() -> str:
    content = json.loads(Path("runs/tracked/status.json").read_text())
    return str(content["state"])


@pytest.mark.parametrize(
    ("name", "grouped"),
    {
        "l1": "train/l1",
        "lr": "train/lr",
        "lr_generator": "train/lr_generator",
        "images_per_second": "train/images_per_second",
        "val_l1": "val/l1",
        "val_swd_null": "val/swd_null",
        "val_d_on_held_out": "val/d_on_held_out",
        "generator_gradient": "phase/generator_gradient",
        "discriminator_1_gradient": "phase/discriminator_1_gradient",
        "gradient_penalty": "train/gradient_penalty",
    }.items(),
)
def test_values_are_in_groups(name: str, grouped: str) -> None:
    assert group(name) == grouped


@pytest.mark.slow
def test_tensorboard_has_groups_and_one_run() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run_here(*QUICK, "trackers=[tensorboard]", "length=16") == "finished"
    folder = Path("runs/tracked/gantrain")
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    assert {name.partition("/")[0] for name in tags["scalars"]} == {"train", "val", "phase"}
    assert {"train/l1", "val/l1", "phase/generator_gradient"} <= set(tags["scalars"])
    assert tags["images"] == ["previews/held_out"]
    assert tags["tensors"] == ["recipe/text_summary"]
    rows = [
        json.loads(line) for line in Path("runs/tracked/metrics.jsonl").read_text().splitlines()
    ]
    names = {name for row in rows for name in row} - {"images_seen", "epoch", "time"}
    assert {group(name) for name in names} == set(tags["scalars"])


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_wandb(wandb: FakeWandb, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*QUICK, "trackers=[wandb]")
    assert run_here(*words, "length=16") == "finished"
    assert run_here(*words, "length=24", "tracker_project=streets") == "finished"
    first, second = wandb.inits
    assert first["id"] == second["id"]
    assert first["name"] == second["name"] == "tracked"
    assert first["resume"] == second["resume"] == "allow"
    assert (first["project"], second["project"]) == ("gantrain", "streets")
    assert first["dir"] == os.path.join("runs", "tracked")
    assert wandb.settings["optimizer.lr"] == 5e-4
    assert wandb.finished == 2
    assert [step for step, row in wandb.rows if "train/l1" in row] == [8, 16, 24]
    assert any("previews/held_out" in row for _, row in wandb.rows)
    monkeypatch.setenv("WANDB_PROJECT", "from_environment")
    assert run_here(*words, "length=8", "run=other") == "finished"
    assert wandb.inits[-1]["project"] == "from_environment"
    assert wandb.inits[-1]["id"] != first["id"]


@pytest.mark.parametrize("text", ["{", "[]", '{"id": 3}'])
def test_a_damaged_id_is_reported(
    text: str, wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    from gantrain.runs.trackers import _wandb_id

    path = Path("wandb.json")
    path.write_text(text)
    new = _wandb_id(path)
    assert "wandb.json is damaged" in capsys.readouterr().out
    assert _wandb_id(path) == new
    assert capsys.readouterr().out == ""


def test_a_tracker_that_cannot_start_stops_the_run(
    wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.start_error = RuntimeError("no API key;\nlog in")
    words = ["recipe=quickstart", *QUICK, "trackers=[wandb]", "length=8"]
    assert train_main(words) == 2
    line = complaint(capsys)
    assert "trackers: wandb could not start (RuntimeError: no API key; log in)" in line
    assert "tracker_failure=continue" in line
    assert state() == "failed"
    assert not list(Path("runs/tracked/checkpoints").iterdir())


def test_training_goes_on_without_a_tracker_that_cannot_start(
    wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.start_error = RuntimeError("no API key")
    assert (
        train_main(
            [
                "recipe=quickstart",
                *QUICK,
                "trackers=[wandb]",
                "length=8",
                "tracker_failure=continue",
            ]
        )
        == 0
    )
    captured = capsys.readouterr()
    assert (
        captured.out.count("wandb could not start (RuntimeError: no API key); training goes on")
        == 1
    )
    assert state() == "finished"


def test_a_tracker_that_fails_while_training_decides_by_the_recipe(
    wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is saved before it stops, and goes on with the other choice, which may change on
    resume.
    """
    wandb.fails_at = 16
    words = [
        "recipe=quickstart",
        *QUICK,
        "trackers=[wandb]",
        "length=48",
        "evaluate.every=48",
        "previews.every=48",
    ]
    assert train_main(words) == 1
    line = complaint(capsys)
    assert "trackers: wandb failed (ConnectionError: the server is gone)" in line
    assert "the run is saved at image 24, and the same command goes on" in line
    assert state() == "failed"
    assert [path.name for path in Path("runs/tracked/checkpoints").iterdir()] == ["000000024"]
    assert train_main([*words, "tracker_failure=continue"]) == 0
    captured = capsys.readouterr()
    assert "resuming at image 24" in captured.out
    assert (
        captured.out.count(
            "wandb failed (ConnectionError: the server is gone); training goes on without it"
        )
        == 1
    )
    assert state() == "finished"
    assert wandb.finished == 0  # a tracker that failed is left alone


@pytest.mark.slow
def test_a_full_disk_under_tensorboard_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorBoard writes in a thread of its own, whose traceback is left out."""
    log = Trackers.log
    hook = threading.excepthook

    def log_on_a_full_disk(self: Trackers, values: dict[str, float], images_seen: int) -> None:
        if images_seen < 16:
            return log(self, values, images_seen)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
        log(self, values, images_seen)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(Trackers, "log", log_on_a_full_disk)
    words = [
        "recipe=quickstart",
        *QUICK,
        "trackers=[tensorboard]",
        "length=64",
        "evaluate.every=64",
    ]
    assert train_main([*words, "previews.every=64"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(errors) == 1, errors
    assert "trackers: tensorboard failed (OSError: " in errors[0]
    assert threading.excepthook is hook


def test_a_failure_at_the_end_does_not_fail_the_run(
    wandb: FakeWandb, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.fails_at = 16
    assert train_main(["recipe=quickstart", *QUICK, "trackers=[wandb]", "length=16"]) == 0
    assert "trackers: wandb failed" in capsys.readouterr().out
    assert state() == "finished"


def test_a_missing_package_stops_only_where_the_recipe_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "gantrain.runs.trackers.get_available_trackers", lambda: [LoggerType.TENSORBOARD]
    )
    words = ["trackers=[aim]"]
    with pytest.raises(ValueError, match=r"aim is not installed; .*tracker_failure=continue"):
        check_trackers(schema.load("quickstart", words))
    check_trackers(schema.load("quickstart", [*words, "tracker_failure=continue"]))
