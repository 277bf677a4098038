"""launchers/accelerate: accelerate reads each file as it was meant, and starts gantrain with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from conftest import ROOT, SMALL

FOLDER = ROOT / "launchers" / "accelerate"
# Processes, machines, and whether accelerate starts torchrun, which alone starts several.
MEANT = {
    "cpu": (1, 1, False),
    "one_gpu": (1, 1, False),
    "eight_gpus": (8, 1, True),
    "multi_node": (16, 2, True),
}


def test_every_file_is_known_to_accelerate() -> None:
    files = sorted(FOLDER.glob("*.yaml"))
    assert set(MEANT) <= {file.stem for file in files}
    for file in files:
        assert load_config_from_file(str(file)).num_processes >= 1  # raises for an unknown key
        assert f"--config_file launchers/accelerate/{file.name}" in file.read_text()


@pytest.mark.parametrize("name", MEANT)
def test_what_accelerate_makes_of_it(name: str) -> None:
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), "-m", "gantrain.train"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    found = (arguments.num_processes, arguments.num_machines, bool(arguments.multi_gpu))
    assert found == MEANT[name]
    assert arguments.use_cpu == (name == "cpu")
    assert arguments.mixed_precision == "no"  # the recipe's precision holds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "ranks"),
    [
        ("cpu", [], 1),
        pytest.param("one_gpu", [], 1, marks=pytest.mark.exhaustive),
        pytest.param("eight_gpus", ["--num_processes=2"], 2, marks=pytest.mark.exhaustive),
        ("multi_node", ["--num_machines=1", "--num_processes=2", "--main_process_ip=127.0.0.1"], 2),
    ],
)
def test_it_starts(name: str, words: list[str], ranks: int) -> None:
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    config = ["--config_file", str(FOLDER / f"{name}.yaml"), *words]
    job = ["-m", "gantrain.train", "recipe=quickstart", *SMALL, "batch_size=8", "dry_run=true"]
    done = subprocess.run(
        [*launch, *config, *job],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert f"batch 8 = {ranks} rank{'s' * (ranks > 1)} x " in done.stdout
    assert not Path("runs").exists()
