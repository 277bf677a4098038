"""The hardware and the versions of a measurement, without what identifies the machine."""

import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import torch

from gantrain.core.threads import cores
from gantrain.core.world import cpu_model

_HERE = Path(__file__).resolve().parent
_PACKAGES = ("torch", "gantrain", "numpy", "Pillow")


def hardware() -> dict[str, object]:
    """Return the CPU, the cores and the GPUs."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    name = cpu_model().partition(", cpu family")[0]
    return {"cpu": name, "cores": cores(), "gpu": ", ".join(gpus) or None}


def versions(further: Sequence[str] = ()) -> dict[str, object]:
    """Return the versions of Python, of packages, and of a checkout of gantrain (its commit).

    further: the names of further packages.
    """
    known: dict[str, object] = {"python": python_version()}
    for name in (*_PACKAGES, *further):
        known[name.lower()] = version(name)
    known["commit"] = _commit()
    return known


def _commit() -> str | None:
    """Return the commit, with `-dirty` if tracked files differ from it."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=_HERE, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def without_paths(content: object) -> object:
    """Return the content with each absolute path cut to its last name.

    Results are published, and must not show the machine.
    """
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value) for value in content]
    if isinstance(content, str):
        return re.sub(r"(?<![\w.])[~/][^\s,]*/(?=[^\s,])", "", content)
    return content
