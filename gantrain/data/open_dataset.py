"""What `data.train` may be: shards, here or remote, images (packed once), or drawn images."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gantrain.core.amounts import count_text
from gantrain.core.console import say
from gantrain.core.paths import check_not_special
from gantrain.core.wording import option_of_set
from gantrain.data.batch import channels
from gantrain.data.cache import cache_folder
from gantrain.data.channels import can_fit, note
from gantrain.data.layout_advice import advise_layout, choose_layout
from gantrain.data.listing import is_ignored
from gantrain.data.prepare.hints import read_note
from gantrain.data.prepare.layouts import UnclearLayout
from gantrain.data.prepare.left_out import TooManyLeftOut
from gantrain.data.prepare.pack import pack_once
from gantrain.data.prepare.where_to_get import HOW_TO
from gantrain.data.remote import index_folder
from gantrain.data.shards import Field, Shards
from gantrain.data.splits import SYNTHETIC, find_split, find_two_sets
from gantrain.data.synthetic import write_synthetic
from gantrain.data.unpaired import DataSet
from gantrain.data.urls import check_url, is_url, where

# Samples, fewer where they are large.
_DRAWN = {
    "train": 400,
    "validation": 64,
    "train_target": 320,
    "validation_target": 48,
    "test": 64,
    "test_target": 48,
}
_PIXELS = 400 * 128 * 128  # about what is drawn in a few seconds
_MOST_NAMES = 1_000_000  # that a pattern of shards may stand for
_MOST_DIGITS = 20  # of a number in one
VALIDATION = "data.validation"  # the recipe's key of the held-out data
_DRAWING = 5  # raised when the drawing changes, so that no old pictures are used


class UnpairedRequest(NamedTuple):
    """An unpaired recipe's two sets: the field of each, and where the targets are."""

    source: str
    target: str
    train: str | None
    validation: str | None
    test: str | None = None


@dataclass(frozen=True)
class DataRequest:
    """What a recipe asks of its data.

    source, target: the samples' fields; of one of two unpaired sets, the other's is "". instances:
    that of their ids. test_set: the name of a test set that `gantrain evaluate` was given. Errors
    then name that command's options, and no key of a recipe."""

    recipe: str
    source: str
    target: str
    labels: dict[str, int]  # field -> classes
    size: tuple[int, int]
    resize: tuple[int, int] | None
    cache_gib: float = math.inf
    apart: UnpairedRequest | None = None
    instances: str | None = None
    max_left_out: float = 0.5
    test_set: str | None = None

    @property
    def is_for_evaluate(self) -> bool:
        return self.test_set is not None

    def option(self, key: str) -> str:
        """What the user wrote to give the data of a key such as `train`: a recipe's key, or a
        command's option.
        """
        return f"data.{key}" if self.test_set is None else option_of_set(key, self.test_set)

    @property
    def names(self) -> dict[str, str]:
        """The samples' fields by role."""
        names = {"source": self.source, "target": self.target, "instances": self.instances}
        return {role: name for role, name in names.items() if name}


def open_sides(key: str, value: str | None, wanted: DataRequest) -> list[Shards]:
    """The set of pairs, or the set of sources and that of targets; opened, and checked against the
    recipe.

    key: `train`, `validation` or `test`. Raises ValueError, one line for each problem. Call it on
    one process."""
    asked = [(key, value, wanted)]
    if apart := wanted.apart:
        values = find_two_sets(key, value, getattr(apart, key), wanted.is_for_evaluate)
        fields = [(apart.source, ""), ("", apart.target)]
        asked = [
            (name, one, replace(wanted, source=source, target=target))
            for name, one, (source, target) in zip(
                (key, f"{key}_target"), values, fields, strict=True
            )
        ]
    opened = [open_set(*one) for one in asked]
    for shards, (name, _, of_set) in zip(opened, asked, strict=True):
        check(name, shards, of_set)
    return opened


def open_set(key: str, value: str | None, wanted: DataRequest) -> Shards:
    """Open (first make, where needed) the data set that `data.train`, `data.validation` or
    `data.test` names.

    key: of `data`, such as `train`. Raises ValueError in one line. Call it on one process.
    """
    try:
        return _open(key, value, wanted)
    except ValueError as e:
        raise ValueError(f"{wanted.option(key)}: {e}") from None
    except OSError as e:
        advice = (
            f"data sets are kept in {cache_folder()}, and the environment's GANTRAIN_CACHE names"
            " another folder"
        )
        raise ValueError(
            f"{wanted.option(key)}: cannot use {e.filename or value} ({e.strerror}); {advice}"
        ) from None


