"""What `data.train` may be: shards, here or remote, images (packed once), or drawn images."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gantrain.console import say
from gantrain.data.batch import channels
from gantrain.data.cache import cache
from gantrain.data.drawing import write_synthetic
from gantrain.data.prepare import HOW_TO, pack_once
from gantrain.data.remote import check_url, index_folder, is_url
from gantrain.data.shards import Field, Shards

SYNTHETIC = "synthetic"
# Samples, fewer where they are large.
_DRAWN = {"train": 400, "validation": 64, "train_target": 320, "validation_target": 48}
_PIXELS = 400 * 128 * 128  # about what is drawn in a few seconds
_MOST_NAMES = 1_000_000  # that a pattern of shards may stand for
_MOST_DIGITS = 20  # of a number in one
_DRAWING = 5  # raised when the drawing changes, so that no old pictures are used


class Apart(NamedTuple):
    """An unpaired recipe's two sets: the field of each, and where the targets are."""

    source: str
    target: str
    train: str | None
    validation: str | None


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks of its data.

    source, target: the samples' fields; of one of two unpaired sets, the other's is "". instances: that of their ids.
    """

    recipe: str
    source: str
    target: str
    labels: dict[str, int]  # field -> classes
    size: tuple[int, int]
    resize: tuple[int, int] | None
    cache_gib: float = math.inf
    apart: Apart | None = None
    instances: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """The samples' fields by role."""
        names = {"source": self.source, "target": self.target, "instances": self.instances}
        return {role: name for role, name in names.items() if name}


def open_sides(key: str, value: str | None, wanted: Wanted) -> list[Shards]:
    """The set of pairs, or the set of sources and that of targets; opened, and checked against the recipe.

    key: `train` or `validation`. Raises ValueError, one line for each problem. Call it on one process.
    """
    asked = [(key, value, wanted)]
    if apart := wanted.apart:
        values = _two(key, value, getattr(apart, key))
        fields = [(apart.source, ""), ("", apart.target)]
        asked = [
            (name, one, replace(wanted, source=source, target=target))
            for name, one, (source, target) in zip((key, f"{key}_target"), values, fields, strict=True)
        ]
    opened = [open_set(*one) for one in asked]
    for shards, (name, _, of_set) in zip(opened, asked, strict=True):
        check(name, shards, of_set)
    return opened


def _two(key: str, value: str | None, target: str | None) -> tuple[str | None, str | None]:
    """The sources and the targets; one folder may hold both in CycleGAN's layout, trainA and trainB."""
    if value == SYNTHETIC:
        return value, target or value
    split = "train" if key == "train" else "test"
    inside = [Path(os.path.expanduser(value or ""), f"{split}{letter}") for letter in "AB"]
    if value and all(folder.is_dir() for folder in inside):
        return str(inside[0]), target or str(inside[1])
    return value, target


def open_set(key: str, value: str | None, wanted: Wanted) -> Shards:
    """Open (first make, where needed) the data set that `data.train` or `data.validation` names.

    key: of `data`, such as `train`. Raises ValueError in one line. Call it on one process.
    """
    try:
        return _open(key, value, wanted)
    except ValueError as e:
        raise ValueError(f"data.{key}: {e}") from None
    except OSError as e:
        advice = f"data sets are kept in {cache()}, and the environment's GANTRAIN_CACHE names another folder"
        raise ValueError(f"data.{key}: cannot use {e.filename or value} ({e.strerror}); {advice}") from None


def _open(key: str, value: str | None, wanted: Wanted) -> Shards:
    instead = "data=synthetic tries the recipe" if key.startswith("train") else "data.validation=null trains without"
    if value is None:
        split = "train" if key.startswith("train") else "test"
        both = f", or data.{key.partition('_')[0]} a folder that holds {split}A and {split}B" if "_" in key else ""
        raise ValueError(f"not set; give a folder of shards or images{both}; {instead}")
    if value == SYNTHETIC:
        return Shards.open(_draw(key, wanted))
    place, pattern = os.path.split(value) if value.endswith(".tar") else (value, "")
    if is_url(value):
        folder = index_folder(check_url(place), cache() / "remote")
    else:  # unlike Path.expanduser, this leaves the ~ of an unknown user in place
        folder = Path(os.path.expanduser(place))
    if pattern or (folder / "index.json").is_file():
        shards = Shards.open(folder, wanted.cache_gib)
        listed = [shard.name for shard in shards.index.shards]
        if pattern and listed != (names := expand(pattern)):
            lists = f"{shards.place}/index.json lists {len(listed)} ({listed[0]} ... {listed[-1]})"
            raise ValueError(f"{pattern} names {len(names)} shards, {lists}; give the folder instead")
        return shards
    if not folder.is_dir():
        advice = HOW_TO.get(wanted.recipe.split("_")[0], "check the path (relative to where you start)")
        advice = advice.format(out=folder, split="train" if key.startswith("train") else "val")
        raise ValueError(f"no folder {folder}; {advice}; {instead}")
    if any(folder.glob("*.tar")):
        raise ValueError(
            f"{folder} holds tars but no index.json; copy the whole data set again, or `gantrain index` others' tars"
        )
    packed = _pack(key, folder, wanted)
    lines = (report := packed / "report.txt").read_text(encoding="utf-8").splitlines()
    if missing := [line[:-1] for line in lines if line.endswith((" unmatched:", " left out:"))]:
        say(f"data.{key}: {' and '.join(missing)} of the files in {folder}; see {report}")
    return Shards.open(packed)


