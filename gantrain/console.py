"""What a run prints: lines, on a terminal over a bar. Rank 0 only."""

import sys
import time
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gantrain.printable import printable

console = Console(highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """Print a text of one or several lines; control characters in it are escaped."""
    console.print(printable(text, kept="\n\t"), style=style, markup=False)


def complain(text: str) -> None:
    """A problem, set apart on stderr: launchers add text of their own around it."""
    print(f"\n{printable(text, kept=chr(10))}\n", file=sys.stderr, flush=True)


def cell(text: str) -> str:
    """A text from outside, such as a file's name, as one of a rich table's cells."""
    return escape(printable(text))


class Display:
    """Progress of a run; `quiet` ranks show nothing."""

    def __init__(self, start: int, total: int, quiet: bool) -> None:
        self.quiet, self.total = quiet, total
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = quiet or not console.is_terminal
        self.bar = Progress(*columns, console=console, disable=hidden, refresh_per_second=4)
        self.task = self.bar.add_task("images", total=total, completed=start)

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def advance(self, images_seen: int) -> None:
        self.bar.update(self.task, completed=min(images_seen, self.total))

    def show(self, images_seen: int, values: dict[str, float]) -> None:
        """A log point's values."""
        if self.quiet:
            return
        rate, left = values.get("images_per_second"), ""
        if rate:
            left = f"{timedelta(seconds=round(max(0, self.total - images_seen) / rate))} left"
        now, shown = time.strftime("%H:%M:%S"), "  ".join(_shown(*item) for item in values.items())
        say(f"{now}  {images_seen}/{self.total}  {left}  {shown}")


def _shown(name: str, value: float) -> str:
    share = name == "data_wait" or "d_on_" in name
    return f"{name} {value:.0%}" if share else f"{name} {value:.3g}"
