"""Fixtures: drawn data, and runs through the real command line or in this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # before torch is imported: the workers share the cores

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
RECIPE_FILES = sorted((ROOT / "recipes").glob("*.yaml"))
RECIPE_NAMES = [path.stem for path in RECIPE_FILES]

# A small pix2pix: a second for a handful of steps. One thread: sums come in one order.
# The command's results equal those of `load()`, whose precision is always fp32 here.
TRANSLATE = ("translate", "--precision", "fp32")
SMALL = (
    "data.size=[32,32]",
    "data.workers=0",
    "method.generator.width=8",
    "method.generator.levels=3",
    "method.discriminator.width=8",
    "precision=fp32",
    "device=cpu",
    "threads=1",
    "trackers=[]",
    "log_every=16",
    "evaluate.metrics=[l1,psnr]",  # SSIM's torchmetrics takes each process a second to import
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session: the drawn data are the same in all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _environment(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts in a folder of its own and keeps away from the user's cache."""
    monkeypatch.setenv("GANTRAIN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A run that a signal stopped keeps its handlers until its process ends; the next test has
    the usual ones.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def facades() -> Path:
    folder = SHARED / "data" / "facades"
    if not folder.is_dir():
        pytest.skip("the facades photographs are not here (../shared/data/facades)")
    return folder


def command(ranks: int, *arguments: str, torchrun: bool = False) -> list[str]:
    """`train.py recipe=quickstart` in one process, or in several under torchrun (gloo)."""
    script = str(ROOT / "gantrain" / "train.py")
    if ranks == 1 and not torchrun:
        return [sys.executable, script, "recipe=quickstart", *arguments]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={ranks}", script, "recipe=quickstart", *arguments]


def launch(ranks: int, *arguments: str, torchrun: bool = False) -> str:
    """Run to the end; returns what it printed, and fails where the run did."""
    done = subprocess.run(
        command(ranks, *arguments, torchrun=torchrun),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_here(*arguments: str) -> str:
    """The same run in this process, which saves the start of one; returns its state."""
    from gantrain import train

    return train("quickstart", *arguments).state
