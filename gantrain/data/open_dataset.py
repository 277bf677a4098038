"""Open what `data.train` may be: shards, here or remote, images (packed once), synthetic data."""

import math
import os
from dataclasses import replace
from pathlib import Path

from gantrain.core import formats
from gantrain.core.console import say
from gantrain.core.errors import UserError
from gantrain.core.paths import check_not_special
from gantrain.data.cache import cache_folder
from gantrain.data.field_checks import check_fields_of
from gantrain.data.kinds.kind import NotLabels
from gantrain.data.kinds.table import KINDS
from gantrain.data.layout_advice import advise_layout, choose_layout
from gantrain.data.listing import is_ignored
from gantrain.data.prepare.hints import read_note
from gantrain.data.prepare.layouts import UnclearLayout
from gantrain.data.prepare.left_out import TooManyLeftOut
from gantrain.data.prepare.pack import pack_once
from gantrain.data.prepare.pack_report import REPORT_FILE
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.remote import index_folder
from gantrain.data.request import DataRequest
from gantrain.data.shard_names import expand_pattern
from gantrain.data.shards import Shards
from gantrain.data.splits import SYNTHETIC, find_split, find_two_sets
from gantrain.data.synthetic import describe_synthetic, write_synthetic
from gantrain.data.urls import check_url, is_url, where

# Samples of synthetic data, fewer where they are large.
_DRAWN = {
    "train": 400,
    "validation": 64,
    "train_target": 320,
    "validation_target": 48,
    "test": 64,
    "test_target": 48,
}
_PIXELS = 400 * 128 * 128  # about what is drawn in a few seconds
_DRAWING = 5  # raised when the drawing changes, so that no old pictures are used


def open_domains(key: str, value: str | None, request: DataRequest) -> list[Shards]:
    """Open the set of pairs, or the set of sources and that of targets, and check its fields.

    key: `train`, `validation` or `test`. Raises UserError, one line for each contradiction with
    the recipe. Call it on one process.
    """
    if request.unpaired is None:
        requests = {key: (value, request)}
    else:
        targets = request.unpaired.targets_of(key)
        source, target = find_two_sets(key, value, targets, request.is_for_evaluate)
        requests = {
            key: (source, replace(request, source=request.unpaired.source, target="")),
            f"{key}_target": (target, replace(request, source="", target=request.unpaired.target)),
        }
    opened = {name: open_set(name, place, part) for name, (place, part) in requests.items()}
    for name, shards in opened.items():
        check_fields_of(name, shards, requests[name][1])
    return list(opened.values())


def open_set(key: str, value: str | None, request: DataRequest) -> Shards:
    """Open (first make, where needed) the data set that a key of `data` names.

    key: such as `train`. Raises UserError in one line. Call it on one process.
    """
    try:
        return _open(key, value, request)
    except ValueError as error:
        raise UserError(f"{request.option(key)}: {error}") from None
    except OSError as error:
        place = f"{error.filename or value} ({error.strerror})"
        advice = (
            f"data sets are kept in {cache_folder()}, and the environment's GANTRAIN_CACHE names"
            " another folder"
        )
        raise UserError(f"{request.option(key)}: cannot use {place}; {advice}") from None


def _open(key: str, value: str | None, request: DataRequest) -> Shards:
    if value is None:
        raise UserError(_describe_not_set(key, request))
    if value == SYNTHETIC:
        return _open_synthetic(key, request)
    place = value
    pattern = ""
    if value.endswith(".tar"):
        place, pattern = os.path.split(value)
    if is_url(value):
        folder = index_folder(check_url(place), cache_folder() / "remote")
    else:  # unlike Path.expanduser, this leaves the ~ of an unknown user in place
        folder = Path(os.path.expanduser(place))
    check_not_special(folder, "found")
    check_not_special(folder / "index.json", "found")
    if pattern or (folder / "index.json").is_file():
        shards = Shards.open(folder, request.cache_gib)
        if pattern:
            _check_pattern(pattern, shards)
        # The index of a folder may come from anybody.
        if shards.index.is_remote and not is_url(value):
            say(f"{request.option(key)}: the shards lie {where(shards.place)}")
        return shards
    _check_images(key, folder, request)
    packed = _pack(key, folder, request)
    _print_report(request.option(key), folder, packed / REPORT_FILE)
    return Shards.open(packed)


def _describe_not_set(key: str, request: DataRequest) -> str:
    """Return the error about a key that names no data."""
    split = "train" if key.startswith("train") else "test"
    advice = "give a folder of shards or images"
    if key.endswith("_target"):
        sources = request.option(key.removesuffix("_target"))
        advice += f", or as {sources} a folder that holds {split}A and {split}B"
    return f"not set; {advice}{_alternative(key, request)}"


def _alternative(key: str, request: DataRequest) -> str:
    """Return, after "; ", how to go on without data of one's own; "" for `gantrain evaluate`."""
    if request.is_for_evaluate:
        return ""
    if key.startswith("train"):
        return "; data=synthetic tries the recipe"
    return f"; data.{key.partition('_')[0]}=null trains without"


