"""Signals, launchers and threads, through real processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparing import assert_identical, tensors
from conftest import ROOT, SMALL, command, launch, run_here
from processes import alive, ranks_of, start

from gantrain.training.stop_signal import StopFlag

LONG = (
    *SMALL,
    "batch_size=8",
    "length=1000000",
    "checkpoint.every=1000000",
    "previews.every=900000",
)
LONG = (*LONG, "evaluate.every=900000", "data.validation=null")


def status() -> dict[str, object]:
    content: dict[str, object] = json.loads(Path("runs/x/status.json").read_text())
    return content


def wait_for_steps(process: subprocess.Popen[str]) -> None:
    """Until the first log point."""
    assert process.stdout
    for line in process.stdout:
        if re.search(r"\d+/1000000", line):
            return
    raise AssertionError("the run ended by itself")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "name", "to"),
    [
        (1, "SIGTERM", "rank"),
        pytest.param(2, "SIGUSR1", "rank", marks=pytest.mark.exhaustive),
        (2, "SIGTERM", "launcher"),
        pytest.param(2, "SIGHUP", "launcher", marks=pytest.mark.exhaustive),
        pytest.param(2, "SIGTERM", "all", marks=pytest.mark.exhaustive),
    ],
)
def test_signal_saves_and_leaves_and_the_command_goes_on(ranks: int, name: str, to: str) -> None:
    process = start(command(ranks, *LONG, "run=x"))
    wait_for_steps(process)
    launched = [process.pid] if ranks == 1 else ranks_of(process.pid)
    targets = {"rank": launched[-1:], "launcher": [process.pid], "all": [*launched, process.pid]}
    for target in targets[
        to
    ]:  # `all`: as schedulers do it, ranks get it twice, once from the launcher
        os.kill(target, getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    if to == "rank":  # torchrun turns a signal of its own into status 1
        assert process.returncode == 0, output
    state = status()
    assert state["state"] == "unfinished"
    seen = state["images_seen"]
    assert isinstance(seen, int)
    assert seen % 8 == 0
    assert tensors("x", seen)
    words = [*LONG[:-1], "run=x", f"length={seen + 16}"]
    output = launch(ranks, *words)
    assert f"resuming at image {seen}" in output
    assert status()["state"] == "finished"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="threads' names are told by /proc")
def test_no_thread_of_the_ranks_group_outlives_it() -> None:
    """One that does may abort the process while Python shuts down."""
    words = [*command(2)[:-2], str(Path(__file__).with_name("leaving_worker.py"))]
    done = subprocess.run([*words, *LONG, "run=x"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("gloo's threads: []") == 2


def test_only_a_later_second_signal_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # where the tests run in the background it is ignored
    with StopFlag("SIGUSR1") as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        stop.poll()
        assert stop.agreed
        assert not left
        monkeypatch.setattr("gantrain.training.stop_signal._SAME_SECONDS", -1.0)
        signal.raise_signal(signal.SIGUSR1)
        assert left == [128 + signal.SIGUSR1]
        monkeypatch.setattr("gantrain.training.stop_signal._SAME_SECONDS", 5.0)
    signal.raise_signal(signal.SIGINT)  # a late copy does not cut the run's end short
    monkeypatch.setattr("gantrain.training.stop_signal._SAME_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_to_every_process_leaves_the_loader_working(name: str) -> None:
    """As Ctrl-C in a terminal and schedulers send it."""
    words = ["data.workers=2" if word == "data.workers=0" else word for word in LONG]
    process = start(command(1, *words, "run=x"))
    wait_for_steps(process)
    os.killpg(process.pid, getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert status()["state"] == "unfinished"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux")
def test_no_rank_outlives_its_launcher() -> None:
    """`accelerate launch` with one process does not pass SIGTERM on."""
    words = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=1", "--cpu"]
    process = start([*words, *command(1, *LONG, "run=x")[1:]])
    wait_for_steps(process)
    (rank,) = ranks_of(process.pid)
    process.kill()
    for _ in range(300):
        if status()["state"] == "unfinished" and not alive(rank):
            break
        time.sleep(0.1)
    assert status()["state"] == "unfinished"
    assert not alive(rank)
    process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="who has adopted a process is told by /proc")
def test_no_rank_outlives_a_launcher_that_dies_while_it_starts() -> None:
    """Before a rank has asked the kernel to tell it: it would look for the launcher's store for
    hours.
    """
    process = start(command(2, *LONG, "run=x"))
    while len(ranks := ranks_of(process.pid)) < 2:
        time.sleep(0.05)
    process.kill()
    output, _ = process.communicate(timeout=100)  # ends when the last of them has closed its output
    assert "launcher is gone" in output
    for _ in range(100):
        if not any(map(alive, ranks)):
            break
        time.sleep(0.1)
    assert not any(map(alive, ranks))
    assert not Path("runs/x/status.json").exists()


@pytest.mark.exhaustive
def test_launcher_restarts_a_killed_rank() -> None:
    short = (*LONG[:-3], "data.validation=null", "run=x", "length=1200", "checkpoint.every=80")
    launcher = command(2, *short)
    process = start([*launcher[:3], "--max-restarts=2", *launcher[3:]])
    assert process.stdout
    for line in process.stdout:
        if " 160/1200" in line:
            os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
            break
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert re.search(r"resuming at image \d+", output)
    assert status()["state"] == "finished"
    launch(2, *short, "run=undisturbed")
    assert_identical(tensors("x", 1200), tensors("undisturbed", 1200))


@pytest.mark.slow
def test_launcher_does_not_retry_a_users_mistake() -> None:
    launcher = command(2, *SMALL[:1], "method=survey", "device=cpu")
    done = subprocess.run(
        [*launcher[:3], "--max-restarts=3", *launcher[3:]],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stderr.count("gantrain: data.size: found [32, 32], the discriminator needs") == 1


@pytest.mark.slow
def test_accelerate_launch_uses_the_cores_and_gives_the_same_weights() -> None:
    """The launcher sets one thread; ours is cores over ranks, as without it."""
    short = (*[w for w in SMALL if not w.startswith("threads")], "batch_size=8", "length=32")
    short = (*short, "checkpoint.every=32", "evaluate.every=32", "previews.every=32")
    words = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=1", "--cpu"]
    for name, how in [("path", command(1)[1:2]), ("module", ["-m", "gantrain.train"])]:
        done = subprocess.run(
            [*words, *how, "recipe=quickstart", *short, f"run={name}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        assert f"on cpu, {cores} thread" in done.stdout
    run_here(*short, "run=here")
    assert_identical(tensors("path", 32), tensors("here", 32))
    assert_identical(tensors("module", 32), tensors("here", 32))


@pytest.mark.exhaustive
def test_script_works_from_any_folder() -> None:
    words = [sys.executable, str(ROOT / "gantrain" / "train.py"), "recipe=pix2pix", "dry_run=true"]
    done = subprocess.run([*words, "data=synthetic"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for text in ("54,4", "epochs of 400 images each", "batch 8 = 1 rank x 8 images"):
        assert text in done.stdout
    assert not Path("runs").exists()
