"""What `accelerate launch` says beyond the world, memory limits, schedules, checkpoints kept."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import SMALL, command, run_here

from gantrain.recipe import schema
from gantrain.runs import checkpoint
from gantrain.training import auto_micro_batch, batch_split, launcher
from gantrain.training.ddp import DDPPhase
from gantrain.training.launcher import agree_with_launcher, check_ranks
from gantrain.training.lr_schedule import rate
from gantrain.training.trainer import Trainer

RUN = (*SMALL, "batch_size=8", "length=64", "evaluate.every=16", "previews.every=64")


def test_launcher_settings_are_taken_as_the_recipes() -> None:
    said = {
        "ACCELERATE_USE_CPU": "True",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "WORLD_SIZE": "2",
    }
    agreed = agree_with_launcher(schema.load("pix2pix", ["batch_size=16"]), said)
    assert (agreed.precision, agreed.micro_batch_size, agreed.compile) == ("bf16", 2, True)
    assert agreed.device == "cpu"


def test_launcher_defaults_change_nothing() -> None:
    plain = schema.load("quickstart")
    said = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "no"}
    assert agree_with_launcher(plain, said) == plain


def world(size: int, *others: object) -> Any:
    """What `check_ranks` uses of a world whose other ranks say `others`."""

    class ParallelPhase:
        rank = size - 1

        def gather(self, value: object) -> list[object]:
            return [*others, value][:size]

        def raise_on_all_ranks(self, problems: list[str]) -> None:
            if problems:
                raise ValueError("\n".join(problems))

    ranks = ParallelPhase()
    ranks.size = size  # type: ignore[attr-defined]
    return ranks


@pytest.mark.parametrize(
    ("env", "by"),
    [
        ({"GANTRAIN_WORLD_SIZE": "4"}, "the SLURM script asked for 4 processes, found 1 "),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "srun started 2 processes, found 1 "),
    ],
)
def test_fewer_processes_than_asked_for_are_refused(env: dict[str, str], by: str) -> None:
    with pytest.raises(ValueError, match=f"launch: {by}.*launchers/accelerate"):
        check_ranks(world(1), schema.load("quickstart"), env)
    check_ranks(world(1), schema.load("quickstart"), {})


def test_ranks_with_another_recipe_or_other_code_are_refused() -> None:
    plain, longer = schema.load("quickstart", ["length=1"]), schema.load("quickstart", ["length=9"])
    code = launcher._code()
    check_ranks(world(2, {**plain.dump(), "code": code}), plain, {})
    with pytest.raises(
        ValueError,
        match=r"rank 1 was started with another recipe.*than rank 0: length: 9 -> 1; use",
    ):
        check_ranks(world(2, {**longer.dump(), "code": code}), plain, {})
    with pytest.raises(
        ValueError, match=f"rank 1 was .*other code than rank 0: code: 0123 -> {code}; use"
    ):
        check_ranks(world(2, {**plain.dump(), "code": "0123"}), plain, {})


@pytest.mark.slow
def test_accelerate_that_starts_one_process_for_two_is_refused() -> None:
    words = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=2"]
    done = subprocess.run([*words, *command(1, *SMALL)[1:]], capture_output=True, text=True)
    assert done.returncode == 1
    assert "launch: accelerate launch was asked for 2 processes, found 1 " in done.stderr


@pytest.mark.slow
def test_ranks_are_told_apart_by_what_they_were_given() -> None:
    """torchrun gives all the same; two shells on two machines may not."""
    words = command(2, *SMALL, "length=16")
    script = f'exec "{sys.executable}" "$@" seed=$RANK'
    launched = [*words[:5], "--no-python", "bash", "-c", script, "bash", *words[5:]]
    done = subprocess.run(launched, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "gantrain: launch: rank 1 was started with another recipe or " in done.stderr
    assert " than rank 0: seed: 0 -> 1" in done.stderr


@pytest.mark.parametrize("most", [1, 3, 5, 12])
def test_largest_micro_batch_divides_and_fits(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_micro_batch, "_fits", lambda setup, size: size <= most)
    world = SimpleNamespace(device=torch.device("cuda"), gather=lambda value: [True, value])
    data = SimpleNamespace(split=batch_split.split(12, 1, None))
    setup: Any = SimpleNamespace(data=data, world=world)
    assert auto_micro_batch.largest_micro_batch(setup) == {1: 1, 3: 3, 5: 4, 12: 12}[most]
    world.device = torch.device("cpu")
    assert auto_micro_batch.largest_micro_batch(setup) == 12


def test_batch_line() -> None:
    assert str(batch_split.split(16, 8, None)) == "batch 16 = 8 ranks x 2 images x 1 accumulation"
    assert str(batch_split.split(16, 2, 1)) == "batch 16 = 2 ranks x 1 image x 8 accumulation"


def test_out_of_memory_is_one_line_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from gantrain.training.step import Engine
    from gantrain.training.trainer import RunStopped

    def step(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Engine, "step", step)
    with pytest.raises(RunStopped, match="with 8 images per backward pass; try micro_batch_size=4"):
        run_here(*RUN, "run=x")
    status = json.loads(Path("runs/x/status.json").read_text())
    assert status["state"] == "failed"
    assert "out of memory" in status["reason"]
    assert "graph" not in status["reason"]

    # The order that keeps the generator's graph is named, where a step has one backward pass.
    with pytest.raises(RunStopped, match="the generator's graph takes memory while"):
        run_here(*RUN, "run=y", "method.order=discriminator_first")
    with pytest.raises(RunStopped) as stopped:
        run_here(*RUN, "run=z", "method.order=discriminator_first", "micro_batch_size=2")
    assert "graph" not in str(stopped.value)


def test_run_that_is_never_finite_stops_and_names_the_last_good_checkpoint() -> None:
    from gantrain.training.trainer import RunStopped

    run_here(*RUN, "run=x", "length=16", "checkpoint.every=16")
    broken = ("optimizer.lr=1e30", "max_nonfinite=2")
    run_here(*RUN, "run=y", "length=16", *broken)
    with pytest.raises(RunStopped, match=r"not finite; the last good checkpoint is .*000000016"):
        run_here(*RUN, "run=y", "length=800", *broken)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_schedule(name: str) -> None:
    def at(images: int) -> float:
        return rate(name, images, total=1000, decay_fraction=0.5, warmup=100)

    assert at(0) == pytest.approx(0.01)
    assert at(99) == at(500) == 1
    assert at(1000) == (1 if name == "constant" else pytest.approx(0))
    assert at(750) == (1 if name == "constant" else pytest.approx(0.5))


@pytest.mark.slow
def test_last_and_best_checkpoints_are_kept() -> None:
    run_here(*RUN, "run=x", "checkpoint.every=32", "checkpoint.keep=1")
    kept = checkpoint.list_checkpoints(Path("runs/x/checkpoints"))
    rows = [json.loads(line) for line in Path("runs/x/metrics.jsonl").read_text().splitlines()]
    scores = {row["images_seen"]: row["val_l1"] for row in rows if "val_l1" in row}
    assert set(scores) == {16, 32, 48, 64}
    best = min(scores, key=scores.__getitem__)
    assert [int(folder.name) for folder in kept] == sorted({best, 64})


@pytest.mark.slow
def test_metrics_after_the_checkpoint_are_forgotten_on_resume() -> None:
    run_here(*RUN, "run=x", "length=32")
    path = Path("runs/x/metrics.jsonl")
    with path.open("a") as file:
        file.write('{"images_seen": 48, "l1": 9}\n{"images_se')
    run_here(*RUN, "run=x")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["images_seen"] for row in rows] == sorted(row["images_seen"] for row in rows)
    assert all(row.get("l1") != 9 for row in rows)


@pytest.mark.slow
def test_torn_checkpoint_is_never_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    run_here(*RUN, "run=x", "length=32", "checkpoint.every=16", "checkpoint.keep=9")
    folders = checkpoint.list_checkpoints(Path("runs/x/checkpoints"))
    assert [f.name for f in folders] == ["000000016", "000000032"]
    (folders[-1] / "state.json").unlink()
    (folders[-1].parent / ".000000048.partial").mkdir()
    capsys.readouterr()
    run_here(*RUN, "run=x", "length=32", "checkpoint.every=16", "checkpoint.keep=9")
    assert capsys.readouterr().out.startswith("resuming at image 16\n")
    assert not list(folders[-1].parent.glob(".*"))


def test_channels_last_state_goes_back_to_its_strides() -> None:
    """Fused Adam would pair the wrong elements, silently."""
    weight = torch.nn.Parameter(torch.randn(4, 6, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn(4, 6, 3, 3)
    first = torch.optim.Adam([weight], fused=True)
    first.step()
    saved = {
        k: v.contiguous()
        for k, v in DDPPhase(torch.nn.Module(), first).state({weight: "w"}).items()
    }
    second = torch.optim.Adam([weight], fused=True)
    DDPPhase(torch.nn.Module(), second).load_state(saved, {weight: "w"})
    for key, value in first.state[weight].items():
        assert torch.equal(value, second.state[weight][key])
        assert value.stride() == second.state[weight][key].stride()


def test_a_lost_ranks_neighbour_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Trainer) -> bool:
        raise RuntimeError("[pair.cc:538] Connection closed by peer [127.0.0.1]:4711")

    monkeypatch.setattr(Trainer, "_loop", lost)
    with pytest.raises(RuntimeError, match="closed by peer"):
        run_here(*RUN, "run=x")
    status = json.loads(Path("runs/x/status.json").read_text())
    assert status["state"] == "failed"
    assert status["reason"].startswith(
        "another rank is gone, whose own output says why; RuntimeError: "
    )
