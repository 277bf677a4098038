"""SIGKILL at random moments, also while a checkpoint is written: the same command always goes on.

A start takes seconds, nearly all of them imports. So most runs are forked from one process that has
imported everything: with one rank, or with two that find each other as torchrun's do. A few go
through torchrun, whose own death is one of the cases.
"""

import json
import os
import random
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import assert_identical, tensors
from conftest import SMALL, command, launch
from processes import alive, ranks_of, start
from safetensors.torch import load_file

KILLS = int(os.environ.get("GANTRAIN_TEST_KILLS", "100"))
LENGTH = 2400
RUN = (
    *SMALL,
    "batch_size=8",
    f"length={LENGTH}",
    "checkpoint.every=16",  # about a third of the time goes into writing them
    "checkpoint.keep=3",
    "checkpoint.best=0",
    "evaluate.every=800",
    "evaluate.max_samples=4",
    "previews.every=800",
    "log_every=160",
    "method.pool=16",
    "method.penalties=[{name: r1, interval_steps: 2}]",
    "method.generator.dropout=0.5",
    "ema.half_life=100",
)
CHECKPOINTS = Path("runs/parts/checkpoints")
Kill = Callable[[list[int]], None]


def whole_checkpoints() -> list[int]:
    """Images seen of each, all of which can be read; a torn one fails the test here."""
    found = []
    for state in sorted(CHECKPOINTS.glob("[0-9]*/state.json")):
        files = sorted(state.parent.rglob("*.safetensors"))
        assert len(files) == 6, files
        for file in files:
            load_file(file)
        found.append(json.loads(state.read_text())["images_seen"])
    return found


def finished() -> bool:
    status = Path("runs/parts/status.json")
    return status.is_file() and json.loads(status.read_text())["state"] == "finished"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def fork(ranks: int, run: str) -> list[int]:
    """Start the ranks of a run in children of this process."""
    # What a run imports on its way; the children find it there.
    import torch._dynamo  # noqa: F401
    import torchmetrics.functional.image  # noqa: F401

    from gantrain import train

    port, pids = free_port(), []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1)
                os.dup2(log, 2)
                if ranks > 1:
                    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": port,
                                   "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
                                   "MASTER_ADDR": "localhost"}  # fmt: skip
                train("quickstart", *RUN, f"run={run}")
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        pids.append(pid)
    return pids


def end(pids: list[int], seconds: float = 20) -> None:
    """Wait for all; who is still there then is killed, as launchers do: it may wait for a dead
    rank's store.
    """
    last, there = time.monotonic() + seconds, set(pids)
    while there:
        there -= {pid for pid in there if os.waitpid(pid, os.WNOHANG)[0]}
        if time.monotonic() > last:
            for pid in there:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def kill_until_finished(
    ranks: int, start: Callable[[], list[int]], longest: float, chance: random.Random
) -> tuple[int, int]:
    """Kills, and how many of them cut a checkpoint short."""
    kills, torn, last = 0, 0, 0
    while not finished():
        pids = start()
        time.sleep(chance.uniform(0.2, longest))
        victims = pids if chance.random() < 0.5 else [chance.choice(pids)]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        end(pids)
        kills += 1
        torn += bool(list(CHECKPOINTS.glob(".*.partial")))
        found = whole_checkpoints()
        assert (found or [0])[-1] >= last, "a whole checkpoint was lost"
        last = (found or [0])[-1]
        assert kills < 50 * KILLS, "it never gets to its end"
    return kills, torn


@pytest.mark.exhaustive
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_ranks_lose_nothing(ranks: int) -> None:
    for pid in fork(ranks, "whole"):
        assert os.waitpid(pid, 0)[1] == 0, Path("log.txt").read_text()[-2000:]
    reference, chance, kills, torn = tensors("whole", LENGTH), random.Random(ranks), 0, 0
    while kills < KILLS // 2:
        subprocess.run(["rm", "-rf", "runs/parts"], check=True)
        more, cut = kill_until_finished(
            ranks, lambda: fork(ranks, "parts"), 1.0 + 2 * ranks, chance
        )
        kills, torn = kills + more, torn + cut
        assert_identical(reference, tensors("parts", LENGTH))
        print(f"ranks: {ranks}, kills: {kills}, while a checkpoint was written: {torn}", flush=True)
    assert torn, "no kill met a checkpoint being written"


@pytest.mark.exhaustive
def test_killed_launchers_and_their_ranks_lose_nothing() -> None:
    launch(2, *RUN, "run=whole")
    chance = random.Random(0)
    for victim in ("launcher", "a rank", "all", "launcher", "a rank"):
        process = start(command(2, *RUN, "run=parts"))
        assert process.stdout
        for line in process.stdout:
            if " 160/" in line or "images_per_second" in line:
                break  # it trains
        time.sleep(chance.uniform(0, 1))
        ranks = ranks_of(process.pid)
        assert len(ranks) == 2, "killed too late"
        victims = {"launcher": [process.pid], "a rank": [chance.choice(ranks)]}
        for pid in victims.get(victim, [process.pid, *ranks]):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=100)  # ends when the last of them has closed its output
        assert not any(map(alive, ranks)), "an orphan"
        whole_checkpoints()
    launch(2, *RUN, "run=parts")
    assert_identical(tensors("whole", LENGTH), tensors("parts", LENGTH))
