"""Starts runs as processes, and finds the processes of a launcher."""

import os
import subprocess
from pathlib import Path


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ranks_of(launcher: int) -> list[int]:
    text = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(launcher)], capture_output=True, text=True
    ).stdout
    return [int(word) for word in text.split()]


def alive(pid: int) -> bool:
    """Where nobody waits for it, a dead process stays as a zombie for a while."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
