"""Prints users' mistakes as lines without a traceback, and chooses the exit status."""

import functools
import inspect
import os
import time
from collections.abc import Callable

import typer

from gantrain.cli.options import Imports
from gantrain.core.console import complain
from gantrain.core.errors import RunStopped, UserError
from gantrain.core.extensions import import_modules
from gantrain.core.wording import speaking_as_command

_PATIENCE_SECONDS = 10


def reporting(work: Callable[[], None]) -> int:
    """Run a command, print a user's mistake without a traceback, and return the exit status."""
    try:
        with speaking_as_command():
            work()
    except (UserError, RunStopped) as e:
        is_only_here = isinstance(e, RunStopped) and e.alone
        if os.environ.get("RANK", "0") == "0" or is_only_here:
            complain(f"gantrain: {e}")
        else:  # a launcher ends all ranks once one has left: rank 0 prints its message first
            time.sleep(_PATIENCE_SECONDS)
        _record_for_torchelastic(e)
        if isinstance(e, UserError):
            from gantrain.training.launcher import stop_without_retry

            stop_without_retry()
        return 2 if isinstance(e, UserError) else 1
    except (MemoryError, RuntimeError) as e:
        from gantrain.core.out_of_memory import describe_request, is_out_of_memory

        if not is_out_of_memory(e):
            raise
        complain(
            f"gantrain: out of memory{describe_request(e)}; give smaller images, or another device"
        )
        return 1
    return 0


def reports_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that its mistakes are printed in lines and it has the option `--import`."""

    @functools.wraps(command)
    def wrapped(
        *arguments: object, own_modules: list[str] | None = None, **options: object
    ) -> None:
        def work() -> None:
            import_modules(own_modules or ())
            command(*arguments, **options)

        raise typer.Exit(reporting(work))

    _add_import_option(command, wrapped)
    return wrapped


def _add_import_option(command: Callable[..., None], wrapped: Callable[..., None]) -> None:
    """Add the parameter `own_modules` where typer looks for a command's options."""
    option = inspect.Parameter(
        "own_modules", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Imports
    )
    signature = inspect.signature(command)
    parameters = [*signature.parameters.values(), option]
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {**command.__annotations__, "own_modules": Imports}


def _record_for_torchelastic(error: Exception) -> None:
    """Put the error where torchrun looks for the reason of a failure."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)
