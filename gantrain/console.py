"""What a run prints: a live table on a terminal, plain lines elsewhere. Rank 0 only."""

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False)


def complain(text: str) -> None:
    """A problem, set apart on stderr: launchers add text of their own around it."""
    print(f"\n{text}\n", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


class Display:
    """Progress of a run; `quiet` ranks show nothing."""

    def __init__(self, start: int, total: int, quiet: bool) -> None:
        self.quiet, self.total = quiet, total
        self.live: Live | None = None
        self.values: dict[str, float] = {}
        if not quiet and console.is_terminal:
            self.progress = Progress(
                TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=console,
            )  # fmt: skip
            self.task = self.progress.add_task("images", total=total, completed=start)
            self.live = Live(self._page(), console=console, refresh_per_second=4)

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def _page(self) -> Group:
        table = Table(box=None, show_header=False, pad_edge=False)
        for _ in range(6):
            table.add_column(justify="right")
        cells = [
            cell
            for name, value in self.values.items()
            for cell in (name, format_value(name, value))
        ]
        for i in range(0, len(cells), 6):
            table.add_row(*cells[i : i + 6])
        return Group(self.progress, table)

    def advance(self, images_seen: int) -> None:
        if self.live:
            self.progress.update(self.task, completed=min(images_seen, self.total))

    def show(self, images_seen: int, values: dict[str, float]) -> None:
        """A log point's values."""
        if self.quiet:
            return
        self.values = {**self.values, **values}
        if self.live:
            self.live.update(self._page())
            return
        rate = values.get("images_per_second")
        remaining = max(0, self.total - images_seen)
        left = f"{duration(remaining / rate)} left" if rate else ""
        shown = "  ".join(f"{k} {format_value(k, v)}" for k, v in values.items())
        say(f"{time.strftime('%H:%M:%S')}  {images_seen}/{self.total}  {left}  {shown}")


def format_value(name: str, value: float) -> str:
    if name == "data_wait" or "d_on_" in name:
        return f"{value:.0%}"
    return f"{value:.3g}"
