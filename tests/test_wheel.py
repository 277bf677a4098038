"""The wheel, installed where no clone of the repository is: what it carries works from another
folder.
"""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, SMALL

TINY = (*SMALL, "length=16", "batch_size=8", "evaluate.max_samples=4", "run=mine")


@pytest.fixture(scope="module")
def gantrain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel that was installed into an environment of its own.

    The environment sees this one's packages through a .pth file, so that nothing is downloaded.
    """
    pytest.importorskip("hatchling", reason="hatchling builds the package")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    scheme = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        script = archive.read(entry).decode().partition("gantrain = ")[2].split()[0]
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    module, _, function = script.partition(":")
    command = environment / "bin" / "gantrain"
    python = environment / "bin" / "python"
    command.write_text(
        f"#!{python}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    command.chmod(0o755)
    return command


def run(gantrain: Path, *words: str, status: int = 0) -> str:
    """What an installed command prints, in the test's folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [gantrain, *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.exhaustive
def test_an_installed_wheel_has_what_readme_shows(gantrain: Path) -> None:
    python = gantrain.with_name("python")
    where = [python, "-c", "import gantrain; print(gantrain.__file__)"]
    done = subprocess.run(
        where, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(gantrain.parent.parent))
    assert "gantrain 0." in run(gantrain, "--version")
    assert "CMP facades" in run(gantrain, "recipes")
    assert "  lr: 0.00057  # the learning rate" in run(gantrain, "recipes", "show", "facades")
    assert "slurm/train.sbatch" in run(gantrain, "launchers")
    run(gantrain, "launchers", "all")
    assert Path("launchers/slurm/env.sh").is_file()
    assert not Path("launchers/slurm/benchmark.sbatch").exists()
    assert "everyday" in run(gantrain, "train", "--help").lower()
    assert "starting a new run" in run(gantrain, "train", "recipe=quickstart", *TINY)
    assert "resuming at image 16" in run(
        gantrain, "train", "recipe=runs/mine/recipe.yaml", "length=24"
    )
    refused = run(gantrain, "train", "recipe=facades", "--lambda_L1", "50", status=2)
    assert "did you mean method.losses.l1=50?" in refused
