"""`gantrain evaluate RUN RUN...`: measure several models on the same test sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gantrain.core.console import complain, console, say_whole
from gantrain.core.errors import UserError
from gantrain.core.wording import option, option_with
from gantrain.core.world import World
from gantrain.evaluation.comparison_table import Measured, describe
from gantrain.evaluation.evaluate import measure
from gantrain.evaluation.evaluate_results import records, write_records
from gantrain.evaluation.evaluation_inputs import Opened, open_checkpoint
from gantrain.runs import checkpoint


@dataclass
class Comparison:
    """The runs that were measured, and one line for each run that could not be."""

    measured: list[Measured] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def records(self) -> list[dict[str, object]]:
        """Return all records for a JSON file.

        There is one for each run, test set and metric, and one for each failed run.
        """
        content: list[dict[str, object]] = []
        for run in self.measured:
            about = {"run": run.run, "images_seen": run.images_seen, **run.about}
            content += records(run.results, about)
        for name, problem in self.problems.items():
            content.append({"run": name, "problem": problem})
        return content


def compare(
    world: World,
    paths: Sequence[Path],
    data: Mapping[str, str | None],
    options: Mapping[str, object],
    *,
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> Comparison:
    """Measure several models on the same test sets. Every rank calls it.

    paths: runs or checkpoints. The others are those of `open_checkpoint`. A run that cannot be used
    is left out. Raises UserError where `data` is empty and the runs' own held-out data differ.
    """

    def open_run(run: str) -> Opened:
        return open_checkpoint(world, Path(run), data, options, targets=targets, best=best)

    spellings: dict[Path, list[str]] = {}
    for path in paths:
        spellings.setdefault(path.resolve(), []).append(str(path))
    runs: list[str] = []
    for run, *repeated in spellings.values():
        runs.append(run)
        if repeated:
            world.say(f"{run}: given {1 + len(repeated)} times, compared once")
    comparison = Comparison()
    contents: dict[str, dict[str, str]] = {}
    for run in runs:  # all are tried before the first one is measured, which may take long
        try:
            contents[run] = open_run(run).contents
        except ValueError as e:
            comparison.problems[run] = _one_line(e)
    _check_same_content(contents)
    for run in contents:
        try:
            opened = open_run(run)
            results, about = measure(world, opened)
        except ValueError as e:
            comparison.problems[run] = _one_line(e)
            continue
        images_seen = checkpoint.state(opened.folder).images_seen
        comparison.measured.append(Measured(run, images_seen, results, about))
    return comparison


def compare_runs(
    world: World,
    paths: Sequence[Path],
    data: Mapping[str, str | None],
    options: Mapping[str, object],
    *,
    targets: Mapping[str, str],
    best: bool,
    out: Path | None,
) -> int:
    """Compare runs, print the tables and write the records to `out`. Every rank calls it.

    Returns the command's exit status: 1 where some of the runs could not be measured, and 2 where
    none could be.
    """
    comparison = compare(world, paths, data, options, targets=targets, best=best)
    if world.is_main:
        for line in describe(comparison.measured, console.width):
            say_whole(line)
        for run, problem in comparison.problems.items():
            complain(f"gantrain: {run}: {problem}")
        if out:
            write_records(out, comparison.records())
    if not comparison.problems:
        return 0
    return 1 if comparison.measured else 2


def _one_line(error: ValueError) -> str:
    return "; ".join(str(error).splitlines())


def _check_same_content(contents: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to compare runs with different held-out data. Raises UserError."""
    runs_of: dict[str, list[str]] = {}
    for run, content_by_set in contents.items():
        for content in content_by_set.values():
            runs_of.setdefault(content, []).append(run)
    different = {tuple(runs) for runs in runs_of.values() if len(runs) < len(contents)}
    if different:
        groups = " / ".join(", ".join(runs) for runs in sorted(different))
        raise UserError(
            f"{option('data')}: the runs have different held-out data ({groups}), so that their"
            " values cannot be compared; give the images to test all of them on:"
            f" {option_with('data', 'FOLDER')}"
        )
