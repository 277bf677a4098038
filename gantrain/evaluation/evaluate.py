"""`gantrain evaluate`: a trained model on test sets, or one folder of images against another."""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from gantrain.core.console import cell
from gantrain.core.error_messages import check
from gantrain.core.files import write_text
from gantrain.core.paths import check_not_special
from gantrain.core.wording import option
from gantrain.core.world import World
from gantrain.data import channels
from gantrain.data.batch import as_batch, normalise
from gantrain.data.conversion_notes import summarise
from gantrain.data.decode import decode
from gantrain.data.scale import describe_held_out, held_out_notice
from gantrain.data.shards import Field
from gantrain.evaluation.evaluation_inputs import STANDARD, Opened, best_first, open_checkpoint
from gantrain.evaluation.held_out import HeldOut
from gantrain.inference.translate_files import images_by_stem
from gantrain.metrics import registry
from gantrain.metrics.metric_suite import EXTRACTOR_BATCH, MetricSuite, Record
from gantrain.metrics.registry import SEGMENTATION, of_set
from gantrain.recipe.data_request import data_request
from gantrain.recipe.schema import Evaluate

_PAIRED = ("l1", "psnr", "ssim")
_PACKAGES = ("gantrain", "torch", "torchvision", "torchmetrics", "torch_fidelity", "timm", "pillow")

Results = dict[str, list[Record]]  # by test set


def evaluate_checkpoint(
    world: World,
    path: Path,
    data: Mapping[str, str | None],
    options: Mapping[str, Any],
    targets: Mapping[str, str] | None = None,
    best: bool = False,
) -> tuple[Results, dict[str, Any]]:
    """A model's metrics on each of the test sets, and how it was run. Every rank calls it.

    Takes the arguments of `open_checkpoint`. Raises ValueError.
    """
    return measure(world, open_checkpoint(world, path, data, options, targets, best))


def measure(world: World, opened: Opened) -> tuple[Results, dict[str, Any]]:
    """A model's metrics on each of its opened test sets, and how it was run. Every rank calls
    it.
    """
    recipe, model = opened.recipe, opened.model
    names, fields = data_request(recipe).names, model.fields

    def batch(raw: dict[str, Tensor]) -> dict[str, Tensor]:
        return as_batch(
            {role: raw[name] for role, name in names.items()}, fields, torch.float32, world.device
        )

    notice = held_out_notice(recipe.data.size, recipe.data.resize)
    if notice is not None:
        world.say(notice)
    results: Results = {}
    for name, shards in opened.sets.items():
        held_out = HeldOut(
            recipe,
            world,
            shards,
            fields=fields,
            batch=batch,
            training=opened.training,
            diagnose=False,
        )
        results[name] = held_out.metrics(model.method)
        for text in sorted({text for texts in world.gather(held_out.damaged) for text in texts}):
            world.say(f"left out: {text}")
    averaged = recipe.ema.half_life is not None
    about = {
        "checkpoint": str(opened.folder),
        "ema": averaged,
        "test_time": recipe.test_time.model_dump(),
    }
    about |= {
        "size": recipe.data.size,
        "resized": recipe.data.resize,
        "crop_border": recipe.evaluate.crop_border,
    }
    about["scale"] = describe_held_out(recipe.data.size, recipe.data.resize)
    return results, {**about, "content": opened.contents}


def evaluate_folders(
    world: World, real: Path, fake: Path, options: Mapping[str, Any]
) -> tuple[Results, dict[str, Any]]:
    """The metrics of a folder of images against another. Every rank calls it.

    Files of the same names are pairs; without them, only metrics of sets can be asked for. options:
    of a recipe's `evaluate`; without metrics, STANDARD. Raises ValueError.
    """
    reals, fakes = (
        images_by_stem(option("real"), real, world.say),
        images_by_stem(option("fake"), fake, world.say),
    )
    paired = reals.keys() == fakes.keys()
    asked = check(
        Evaluate, best_first({"metrics": [*_PAIRED * paired, *STANDARD], **options}), "evaluate."
    )
    if needy := [
        name for name in asked.metrics if name in (*SEGMENTATION, "copy_index", "cycle_error")
    ]:
        raise ValueError(
            f"{option('metrics')}: {', '.join(needy)} need a model and its sources; give a"
            " checkpoint"
        )
    alone = [name for name in asked.metrics if not of_set(name)]
    if alone and not paired:
        first = min(reals.keys() ^ fakes.keys())
        found = f"{first} is in {real if first in reals else fake} alone"
        raise ValueError(
            f"{option('metrics')}: {', '.join(alone)} need pairs, files of one name in both"
            f" folders; {found}"
        )
    if not paired and "metrics" not in options:
        world.say(f"{', '.join(_PAIRED)} are left out: they need files of one name in both folders")
    paired = bool(alone)
    metric_suite = world.node_leader_first(
        lambda: MetricSuite(
            asked.metrics, world.device, asked.weights, len(fakes), asked.crop_border
        )
    )
    content = hashlib.sha256()
    for name in sorted(reals):
        content.update(hashlib.sha256(reals[name].read_bytes()).digest())
    known, problems = metric_suite.load_reference("real", content.hexdigest()), list[str]()
    notes: list[str] = []
    if paired:
        for target, made in _share(world, problems, notes, reals, fakes):
            metric_suite.add(made, target)
    for which, files in (("fake", fakes), ("real", {} if known else reals)):
        for (image,) in _share(world, problems, notes, {} if paired else files):
            metric_suite.add_images(which, image)
    world.raise_on_all_ranks(problems)
    for line in summarise(note for of_rank in world.gather(notes) for note in of_rank):
        world.say(line)
    if not known:
        metric_suite.store_reference("real", content.hexdigest())
    name = fake.absolute().name
    about = {
        "real": str(real),
        "fake": str(fake),
        "crop_border": asked.crop_border,
        "content": {name: content.hexdigest()},
    }
    return {name: metric_suite.results()}, about


