"""launchers/slurm/train.sbatch on a real cluster: two nodes of two processes each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import NODES, Cluster, wait_until
from comparing import assert_identical, tensors
from conftest import ROOT, SMALL, run_here

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(
        os.environ.get("GANTRAIN_TEST_SLURM") != "1",
        reason="starts a SLURM cluster: set GANTRAIN_TEST_SLURM=1 (needs slurmctld, slurmd, munge)",
    ),
]

SCRIPT = ROOT / "launchers" / "slurm" / "train.sbatch"
LENGTH = 800
RUN = (*SMALL, "batch_size=8", f"length={LENGTH}", "checkpoint.every=80", "evaluate.max_samples=4")
RUN = ("recipe=quickstart", *RUN, "run=x")
BOTH = ("--nodes=2", str(SCRIPT))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        # As a user would: the environment that has gantrain is active.
        started.env["PATH"] = f"{Path(sys.executable).parent}:{started.env['PATH']}"
        yield started


@pytest.fixture(autouse=True)
def _see_the_cache(cluster: Cluster) -> None:
    cluster.env["GANTRAIN_CACHE"] = os.environ["GANTRAIN_CACHE"]


def log(job: str, run: str = "x") -> str:
    return Path(f"runs/{run}/slurm-{job}.log").read_text()


def status(run: str = "x") -> dict[str, object]:
    content: dict[str, object] = json.loads(Path(f"runs/{run}/status.json").read_text())
    return content


def steps() -> int:
    """How many steps the run has told of."""
    path = Path("runs/x/metrics.jsonl")
    return len(path.read_text().splitlines()) if path.is_file() else 0


def wait_for_steps(cluster: Cluster, job: str, count: int = 2) -> None:
    """Until the run is on its way."""
    wait_until(
        lambda: steps() >= count or cluster.job(job)["JobState"] == "FAILED",
        240,
        f"{count} log points of job {job}",
    )
    assert cluster.job(job)["JobState"] == "RUNNING", log(job)


def wait_for_restart(cluster: Cluster, job: str, count: int) -> None:
    wait_until(lambda: cluster.job(job)["Restarts"] == str(count), 120, f"job {job} is requeued")


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The weights of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = cluster.submit(*BOTH, *RUN, cwd=folder)
    ended = cluster.wait(job)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "0"), log(job)
        assert "batch 8 = 4 ranks x 2 images" in log(job)
        assert log(job).endswith("the run is finished\n")
        assert status()["state"] == "finished"
        assert not list(folder.glob("slurm-*"))
        return dict(tensors("x", LENGTH))
    finally:
        os.chdir(before)


def finishes_alike(cluster: Cluster, job: str, undisturbed: dict[str, object]) -> None:
    assert cluster.wait(job)["JobState"] == "COMPLETED", log(job)
    assert status()["state"] == "finished"
    assert_identical(tensors("x", LENGTH), undisturbed)


def test_told_to_leave_goes_on_by_itself_but_not_for_ever(
    cluster: Cluster, undisturbed: dict[str, object]
) -> None:
    """By the signal that comes ahead of the time limit."""
    job = cluster.submit(*BOTH, *RUN, MAX_REQUEUES="1")
    wait_for_steps(cluster, job)
    cluster.run("scancel", "--batch", "--signal=USR1", job)
    wait_for_restart(cluster, job, 1)
    assert "the job has to end" in log(job)
    state = status()
    assert state["state"] == "unfinished"
    wait_for_steps(cluster, job, steps() + 2)
    assert f"resuming at image {state['images_seen']}" in log(job)

    cluster.run("scancel", "--batch", "--signal=USR2", job)
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "1")
    assert "not requeued: MAX_REQUEUES is 1" in log(job)
    assert status()["state"] == "unfinished"
    finishes_alike(cluster, cluster.submit(*BOTH, *RUN), undisturbed)


def test_preempted_by_another_job(cluster: Cluster, undisturbed: dict[str, object]) -> None:
    """SLURM sends SIGTERM to everything, and waits for GraceTime."""
    job = cluster.submit(*BOTH, *RUN)
    wait_for_steps(cluster, job)
    urgent = cluster.submit("--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 3")
    wait_for_restart(cluster, job, 1)
    state = status()
    assert state["state"] == "unfinished", log(job)
    assert cluster.wait(urgent)["JobState"] == "COMPLETED"
    finishes_alike(cluster, job, undisturbed)
    assert f"resuming at image {state['images_seen']}" in log(job)


def test_preempted_while_it_starts(cluster: Cluster) -> None:
    job = cluster.submit(*BOTH, *RUN)
    wait_until(Path(f"runs/x/slurm-{job}.log").is_file, 60, "its log")
    urgent = cluster.submit("--partition=urgent", "--nodes=2", "--exclusive", "--wrap=true")
    wait_for_restart(cluster, job, 1)
    assert not Path("runs/x/status.json").exists(), log(job)
    assert "the run has not begun in this job" in log(job)
    cluster.run("scancel", urgent, job)
    cluster.wait(job)


@pytest.mark.parametrize("node", NODES)
def test_killed_node(cluster: Cluster, undisturbed: dict[str, object], node: str) -> None:
    """The first one has the job's script and rank 0."""
    job = cluster.submit(*BOTH, *RUN)
    wait_until(lambda: list(Path("runs/x/checkpoints").glob("0*")), 180, "a checkpoint")
    cluster.kill_node(node)
    wait_for_restart(cluster, job, 1)
    cluster.start_node(node)
    finishes_alike(cluster, job, undisturbed)
    assert "resuming at image" in log(job)


