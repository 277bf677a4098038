"""Prints the lines of a run, on a terminal above a progress bar. Only rank 0 prints."""

import sys
import textwrap

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from gantrain.core.printable import printable
from gantrain.core.progress_rows import (
    EVALUATION,
    Progress,
    TerminalRows,
    evaluation_rows,
    log_line,
)

console = Console(highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None, indent: int = 2) -> None:
    """Print a text of one or several lines; control characters in it are escaped.

    A terminal gets long lines broken between words, a log gets them whole. indent: spaces before
    the rest of a line that is broken.
    """
    safe = printable(text, allowed="\n\t")
    if console.is_terminal:
        safe = "\n".join(_break(line, console.width, indent) for line in safe.split("\n"))
    console.print(safe, style=style, markup=False, soft_wrap=True)


def _break(line: str, width: int, indent: int) -> str:
    """Break a line into as many as the width needs; a word that is longer stays whole."""
    return textwrap.fill(
        line,
        width,
        subsequent_indent="".ljust(indent),
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )


def say_whole(text: str, style: str | None = None) -> None:
    """Print a text whose lines stay whole on a terminal as well.

    Such lines are commands to paste, and rows that fit the width.
    """
    console.print(printable(text, allowed="\n"), style=style, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Print a problem on stderr between empty lines, since launchers print text around it."""
    print(f"\n{printable(text, allowed=chr(10))}\n", file=sys.stderr, flush=True)


def cell(text: str) -> str:
    """Return a text from outside, such as a file's name, as a cell of a rich table."""
    return escape(printable(text))


class Display:
    """Progress of a run; `quiet` ranks show nothing.

    epoch: images in one epoch.
    """

    def __init__(self, start: int, total: int, epoch: int, quiet: bool) -> None:
        self.quiet = quiet
        self.total = total
        self.epoch = epoch
        self.rows = TerminalRows()
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = quiet or not console.is_terminal
        self.bar = Bar(*columns, console=console, disable=hidden, refresh_per_second=4)
        self.task = self.bar.add_task("images", total=total, completed=start)

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def advance(self, images_seen: int) -> None:
        """Move the bar to the number of images seen."""
        self.bar.update(self.task, completed=min(images_seen, self.total))

    def show(self, images_seen: int, values: dict[str, float]) -> None:
        """Print a log point's values, or those of an evaluation."""
        if self.quiet or not values:
            return
        progress = Progress(images_seen, self.total, self.epoch)
        if not console.is_terminal:
            say(log_line(progress, values))
        elif all(name.startswith(EVALUATION) for name in values):
            for line in evaluation_rows(progress, values, console.width):
                say_whole(line)
        else:
            header, rows = self.rows.entry(progress, values, console.width)
            for line in header:
                say_whole(line, "bold")
            for line in rows:
                say_whole(line)
