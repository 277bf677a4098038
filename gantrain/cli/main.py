"""The `gantrain` command as a process.

It prints one line for a mistake in options, and nothing on a closed pipe.
"""

import difflib
import os
import sys
from typing import Any

import typer
from pydantic import ValidationError

from gantrain.cli.app import app
from gantrain.core.console import complain
from gantrain.core.error_messages import describe_first_problem
from gantrain.recipe.renamed_keys import NEW_OPTIONS

# click's error in a command line. Newer versions of typer have a copy of click of their own.
_UsageError: Any = typer.BadParameter.__mro__[1]
_VERSION = "; did you mean `gantrain --version`?"
_INTERRUPTED = 130  # the status that the parser gives for Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    command = typer.main.get_command(app)
    try:
        status = command.main(words or ["--help"], prog_name="gantrain", standalone_mode=False)
        sys.stdout.flush()
        if status == _INTERRUPTED:
            complain(
                "gantrain: interrupted; what was written whole stays, and the same command goes on"
            )
    except _UsageError as error:
        complain(f"gantrain: {_describe(error)}")
        return 2
    except BrokenPipeError:  # as of `gantrain recipes | head -1`
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _describe(error: Any) -> str:
    """Describe a mistake in a command line in one line: what is wrong, and what helps."""
    path = error.ctx.command_path if error.ctx else "gantrain"
    command = path.removeprefix("gantrain").strip()
    message = " ".join(error.format_message().split())
    if isinstance(error.__cause__, ValidationError):  # whose text lacks the value
        problem = describe_first_problem(error.__cause__)
        message = f"{' / '.join(error.param.opts)}: {problem}"
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        message = _describe_unknown(option, _options(error.ctx))
    message = message[0].lower() + message[1:].rstrip(".")
    start = f"{command}: " if command else ""
    return f"{start}{message}; see {path} --help"


def _describe_unknown(option: str, options: list[str]) -> str:
    """Describe an option that the command does not have: its new name, or what helps."""
    new_option = NEW_OPTIONS.get(option)
    if new_option in options:
        return f"{option} is called {new_option} now"
    advice = _VERSION if option == "--version" else _similar(option, options)
    return f"found {option}, which is no option{advice}"


def _options(context: Any) -> list[str]:
    """Return the names of all options of the command that click was reading."""
    options: list[str] = []
    for parameter in context.command.params:
        options += [name for name in parameter.opts if name.startswith("-")]
    return options


def _similar(option: str, options: list[str]) -> str:
    names = {name.strip("-"): name for name in options}
    close = difflib.get_close_matches(option.strip("-"), names, 1)
    if close:
        return f"; did you mean {names[close[0]]}?"
    return f"; allowed: {', '.join(options) or 'none'}"
