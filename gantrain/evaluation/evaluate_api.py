"""Evaluation from Python."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gantrain.core.errors import UserError
from gantrain.core.world import World
from gantrain.data.ranges import Range, check_range
from gantrain.evaluation.evaluate import evaluate_checkpoint
from gantrain.evaluation.evaluate_folders import evaluate_folders
from gantrain.evaluation.evaluate_options import metric_names
from gantrain.evaluation.set_names import name_targets
from gantrain.metrics.metric_suite import Record

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one or more test sets.

    A record has the metric's `value` and the number `n` of images. For metrics of sets it also has
    the `null`, which is the value that equally many real images get. If there is no value, `value`
    is None and `problem` gives the reason.

    Attributes:
        sets: The records by test set and by metric.
        about: What was measured, and how.
    """

    sets: dict[str, dict[str, Record]]
    about: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Record]:
        """The records of the only test set by metric.

        Raises UserError where there are several sets.
        """
        if len(self.sets) != 1:
            raise UserError(
                f"metrics: found the sets {', '.join(self.sets)}, allowed: one; take sets[NAME]"
            )
        return next(iter(self.sets.values()))

    @property
    def values(self) -> dict[str, float | None]:
        """The values of the only test set by metric.

        Raises UserError where there are several sets.
        """
        return {name: record.value for name, record in self.metrics.items()}

    @property
    def nulls(self) -> dict[str, float | None]:
        """The values of real images by metric, for the only test set.

        Raises UserError where there are several sets.
        """
        return {name: record.null for name, record in self.metrics.items()}

    def __repr__(self) -> str:
        lines = [f"Evaluation of {self.about.get('checkpoint') or self.about.get('fake')}"]
        for name, records in self.sets.items():
            for record in records.values():
                lines.append(f"  {name}  {_describe(record)}")
        return "\n".join(lines)


def evaluate(  # noqa: PLR0913 (the command's options)
    run: Place | None = None,
    data: Place | Mapping[str, Place] | None = None,
    *,
    data_target: Place | Mapping[str, Place] | None = None,
    best: bool = False,
    real: Place | None = None,
    fake: Place | None = None,
    metrics: Sequence[str] | None = None,
    weights: Mapping[str, Place] | None = None,
    crop_border: int | None = None,
    range: tuple[float, float] | None = None,
    device: str = "auto",
) -> Evaluation:
    """Measure a trained model on test sets, or compare two folders of images.

    Images are measured as their files hold them, in float64 sums. L1 and L2 are of values in [-1,
    1]. PSNR and the spectrum are in dB. It works in one process and in each process of a launcher.

    Args:
        run: A run, whose latest checkpoint is measured, or one checkpoint.
        data: One test set, or several by name, in any form that `data.validation` takes. None takes
            the held-out data of the recipe.
        data_target: The targets of unpaired test sets, if `data` holds only the sources.
        best: Measures the best checkpoint of the run instead of its latest one.
        real: A folder of real images, to compare with `fake` instead of a run. Files of the same
            names are pairs.
        fake: A folder of generated images.
        metrics: The names of the metrics, such as `["l1", "fid"]`. None takes those of the recipe,
            and those that need no weights.
        weights: Files of weights by network, such as `{"inception": FILE}`.
        crop_border: The number of pixels at each edge that the metrics of pairs leave out. None
            takes the value of the recipe.
        range: The values of black and of white in two folders of 16-bit images or floats. None
            takes the range of their dtype, and refuses images that use little of it. A run has the
            range of its training set.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        The metrics by test set.

    Raises:
        UserError: The arguments or the data have mistakes. The text has one line for each.
    """
    for name, path in (("run", run), ("real", real), ("fake", fake)):
        _check_one_path(name, path)
    by_name = "; several are a dictionary by name, as in"
    if not isinstance(data, Mapping):
        _check_one_path("data", data, f"{by_name} data={{'day': 'a', 'night': 'b'}}")
    if not isinstance(data_target, Mapping):
        _check_one_path("data_target", data_target, f"{by_name} `data`")
    has_run_options = bool(data or data_target or best)
    is_of_run = run is not None and real is None and fake is None
    is_of_folders = run is None and real is not None and fake is not None
    if not is_of_run and not (is_of_folders and not has_run_options):
        raise UserError(
            "evaluate: found another choice, allowed: a run, and data if you like; or real and fake"
        )
    if range is not None and not is_of_folders:
        raise UserError(f"range: found {range!r:.60}, allowed: none, since a run has its own range")
    options: dict[str, object] = {} if crop_border is None else {"crop_border": crop_border}
    if weights is not None:
        options["weights"] = _checked_weights(weights)
    if metrics is not None:
        options["metrics"] = metric_names(_joined(metrics))
    test_sets = _named(data)
    with World(device) as world:
        if run is not None:
            targets = name_targets(_as_texts(data_target), list(test_sets))
            results, about = evaluate_checkpoint(
                world, Path(run), test_sets, options, targets=targets, best=best
            )
        else:
            assert real is not None
            assert fake is not None
            results, about = evaluate_folders(
                world, Path(real), Path(fake), options, values_range=_checked_range(range)
            )
    sets: dict[str, dict[str, Record]] = {}
    for name, records in results.items():
        sets[name] = {record.name: record for record in records}
    return Evaluation(sets, dict(about))