def _open(key: str, value: str | None, wanted: DataRequest) -> Shards:
    instead = f"; data.{key.partition('_')[0]}=null trains without"
    if key.startswith("train"):
        instead = "; data=synthetic tries the recipe"
    if wanted.is_for_evaluate:
        instead = ""
    if value is None:
        split = "train" if key.startswith("train") else "test"
        both = ""
        if key.endswith("_target"):
            sources = wanted.option(key.removesuffix("_target"))
            both = f", or as {sources} a folder that holds {split}A and {split}B"
        raise ValueError(f"not set; give a folder of shards or images{both}{instead}")
    if value == SYNTHETIC:
        return Shards.open(_draw(key, wanted))
    place, pattern = os.path.split(value) if value.endswith(".tar") else (value, "")
    if is_url(value):
        folder = index_folder(check_url(place), cache_folder() / "remote")
    else:  # unlike Path.expanduser, this leaves the ~ of an unknown user in place
        folder = Path(os.path.expanduser(place))
    check_not_special(folder, "found")
    check_not_special(folder / "index.json", "found")
    if pattern or (folder / "index.json").is_file():
        shards = Shards.open(folder, wanted.cache_gib)
        listed = [shard.name for shard in shards.index.shards]
        if pattern and listed != (names := expand(pattern)):
            lists = f"{shards.place}/index.json lists {len(listed)} ({listed[0]} ... {listed[-1]})"
            raise ValueError(
                f"{pattern} names {len(names)} shards, {lists}; give the folder instead"
            )
        if shards.index.is_remote and not is_url(
            value
        ):  # the index of a folder may come from anybody
            say(f"{wanted.option(key)}: the shards lie {where(shards.place)}")
        return shards
    if not folder.is_dir():
        advice = HOW_TO.get(
            wanted.recipe.split("_")[0], "check the path (relative to where you start)"
        )
        advice = advice.format(out=folder, split="train" if key.startswith("train") else "val")
        raise ValueError(f"no folder {folder}; {advice}{instead}")
    if any(not is_ignored(tar.name) for tar in folder.glob("*.tar")):
        raise ValueError(
            f"{folder} holds tars but no index.json; copy the whole data set again, or `gantrain"
            " index` others' tars"
        )
    packed = _pack(key, folder, wanted)
    lines = (
        (report := packed / "report.txt")
        .read_text(encoding="utf-8", errors="surrogateescape")
        .splitlines()
    )
    if missing := [line[:-1] for line in lines if line.endswith((" unmatched:", " left out:"))]:
        say(f"{wanted.option(key)}: {' and '.join(missing)} of the files in {folder}; see {report}")
    for line in lines:
        if noted := read_note(line):
            say(f"{wanted.option(key)}: {noted}")
    return Shards.open(packed)


def _pack(key: str, folder: Path, wanted: DataRequest) -> Path:
    labels = {
        name: n for name, n in wanted.labels.items() if name in (wanted.source, wanted.target)
    }
    classes = max(labels.values(), default=None)
    split = find_split(key, folder, wanted.is_for_evaluate)
    fields = [name for name in (wanted.source, wanted.target) if name]
    try:
        options: Any = {"labels": sorted(labels), "classes": classes, "instances": wanted.instances}
        options |= {
            "layout": choose_layout(folder, fields),
            "split": split,
            "max_left_out": wanted.max_left_out,
        }
        return pack_once(folder, cache_folder() / "packed", **options)
    except UnclearLayout as e:
        advice = advise_layout(key, wanted.is_for_evaluate, folder, fields, e.options)
        raise ValueError(f"{e.reason}; {advice}") from None
    except ValueError as e:
        command = f"`gantrain prepare {folder} --out OUT`"
        if wanted.is_for_evaluate:
            advice = f"; give such options to {command}, and OUT here"
            raise ValueError(f"{e}{advice if '--' in str(e) else ''}") from None
        text = str(e)
        if isinstance(e, TooManyLeftOut):  # which a key of the recipe allows, too
            text = f"{e.reason}; data.max_left_out={e.fraction:g} goes on without them"
        if "--" in text:
            text += f"; its options are those of {command}, whose OUT you give here"
        if wanted.instances and "--instances" in text:
            text += "; or set data.instances=null"
        raise ValueError(text) from None


def expand(pattern: str) -> list[str]:
    """`s-{000..146}.tar` as the names it stands for. Raises ValueError where they are too many."""
    if not (braces := re.search(r"\{(\d+)\.\.(\d+)\}", pattern)):
        return [pattern]
    first, last = braces.groups()
    # Python refuses to read a number of thousands of digits.
    if max(len(first), len(last)) > _MOST_DIGITS or int(last) - int(first) >= _MOST_NAMES:
        raise ValueError(f"found {braces[0]}, allowed: {_MOST_NAMES:,} names at most")
    return [
        pattern.replace(braces[0], str(i).zfill(len(first)))
        for i in range(int(first), int(last) + 1)
    ]