def _pack(key: str, folder: Path, wanted: Wanted) -> Path:
    labels = {name: n for name, n in wanted.labels.items() if name in (wanted.source, wanted.target)}
    classes = max(labels.values(), default=None)
    # Files alone don't tell single images from pairs, but the field that the recipe asks for does.
    halves = {wanted.source, wanted.target} & {"left", "right"} or "" not in (wanted.source, wanted.target)
    layout = None if halves or any(inside.is_dir() for inside in folder.iterdir()) else "images"
    # Two of the layouts that are recognised have their splits inside, each under its own names.
    split = "train"
    if not key.startswith("train"):
        inside = {"val": folder / "gtFine", "test": folder / "trainA"}
        split = next((name for name, one in inside.items() if one.is_dir()), split)
    if split == "test" and not (folder / "testA").is_dir():
        raise ValueError(f"{folder} holds trainA but no testA and testB; make them, or data.validation=null")
    try:
        options: Any = {"labels": sorted(labels), "classes": classes, "instances": wanted.instances}
        return pack_once(folder, cache() / "packed", layout=layout, split=split, **options)
    except ValueError as e:
        options = f"; its options are those of `gantrain prepare {folder} --out OUT`, whose OUT you give here"
        options += "; or set data.instances=null" if wanted.instances and "--instances" in str(e) else ""
        raise ValueError(f"{e}{options if '--' in str(e) else ''}") from None


def expand(pattern: str) -> list[str]:
    """`s-{000..146}.tar` as the names it stands for. Raises ValueError where they are too many."""
    if not (braces := re.search(r"\{(\d+)\.\.(\d+)\}", pattern)):
        return [pattern]
    first, last = braces.groups()
    # Python refuses to read a number of thousands of digits.
    if max(len(first), len(last)) > _MOST_DIGITS or int(last) - int(first) >= _MOST_NAMES:
        raise ValueError(f"found {braces[0]}, allowed: {_MOST_NAMES:,} names at most")
    return [pattern.replace(braces[0], str(i).zfill(len(first))) for i in range(int(first), int(last) + 1)]


def _draw(key: str, wanted: Wanted) -> Path:
    height, width = wanted.resize or wanted.size
    # The source of unpaired data looks like that of pairs: a map, not the photograph.
    names = (wanted.source, wanted.target or "photograph") if wanted.source else (wanted.target,)
    fields = {name: wanted.labels.get(name) for name in names}
    text = "-".join(f"{name}{classes or ''}" for name, classes in fields.items())
    text += f"+{wanted.instances}" if wanted.instances else ""
    folder = cache() / f"{SYNTHETIC}-{_DRAWING}" / f"{key}-{text}-{height}x{width}"
    samples = min(_DRAWN[key], max(32, _PIXELS // (height * width)))
    write_synthetic(folder, samples, height, width, fields, list(_DRAWN).index(key), wanted.instances)
    return folder


def check(key: str, shards: Shards, wanted: Wanted) -> None:
    """Raises ValueError, one line for each thing that the data and the recipe don't agree on."""
    problems: list[str] = []
    for role, name in wanted.names.items():
        if name not in shards.fields:
            allowed = f"{', '.join(shards.fields)} (the fields of data.{key})"
            allowed += "; prepare the data with it, or data.instances=null" if role == "instances" else ""
            problems.append(f"data.{role}: found {name!r}, allowed: {allowed}")
            continue
        field, expected = shards.fields[name], wanted.labels.get(name)
        held = {"label": "class ids", "instances": "ids of instances"}.get(
            field.kind, f"{field.channels}-channel images"
        )
        if (role == "instances") != (field.kind == "instances"):
            advice = f"prepare it with --instances {name}" if role == "instances" else "that is for data.instances"
            problems.append(f"data.{role}: {name} holds {held} in data.{key}; {advice}")
        elif expected and field.kind != "label":
            found = f"data.{key} holds {held} there"
            advice = f"prepare it with --labels {name}"
            problems.append(f"data.labels.{name}: the recipe expects class ids, {found}; {advice}")
        elif expected and expected != channels(field):
            found = f"the recipe says {expected} classes, data.{key} has {channels(field)}"
            advice = f"change the recipe, or prepare it with --classes {expected}"
            problems.append(f"data.labels.{name}: {found}; {advice}")
        if role == "target" and field.kind == "label":
            problems.append(f"data.target: {name} holds class ids, a generator produces images; swap source and target")
        # Held-out samples that are too small to crop are resized.
        too_small = any(found < asked for found, asked in zip(field.min_size, wanted.size, strict=True))
        if key.startswith("train") and wanted.resize is None and too_small:
            smallest = f"the smallest sample of data.{key} has {list(field.min_size)}"
            advice = "set data.resize, or a smaller data.size"
            problems.append(f"data.size: found {list(wanted.size)}, {smallest}; {advice}")
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def check_alike(train: Mapping[str, Field], held_out: Mapping[str, Field]) -> None:
    """Raises ValueError where a model of the one's fields could not be shown the other's."""
    for name in train:
        ours, theirs = (
            f"{channels(field)} {'classes' if field.kind == 'label' else 'channels'} of {field.dtype}"
            for field in (train[name], held_out[name])
        )
        if ours != theirs:
            advice = "give data of one kind, or data.validation=null"
            raise ValueError(f"data.validation: {name} has {theirs}, in data.train {ours}; {advice}")