def _check_one_path(
    name: str, value: object, advice: str = "; call evaluate() for each of several"
) -> None:
    """Refuse what is no path, such as a list. Raises UserError."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise UserError(f"{name}: found {type(value).__name__}, allowed: one path{advice}")


def _checked_range(values: object) -> Range | None:
    """Return a range of values. Raises UserError for what is none."""
    if values is None:
        return None
    numbers: list[float] = []
    if isinstance(values, tuple | list):
        numbers = [float(value) for value in values if isinstance(value, int | float)]
    if not isinstance(values, tuple | list) or len(values) != 2 or len(numbers) != 2:
        raise UserError(f"range: found {values!r:.60}, allowed: two numbers, as in range=(0, 4095)")
    try:
        return check_range((numbers[0], numbers[1]))
    except UserError as error:
        raise UserError(f"range: found {values!r:.60}, {error}") from None


def _checked_weights(weights: object) -> dict[str, str]:
    """Return the files of weights by network.

    Raises UserError for what is no dictionary of paths.
    """
    allowed = "a dictionary of files by network, as in weights={'inception': 'inception.pth'}"
    if not isinstance(weights, Mapping):
        raise UserError(f"weights: found {weights!r:.100}, allowed: {allowed}")
    checked: dict[str, str] = {}
    for name, file in weights.items():
        if not isinstance(name, str) or not isinstance(file, str | os.PathLike):
            entry = f"{{{name!r:.50}: {file!r:.50}}}"
            raise UserError(f"weights: found {entry}, allowed: {allowed}")
        checked[name] = os.fspath(file)
    return checked


def _joined(metrics: object) -> str:
    """Return the names of metrics as one text. Raises UserError for what is no list of texts."""
    if isinstance(metrics, str):
        return metrics
    if not isinstance(metrics, Sequence) or not all(isinstance(name, str) for name in metrics):
        raise UserError(
            f"metrics: found {metrics!r:.60}, allowed: a list of names, as in metrics=['l1', 'fid']"
        )
    return ",".join(metrics)


def _named(data: Place | Mapping[str, Place] | None) -> dict[str, str | None]:
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return {name: os.fspath(place) for name, place in data.items()}
    return {Path(data).absolute().name: os.fspath(data)}


def _as_texts(targets: Place | Mapping[str, Place] | None) -> list[str]:
    """Return the targets as texts of `--data-target`."""
    if targets is None:
        return []
    if isinstance(targets, Mapping):
        return [f"{name}={os.fspath(place)}" for name, place in targets.items()]
    return [os.fspath(targets)]


def _describe(record: Record) -> str:
    if record.value is None:
        return f"{record.name}: no value ({record.problem})"
    null = "" if record.null is None else f", null {record.null:.5g}"
    return f"{record.name} {record.value:.5g} (n {record.n}{null})"
