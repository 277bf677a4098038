"""The lock of a run's folder."""

import errno
import fcntl
import os

import pytest

from gantrain.recipe import schema
from gantrain.runs.run_folder import Run


def test_second_writer_waits_a_while_and_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gantrain.runs.run_folder._PATIENCE_SECONDS", 1)
    loaded = schema.load("quickstart")
    first = Run(loaded)
    with pytest.raises(ValueError, match="is being written by another process"):
        Run(loaded)
    assert capsys.readouterr().out.startswith("waiting for process")
    first.close()
    Run(loaded).close()


def test_file_system_without_locks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(ValueError, match=r"cannot lock runs/quickstart \(Function not implemented"):
        Run(schema.load("quickstart"))
