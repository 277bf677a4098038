"""What a run prints: a live page on a terminal, plain lines elsewhere. Rank 0 only."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False)


def complain(text: str) -> None:
    """A problem, set apart on stderr: launchers add text of their own around it."""
    print(f"\n{text}\n", file=sys.stderr, flush=True)


class _Page(Progress):
    """A bar over the latest values."""

    values: tuple[str, ...] = ()

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Columns(self.values, padding=(0, 3))


class Display:
    """Progress of a run; `quiet` ranks show nothing."""

    def __init__(self, start: int, total: int, quiet: bool) -> None:
        self.quiet, self.total = quiet, total
        self.values: dict[str, float] = {}
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = quiet or not console.is_terminal
        self.page = _Page(*columns, console=console, disable=hidden, refresh_per_second=4)
        self.task = self.page.add_task("images", total=total, completed=start)

    def __enter__(self) -> "Display":
        self.page.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.page.stop()

    def advance(self, images_seen: int) -> None:
        self.page.update(self.task, completed=min(images_seen, self.total))

    def show(self, images_seen: int, values: dict[str, float]) -> None:
        """A log point's values."""
        self.values |= values
        self.page.values = tuple(_shown(*item) for item in self.values.items())
        if self.quiet or not self.page.disable:
            return
        rate, left = values.get("images_per_second"), ""
        if rate:
            left = f"{timedelta(seconds=round(max(0, self.total - images_seen) / rate))} left"
        now, shown = time.strftime("%H:%M:%S"), "  ".join(_shown(*item) for item in values.items())
        say(f"{now}  {images_seen}/{self.total}  {left}  {shown}")


def _shown(name: str, value: float) -> str:
    share = name == "data_wait" or "d_on_" in name
    return f"{name} {value:.0%}" if share else f"{name} {value:.3g}"