def _draw(key: str, wanted: DataRequest) -> Path:
    height, width = wanted.resize or wanted.size
    # The source of unpaired data looks like that of pairs: a map, not the photograph.
    names = (wanted.source, wanted.target or "photograph") if wanted.source else (wanted.target,)
    fields = {name: wanted.labels.get(name) for name in names}
    text = "-".join(f"{name}{classes or ''}" for name, classes in fields.items())
    text += f"+{wanted.instances}" if wanted.instances else ""
    folder = cache_folder() / f"{SYNTHETIC}-{_DRAWING}" / f"{key}-{text}-{height}x{width}"
    samples = min(_DRAWN[key], max(32, _PIXELS // (height * width)))
    write_synthetic(
        folder, samples, height, width, fields, list(_DRAWN).index(key), wanted.instances
    )
    return folder


def check(key: str, shards: Shards, wanted: DataRequest) -> None:
    """Raises ValueError, one line for each thing that the data and the recipe don't agree on."""
    problems: list[str] = []
    place = wanted.option(key)
    for role, name in wanted.names.items():
        if name not in shards.fields:
            allowed = f"{', '.join(shards.fields)} (the fields of {place})"
            if role == "instances":
                instead = "" if wanted.is_for_evaluate else ", or data.instances=null"
                allowed += f"; prepare the data with it{instead}"
            if wanted.is_for_evaluate:
                allowed += (
                    "; the model was trained on fields of the names"
                    f" {', '.join(wanted.names.values())}"
                )
            problems.append(f"data.{role}: found {name!r}, allowed: {allowed}")
            continue
        field, expected = shards.fields[name], wanted.labels.get(name)
        held = {"label": "class ids", "instances": "ids of instances"}.get(
            field.kind, f"{field.channels}-channel images"
        )
        if (role == "instances") != (field.kind == "instances"):
            advice = (
                f"prepare it with --instances {name}"
                if role == "instances"
                else "that is for data.instances"
            )
            problems.append(f"data.{role}: {name} holds {held} in {place}; {advice}")
        elif expected and field.kind != "label":
            advice = f"{place} holds {held} there; prepare it with --labels {name}"
            problems.append(f"data.labels.{name}: the recipe expects class ids, {advice}")
        elif expected and expected != channels(field):
            found = f"the recipe says {expected} classes, {place} has {channels(field)}"
            problems.append(
                f"data.labels.{name}: {found}; change the recipe, or prepare it with --classes"
                f" {expected}"
            )
        if role == "target" and field.kind == "label":
            problems.append(
                f"data.target: {name} holds class ids, a generator produces images; swap source and"
                " target"
            )
        # Held-out samples that are too small to crop are resized.
        too_small = any(
            found < asked for found, asked in zip(field.min_size, wanted.size, strict=True)
        )
        if key.startswith("train") and wanted.resize is None and too_small:
            smallest = f"the smallest sample of {place} has {list(field.min_size)}"
            advice = "set data.resize, or a smaller data.size"
            problems.append(f"data.size: found {list(wanted.size)}, {smallest}; {advice}")
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def with_channels_of(
    train: Mapping[str, Field], held_out: DataSet, option: str = VALIDATION
) -> tuple[DataSet, list[str]]:
    """The held-out set with the channels of the training set, and a line for each field that is
    converted.

    option: what the user wrote to give the held-out set. A field that cannot be converted is left
    for `check_alike` to refuse."""
    changes: dict[str, int] = {}
    lines = []
    for name, field in train.items():
        theirs = held_out.fields[name]
        found = (theirs.channels, theirs.dtype)
        wanted = (field.channels, field.dtype)
        kinds_match = field.kind == theirs.kind == "image"
        if kinds_match and found != wanted and can_fit(found, wanted, "image"):
            changes[name] = field.channels
            conversion = note(theirs.channels, field.channels).format(files="files")
            lines.append(f"{option}: {name}: {conversion}, as in data.train")
    return (held_out.converted(changes) if changes else held_out), lines


def check_alike(
    train: Mapping[str, Field], held_out: Mapping[str, Field], option: str = VALIDATION
) -> None:
    """Raises ValueError where a model of the one's fields could not be shown the other's.

    option: what the user wrote to give the held-out set.
    """
    for name in train:
        ours = _described(train[name])
        theirs = _described(held_out[name])
        if ours != theirs:
            instead = f", or {option}=null" if option.startswith("data.") else ""
            raise ValueError(
                f"{option}: {name} has {theirs}, in data.train {ours}; give data of one"
                f" kind{instead}"
            )


def _described(field: Field) -> str:
    """Describe what a network sees of a field; ids are the same in 8 and 16 bits."""
    if field.kind == "label":
        return count_text(channels(field), "class", "classes")
    return f"{count_text(channels(field), 'channel')} of {field.dtype}"