def test_cancelled_by_its_user_stays_cancelled(cluster: Cluster) -> None:
    job = cluster.submit(*BOTH, *RUN)
    wait_for_steps(cluster, job)
    cluster.run("scancel", job)
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "0")
    assert status()["state"] == "unfinished", log(job)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("recipe=quickstart", "batch_size=banana"), "gantrain: batch_size: found 'banana'"),
        (("recipe=unknown",), "gantrain: recipe: found 'unknown'"),
        (("recipe=pix2pix", "data=not/there"), "gantrain: data.train: "),
        (("recipe=quickstart", "batch_size=3"), "gantrain: batch_size: found 3, which 2 ranks"),
    ],
)
def test_mistake_is_told_and_not_repeated(
    cluster: Cluster, words: tuple[str, ...], says: str
) -> None:
    job = cluster.submit(str(SCRIPT), *SMALL, *words, "run=x")
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0")
    assert says in log(job)


def test_mistake_in_an_unfinished_run_is_not_repeated(cluster: Cluster) -> None:
    """Its status is from an earlier job."""
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/status.json").write_text('{"state": "unfinished"}')
    job = cluster.submit(str(SCRIPT), "recipe=quickstart", "batch_size=banana", "run=x")
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0")


def test_site_file_gpus_and_spaces(cluster: Cluster) -> None:
    """Set up on each node; all GPUs; relative paths; spaces in words and folders."""
    shutil.copytree(SCRIPT.parent.parent, "my launchers")
    site = Path("my launchers/slurm/env.sh")
    assert all(line.startswith("#") or not line for line in site.read_text().splitlines())
    site.write_text('container=(env FROM_SITE=yes)\necho "$SLURMD_NODENAME: $CUDA_VISIBLE_DEVICES"')
    Path("own.yaml").write_text("extends: quickstart\ndescription: mine\n")
    words = ("recipe=./own.yaml", *SMALL, "length=2 epochs", "dry_run=true")
    job = cluster.submit("--nodes=2", "my launchers/slurm/train.sbatch", *words)
    assert cluster.wait(job)["JobState"] == "COMPLETED"
    text = log(job, "own")
    assert "length: 2 epochs" in text
    assert "= 4 ranks x " in text
    for node in NODES:
        assert f"{node}: 0,1" in text


