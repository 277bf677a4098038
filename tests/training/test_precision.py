"""`precision: auto`: measured on a CPU with bf16 instructions, kept by the cache, the run and
its checkpoints.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import RECIPE_FILES, ROOT, SMALL, run_here
from typer.testing import CliRunner

from gantrain.cli import doctor
from gantrain.cli.app import app
from gantrain.recipe import conv_timing, machine_precision, schema
from gantrain.recipe.build_method import sketch_method
from gantrain.recipe.conv_timing import (
    STANDARD,
    Convolution,
    Times,
    choose_convolutions,
    list_convolutions,
    measure,
)
from gantrain.runs import checkpoint

FASTER = Times(fp32_microseconds=1830, bf16_microseconds=1000)
SLOWER = Times(fp32_microseconds=700, bf16_microseconds=1000)
# Two steps of a small network, without held-out data.
RUN = (
    *(word for word in SMALL if not word.startswith("precision=")),
    "precision=auto", "batch_size=4", "length=8", "checkpoint.every=4", "data.validation=null",
)  # fmt: skip
CPU = torch.device("cpu")
SMALLEST = Convolution(False, 4, 4, (3, 3), (1, 1), groups=1, batch=1, height=8, width=8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The drawn data of the session's cache, and no earlier measurements."""
    own = tmp_path / "own-cache"
    own.mkdir()
    for folder in cache.glob("synthetic-*"):
        (own / folder.name).symlink_to(folder)
    monkeypatch.setenv("GANTRAIN_CACHE", str(own))
    monkeypatch.setattr(machine_precision, "has_bf16", lambda device: True)


def pretend(monkeypatch: pytest.MonkeyPatch, times: Times) -> list[Times]:
    """Let every measurement give these times; returns a list that grows with each one."""
    measurements: list[Times] = []

    def stand_in(convolutions: object, device: torch.device, *, backward: bool) -> Times:
        measurements.append(times)
        return times

    monkeypatch.setattr(conv_timing, "measure", stand_in)
    return measurements


def saved(run: str = "x") -> str | None:
    latest = checkpoint.latest(Path("runs", run, "checkpoints"))
    assert latest is not None
    return checkpoint.state(latest).precision


def recorded(run: str = "x") -> Any:
    return json.loads(Path("runs", run, "precision.json").read_text())["precision"]


@pytest.mark.parametrize(
    ("fp32", "bf16", "is_worthwhile"),
    [
        (1830, 1000, True),
        (1200, 1000, True),
        (1199, 1000, False),
        (12, 10, True),
        (700, 1000, False),
    ],
)
def test_bf16_has_to_be_12_tenths_as_fast(fp32: int, bf16: int, is_worthwhile: bool) -> None:
    assert Times(fp32, bf16).is_bf16_worthwhile is is_worthwhile


class Clock:
    """A clock that only `_Case.run` moves."""

    def __init__(self, fp32: float, bf16: float) -> None:
        self.now = 0.0
        self.seconds = {False: fp32, True: bf16}
        self.runs = {False: 0, True: 0}

    def __call__(self) -> float:
        return self.now

    def run(self, bf16: bool) -> None:
        self.runs[bf16] += 1
        # The first round, in which the library prepares its code, and others that are disturbed.
        factor = 50 if self.runs[bf16] in (1, 3) else 1
        self.now += self.seconds[bf16] * factor