def _check_pattern(pattern: str, shards: Shards) -> None:
    """Raises UserError where a pattern names other shards than the index lists."""
    listed = [shard.name for shard in shards.index.shards]
    names = expand_pattern(pattern)
    if listed != names:
        lists = f"{shards.place}/index.json lists {len(listed)} ({listed[0]} ... {listed[-1]})"
        raise UserError(f"{pattern} names {len(names)} shards, {lists}; give the folder instead")


def _check_images(key: str, folder: Path, request: DataRequest) -> None:
    """Raises UserError where `folder` is none, or holds tars instead of images."""
    if not folder.is_dir():
        recipe = request.recipe.split("_")[0]
        advice = HOW_TO.get(recipe, "check the path (relative to where you start)")
        advice = advice.format(out=folder, split="train" if key.startswith("train") else "val")
        raise UserError(f"no folder {folder}; {advice}{_alternative(key, request)}")
    if any(not is_ignored(tar.name) for tar in folder.glob("*.tar")):
        raise UserError(
            f"{folder} holds tars but no index.json; copy the whole data set again, or `gantrain"
            " index` others' tars"
        )


def _print_report(option: str, folder: Path, report: Path) -> None:
    """Print the counts of what was left out when `folder` was packed, and the notes."""
    lines = report.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    counts = [line[:-1] for line in lines if line.endswith((" unmatched:", " left out:"))]
    if counts:
        say(f"{option}: {' and '.join(counts)} of the files in {folder}; see {report}")
    for line in lines:
        note = read_note(line)
        if note:
            say(f"{option}: {note}")


def _pack(key: str, folder: Path, request: DataRequest) -> Path:
    """Pack a folder of images in the cache, unless it is there, and return the pack's folder."""
    fields = [name for name in (request.source, *request.further_sources, request.target) if name]
    labels = sorted(name for name in request.labels if name in fields)
    classes = max((request.labels[name] for name in labels), default=None)
    split = find_split(key, folder, request.is_for_evaluate)
    try:
        return pack_once(
            folder,
            cache_folder() / "packed",
            layout=choose_layout(folder, [*fields, *request.kinds]),
            split=split,
            labels=labels,
            kinds=request.kinds,
            classes=classes,
            max_left_out=request.max_left_out,
        )
    except UnclearLayout as e:
        advice = advise_layout(
            key, request.is_for_evaluate, folder, fields=fields, options=e.options
        )
        raise UserError(f"{e.reason}; {advice}") from None
    except ValueError as e:
        command = f"`gantrain prepare {folder} --out OUT`"
        if request.is_for_evaluate:
            advice = f"; give such options to {command}, and OUT here"
            raise UserError(f"{e}{advice if '--' in str(e) else ''}") from None
        text = str(e)
        if isinstance(e, TooManyLeftOut):  # which a key of the recipe allows, too
            text = f"{e.reason}; data.max_left_out={e.fraction:g} goes on without them"
        if "--" in text:
            text += f"; these are options of {command}, and then {request.option(key)}=OUT"
        if isinstance(e, NotLabels) and labels:
            text += f"; data.labels.{labels[0]} states the number of classes here"
        for role, requested in request.inputs.items():
            prepare_option = KINDS[requested.kind].prepare_option if requested.kind else ""
            if prepare_option and prepare_option in text:
                text += f"; or set data.inputs.{role}=null"
        raise UserError(text) from None


def _open_synthetic(key: str, request: DataRequest) -> Shards:
    """Open synthetic data with the request's fields and size, and draw them where they are needed.

    Where the request needs no samples, data that are not there yet are only described.
    """
    height, width = request.resize or request.size
    names = [request.source, request.target]
    if not request.source:
        names = [request.target]
    elif not request.target:
        # The source of unpaired data looks like that of pairs: a map, not the photograph.
        names = [request.source, "photograph"]
    inputs = dict(request.kinds)
    for name in request.further_sources:
        if name in request.labels:
            names.insert(1, name)
        else:
            inputs[name] = "image"
    fields = {name: request.labels.get(name) for name in names}
    text = "-".join(f"{name}{classes or ''}" for name, classes in fields.items())
    for name, kind in inputs.items():
        text += f"+{name}-{kind}"
    # Data of an older format or drawing lie in another folder.
    version = f"{_DRAWING}.{formats.INDEX}"
    folder = cache_folder() / f"{SYNTHETIC}-{version}" / f"{key}-{text}-{height}x{width}"
    samples = min(_DRAWN[key], max(32, _PIXELS // (height * width)))
    if not request.needs_samples and not (folder / "index.json").is_file():
        index = describe_synthetic(samples, height, width, fields=fields, inputs=inputs)
        return Shards(folder, index, arrays={}, cache_gib=math.inf)
    seed = list(_DRAWN).index(key)
    write_synthetic(folder, samples, height, width, fields=fields, seed=seed, inputs=inputs)
    return Shards.open(folder)