def test_without_gantrain(cluster: Cluster) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "bare"], check=True)
    path = f"{Path.cwd()}/bare/bin:{cluster.env['PATH']}"
    job = cluster.submit(str(SCRIPT), "recipe=quickstart", PATH=path, PYTHONPATH="")
    ended = cluster.wait(job)
    assert (ended["JobState"], ended["Restarts"]) == ("FAILED", "0")
    assert "cannot import gantrain; activate its environment in" in log(job, "quickstart")


def test_name_that_is_no_folder(cluster: Cluster) -> None:
    """gantrain refuses it; nothing is written elsewhere."""
    job = cluster.submit(str(SCRIPT), "recipe=quickstart", "run=../x")
    assert cluster.wait(job)["JobState"] == "FAILED"
    assert "gantrain: run: found '../x'" in Path(f"slurm-{job}.log").read_text()
    assert not Path("../x").exists()


def test_an_arrays_task_is_requeued_alone(cluster: Cluster) -> None:
    """Its commented line, uncommented. One of two tasks is told to leave."""
    shutil.copytree(SCRIPT.parent.parent, "launchers")
    script = Path("launchers/slurm/train.sbatch")
    script.write_text(script.read_text().replace('# set -- "$@" "seed=', 'set -- "$@" "seed='))
    array = cluster.submit("--array=0-1", str(script), *RUN)
    wait_until(lambda: list(Path("runs/maps_0").glob("metrics*")), 240, "steps of the first")
    cluster.run("scancel", "--batch", "--signal=USR1", f"{array}_0")
    wait_until(lambda: cluster.job(f"{array}_0")["Restarts"] == "1", 120, "it is requeued")
    assert cluster.job(f"{array}_1")["Restarts"] == "0"
    assert "seed: 1" in Path("runs/maps_1/recipe.yaml").read_text()
    cluster.run("scancel", array)
    cluster.wait(array)


def test_benchmark_over_node_counts(cluster: Cluster, tmp_path: Path) -> None:
    """One result of one and two nodes, with two processes on each."""
    words = ("recipe=quickstart", *SMALL, "--per-device=2", "--steps=1", "--repeats=1")
    script = str(SCRIPT.with_name("benchmark.sbatch"))
    job = cluster.submit(
        "--nodes=2", script, *words, RESULTS=str(tmp_path / "out"), PROCESSES_PER_NODE="2"
    )
    ended = cluster.wait(job)
    text = Path(f"benchmark-{job}.log").read_text()
    assert ended["JobState"] == "COMPLETED", text
    (file,) = (tmp_path / "out").glob("throughput-*.json")
    rows = [row for row in json.loads(file.read_text())["rows"] if row["loop"] == "gantrain"]
    assert [(row["devices"], row["batch"]) for row in rows] == [(2, 4), (4, 8)]
    assert "x 2 device" in rows[1]


def test_evaluation_over_nodes(cluster: Cluster) -> None:
    """Four processes find what one finds."""
    run_here(*SMALL, "batch_size=8", "length=16", "run=x", "evaluate.max_samples=4")
    words = ("runs/x", "--metrics", "l1,fd_random0", "--out", "found.json")
    job = cluster.submit(
        "--nodes=2", str(SCRIPT.with_name("evaluate.sbatch")), *words, PROCESSES_PER_NODE="2"
    )
    ended = cluster.wait(job)
    assert ended["JobState"] == "COMPLETED", Path(f"evaluate-{job}.log").read_text()
    several = json.loads(Path("found.json").read_text())
    subprocess.run([sys.executable, "-m", "gantrain", "evaluate", *words], check=True)
    one = json.loads(Path("found.json").read_text())
    assert [r["value"] for r in several] == pytest.approx([r["value"] for r in one], rel=1e-6)
    assert {r["n"] for r in several} == {64}