@pytest.mark.parametrize(
    ("fp32", "bf16"),
    [(0.001, 0.002), (0.0024, 0.002), (0.002, 0.001)],
    ids=["below", "tie", "above"],
)
def test_the_shortest_round_counts_and_the_first_does_not(
    fp32: float, bf16: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(fp32, bf16)
    monkeypatch.setattr(conv_timing._Case, "run", lambda case, in_bf16: clock.run(in_bf16))
    times = measure([SMALLEST], CPU, clock=clock)
    assert times == (round(fp32 * 1e6), round(bf16 * 1e6))
    assert times.is_bf16_worthwhile is (fp32 >= 1.2 * bf16)
    assert clock.runs[False] == clock.runs[True]


def test_a_slow_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(10, 5)
    monkeypatch.setattr(conv_timing._Case, "run", lambda case, in_bf16: clock.run(in_bf16))
    assert measure([SMALLEST], CPU, clock=clock) == (10_000_000, 5_000_000)
    assert clock.runs == {False: 2, True: 2}


def test_a_real_measurement_leaves_the_process_as_it_was() -> None:
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    times = measure([SMALLEST, STANDARD[2].fitted(1, 1e5)], CPU)
    assert times.fp32_microseconds > 0
    assert times.bf16_microseconds > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_every_recipe_is_measured_on_its_own_shapes(path: Path) -> None:
    loaded = schema.load(str(path))
    facts = {"source_channels": 3, "target_channels": 3}
    sketch = sketch_method(loaded, facts)
    before = torch.get_rng_state()
    listed = list_convolutions(sketch, 3, loaded.data.size)
    assert torch.equal(torch.get_rng_state(), before)
    assert listed, "the standard convolutions would stand in"
    assert max(convolution.height for convolution in listed) >= loaded.data.size[0] // 4
    for threads in (1, 2, 64):
        chosen = choose_convolutions(listed, 8, threads)
        assert len(chosen) == 3
        for convolution in chosen:
            assert convolution.work <= 4e8 * threads


def test_networks_that_need_storage_are_measured_on_standard_shapes() -> None:
    method = sketch_method(schema.load("quickstart"), {"source_channels": 10, "target_channels": 3})
    real = method.to_empty(device="cpu")
    assert list_convolutions(real, 10, (32, 32)) == []
    assert choose_convolutions([], 1, 1)


@pytest.mark.parametrize(
    ("times", "expected"), [(FASTER, "bf16"), (Times(1200, 1000), "bf16"), (SLOWER, "fp32")]
)
def test_the_choice_is_printed_and_stored(
    times: Times, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, times)
    run_here(*RUN, "run=x")
    said = capsys.readouterr().out
    assert (
        f"precision: auto is {expected}: bf16 is {times.ratio:.2f} times as fast as fp32 here"
        in said
    )
    assert "(3 convolutions take 1 ms in bf16 and " in said
    assert f"{expected} on cpu" in said
    assert saved() == recorded() == expected


def start_and_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in runs/x that ends in its first step."""

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gantrain.training.step.Engine.step", fail)
        with pytest.raises(KeyboardInterrupt):
            run_here(*RUN, "run=x")


def test_the_choice_is_stored_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FASTER)
    start_and_kill(monkeypatch)
    assert recorded() == "bf16"


def test_the_same_command_chooses_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FASTER)
    run_here(*RUN, "run=x", "length=4")
    measurements = pretend(monkeypatch, SLOWER)
    run_here(*RUN, "run=y", "length=4")
    assert measurements == []
    assert saved("y") == "bf16"


def test_a_stated_precision_is_neither_measured_nor_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measurements = pretend(monkeypatch, FASTER)
    run_here(*RUN, "run=x", "precision=fp32")
    assert measurements == []
    assert saved() == "fp32"
    assert not Path("runs/x/precision.json").exists()


def keep(path: Path) -> None:
    """Leave the file as it is."""


def damage(path: Path) -> None:
    path.write_bytes(b"\xff{")


def make_foreign(path: Path) -> None:
    path.write_text(json.dumps({"format": 999, "entries": []}))


def damage_entries(path: Path) -> None:
    content = json.loads(path.read_text())
    content["entries"] = [1, {"key": 2}, {**content["entries"][0], "bf16_microseconds": 0}]
    path.write_text(json.dumps(content))


def take_from_another_cpu(path: Path) -> None:
    content = json.loads(path.read_text())
    content["entries"][0]["key"]["cpu"] = "another"
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "is_measured_anew"),
    [
        (keep, False),
        (damage, True),
        (make_foreign, True),
        (damage_entries, True),
        (take_from_another_cpu, True),
    ],
)
def test_the_cache_keeps_the_times(
    change: Callable[[Path], None], is_measured_anew: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, FASTER)
    assert machine_precision._load_or_measure(STANDARD, CPU, backward=True) == FASTER
    path = Path(os.environ["GANTRAIN_CACHE"], "precision.json")
    change(path)
    measurements = pretend(monkeypatch, SLOWER)
    for _ in range(2):
        assert machine_precision._load_or_measure(STANDARD, CPU, backward=True) == (
            SLOWER if is_measured_anew else FASTER
        )
    assert len(measurements) == is_measured_anew
    assert not list(path.parent.glob("*.lock"))


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FASTER)
    monkeypatch.setattr(machine_precision, "_MOST_KEPT", 3)
    path = Path(os.environ["GANTRAIN_CACHE"], "precision.json")
    for channels in range(1, 6):
        convolution = Convolution(
            False, channels, 4, (3, 3), (1, 1), groups=1, batch=1, height=8, width=8
        )
        machine_precision._load_or_measure([convolution], CPU, backward=True)
    kept = [entry["key"]["convolutions"][0][1] for entry in json.loads(path.read_text())["entries"]]
    assert kept == [3, 4, 5]


def test_a_cache_that_cannot_be_written_costs_only_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measurements = pretend(monkeypatch, FASTER)
    Path("a file").touch()
    monkeypatch.setenv("GANTRAIN_CACHE", "a file/cache")
    for _ in range(2):
        assert machine_precision._load_or_measure([SMALLEST], CPU, backward=True) == FASTER
    assert len(measurements) == 2


def lose_record() -> None:
    Path("runs/x/precision.json").unlink()


def damage_record() -> None:
    damage(Path("runs/x/precision.json"))


def keep_record() -> None:
    """Leave it."""


@pytest.mark.slow
@pytest.mark.parametrize("change", [keep_record, lose_record, damage_record])
def test_a_resumed_run_keeps_its_choice(
    change: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, FASTER)
    run_here(*RUN, "run=x", "length=4")
    change()
    os.remove(Path(os.environ["GANTRAIN_CACHE"], "precision.json"))  # it is another machine's
    pretend(monkeypatch, SLOWER)
    capsys.readouterr()
    run_here(*RUN, "run=x", "length=8")
    said = capsys.readouterr().out
    says = "precision: auto stays bf16, as this run began; for a new run it would be fp32 on this machine"
    assert says in said
    assert "runs/x/precision.json is damaged" in said or change is not damage_record
    assert saved() == recorded() == "bf16"


def test_a_machine_without_the_instructions_keeps_a_runs_bf16(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, FASTER)
    run_here(*RUN, "run=x", "length=4")
    monkeypatch.setattr(machine_precision, "has_bf16", lambda device: False)
    capsys.readouterr()
    run_here(*RUN, "run=x", "length=8")
    assert "fp32 on this machine: this CPU has no bf16 instructions" in capsys.readouterr().out
    assert saved() == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "expected"), [("8", "bf16"), ("16", "fp32")], ids=["same", "another"]
)
def test_a_run_that_was_killed_before_its_first_checkpoint(
    width: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same recipe keeps its choice; another one in the folder makes its own."""
    pretend(monkeypatch, FASTER)
    start_and_kill(monkeypatch)
    os.remove(Path(os.environ["GANTRAIN_CACHE"], "precision.json"))
    pretend(monkeypatch, SLOWER)
    run_here(*RUN, "run=x", f"method.generator.width={width}")
    assert saved() == expected


@pytest.mark.slow
def test_all_stages_have_one_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    measurements = pretend(monkeypatch, FASTER)
    run_here(*RUN, "run=x", "length=4", "stages=[{}, {data: {size: [16, 16]}, batch_size: 2}]")
    assert len(measurements) == 1
    assert saved() == recorded() == "bf16"


def test_a_dry_run_says_what_would_be_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, FASTER)
    assert run_here(*RUN, "run=x", "dry_run=true") == "dry run"
    assert "precision: auto is bf16: bf16 is " in capsys.readouterr().out
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("device", "has", "expected", "reason"),
    [
        ("cuda", True, "bf16", ", which this GPU computes"),
        ("cuda", False, "fp32", ": this GPU computes no bf16"),
        ("cpu", False, "fp32", ": this CPU has no bf16 instructions"),
    ],
)
def test_other_hardware_is_not_measured(
    device: str, has: bool, expected: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurements = pretend(monkeypatch, FASTER)
    monkeypatch.setattr(machine_precision, "has_bf16", lambda device: has)
    world: Any = SimpleNamespace(device=torch.device(device), gather=lambda value: [value], size=1)
    assert machine_precision.judge_machine(world, STANDARD) == machine_precision.Verdict(
        expected, reason
    )
    assert measurements == []


def test_doctor_prints_both_times_and_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FASTER)
    monkeypatch.setattr(doctor, "_SECONDS", 0.05)
    monkeypatch.setenv("COLUMNS", "500")
    for words, name in (((), "bf16"), (("recipe=quickstart", *RUN), "precision")):
        result = CliRunner().invoke(app, ["doctor", *words])
        assert result.exit_code == 0, result.output
        rows = {line.split()[0]: line for line in result.output.splitlines()}
        assert (
            "precision=auto is bf16: bf16 is 1.83 times as fast as fp32 here (3 convolutions take 1 ms in bf16 and 1.83 ms in fp32)"
            in rows[name]
        )


def test_one_convolution_takes_its_time() -> None:
    assert machine_precision.describe_times(Times(366, 142), 1).endswith(
        "(1 convolution takes 0.142 ms in bf16 and 0.366 ms in fp32)"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("lacking", "expected"), [("", "bf16"), ("1", "fp32")])
def test_rank_0_decides_for_all_ranks(lacking: str, expected: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    worker = str(Path(__file__).with_name("precision_worker.py"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [*launcher, worker, lacking, *RUN, "run=x"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert saved() == expected
    if lacking:
        assert "auto is fp32: the CPU of rank 1 has no bf16 instructions" in done.stdout
