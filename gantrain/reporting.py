"""Users' mistakes as lines without a traceback, and exit statuses."""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from gantrain.console import complain
from gantrain.run_stopped import RunStopped

_PACKAGE = Path(__file__).resolve().parent
_PATIENCE_SECONDS = 10


def reporting(work: Callable[[], None]) -> int:
    """Run a command; a user's mistake is told in lines without a traceback. Returns the status."""
    try:
        work()
    except (ValueError, RunStopped) as e:
        if not _is_ours(e):
            raise
        if os.environ.get("RANK", "0") == "0" or getattr(e, "alone", False):
            complain(f"gantrain: {e}")
        else:  # a launcher ends all ranks once one has left: rank 0 must have spoken by then
            time.sleep(_PATIENCE_SECONDS)
        _tell_torchelastic(e)
        if isinstance(e, ValueError):
            from gantrain.launcher import give_up

            give_up()
        return 2 if isinstance(e, ValueError) else 1
    except (MemoryError, RuntimeError) as e:
        from gantrain.out_of_memory import describe_request, is_out_of_memory

        if not is_out_of_memory(e):
            raise
        complain(f"gantrain: out of memory{describe_request(e)}; give smaller images, or another device")
        return 1
    return 0


def telling(command: Callable[..., None]) -> Callable[..., None]:
    """Have a command's mistakes told in lines."""

    @functools.wraps(command)
    def told(*arguments: Any, **options: Any) -> None:
        raise typer.Exit(reporting(lambda: command(*arguments, **options)))

    return told


def _is_ours(error: Exception) -> bool:
    """Whether gantrain raised it; a library's ValueError is a defect, and shows its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE)


def _tell_torchelastic(error: Exception) -> None:
    """Put the error where torchrun looks for the reason of a failure."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