def names(text: str) -> list[str]:
    """Of the metrics in `fid,l1`. Raises ValueError."""
    found = [name for part in text.split(",") if (name := part.strip())]
    for name in found or [""]:
        try:
            registry.check(name)
        except ValueError as e:
            raise ValueError(f"{option('metrics')}: found {name!r}, {e}") from None
    return found


def check_out(path: Path | None) -> None:
    """Before anything is measured. Raises ValueError."""
    if path:
        check_not_special(path, "--out")
    if path and not path.absolute().parent.is_dir():
        raise ValueError(f"--out: no folder {path.parent}; make it first")
    if path and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise ValueError(f"--out: {path} cannot be written; give another file")


def _share(
    world: World, problems: list[str], notes: list[str], *folders: Mapping[str, Path]
) -> Iterator[list[Tensor]]:
    """This rank's images, one of each folder; ends at one that can't be used, for the ranks to
    agree on.
    """
    for name in sorted(folders[0])[world.rank :: world.size]:
        try:
            images = [_read(files[name], world.device, notes) for files in folders]
            if len({x.shape[1] for x in images}) > 1:  # grey beside colour
                images = [x.expand(-1, 3, -1, -1) for x in images]
            if len({x.shape for x in images}) > 1:
                files = " and ".join(str(files[name]) for files in folders)
                sizes = " and ".join("x".join(map(str, x.shape[2:])) for x in images)
                raise ValueError(
                    f"{option('fake')}: {files} have sizes {sizes}; give pairs of one size"
                )
        except ValueError as e:
            problems.append(str(e))
            return
        yield images


def _read(file: Path, device: torch.device, notes: list[str]) -> Tensor:
    """An image of any depth as (1, 1 or 3, H, W) in [-1, 1], float64, alpha composited over white.

    notes: takes sentences on what was converted. Raises ValueError.
    """
    try:
        array = decode(file.read_bytes(), notes=notes)
    except (OSError, ValueError) as e:
        raise ValueError(f"{file}: cannot be read ({e}); remove it or give it again") from None
    if channels.has_alpha(array.shape[2]):
        with_alpha = array
        array = channels.fit(array, array.shape[2] - 1, "uint8", "image")
        if array is not with_alpha:
            notes.append(channels.note(with_alpha.shape[2], array.shape[2]))
    height, width, bands = array.shape
    if bands not in (1, 3):
        raise ValueError(
            f"{file}: has {bands} channels, allowed: 1 or 3; give it without its alpha"
        )
    size = (height, width)
    field = Field(
        member="image", channels=bands, dtype=array.dtype.name, min_size=size, max_size=size
    )
    return normalise(torch.from_numpy(array)[None], field, torch.float64, device)


def table(results: Results) -> Table:
    """For the console: a row for each set and metric."""
    shown = Table("set", "metric", "value", "null", "n", "null's n", box=None)
    for name, records in results.items():
        for record in records:
            value = record.problem if record.value is None else f"{record.value:.5g}"
            null = "" if record.null is None else f"{record.null:.5g}"
            shown.add_row(
                cell(name), record.name, cell(value), null, str(record.n), str(record.null_n or "")
            )
    return shown


def write_json(path: Path, results: Results, about: Mapping[str, Any]) -> None:
    """A list of records, each by itself complete."""
    write_records(path, records(results, about))


def records(results: Results, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record for each test set and metric, each by itself complete."""
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    common = {
        **about,
        "dtype": "float32",
        "extractor_batch": EXTRACTOR_BATCH,
        "versions": {name: installed[name] for name in _PACKAGES if name in installed},
    }
    contents = about["content"]
    return [
        {"set": name, **asdict(record), **common, "content": contents[name]}
        for name, several in results.items()
        for record in several
    ]


def write_records(path: Path, content: list[dict[str, Any]]) -> None:
    """Write records as JSON. Raises ValueError."""
    try:
        write_text(path, json.dumps(content, indent=1) + "\n")
    except OSError as e:
        raise ValueError(
            f"--out: cannot write {path} ({e.strerror}); make space, or give another file"
        ) from None
