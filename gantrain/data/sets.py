"""What `data.train` may be: shards, a folder of images (packed once), or drawn images."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gantrain.console import say
from gantrain.data.batch import channels
from gantrain.data.drawing import write_synthetic
from gantrain.data.prepare import HOW_TO, pack_once
from gantrain.data.shards import Field, Shards

SYNTHETIC = "synthetic"
_DRAWN = {"train": 400, "validation": 64}  # samples, fewer where they are large
_PIXELS = 400 * 128 * 128  # about what is drawn in a few seconds
_DRAWING = 2  # raised when the drawing changes, so that no old pictures are used


def cache() -> Path:
    """Where packed and drawn data sets are kept: $GANTRAIN_CACHE, else the user's cache folder."""
    named = os.environ.get("GANTRAIN_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gantrain"


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks of its data."""

    recipe: str
    source: str
    target: str
    labels: dict[str, int]  # field -> classes
    size: tuple[int, int]
    resize: tuple[int, int] | None


def open_set(key: str, value: str | None, wanted: Wanted) -> Shards:
    """Open (first make, where needed) the data set that `data.train` or `data.validation` names.

    key: `train` or `validation`. Raises ValueError in one line. Call it on one process.
    """
    try:
        return _open(key, value, wanted)
    except ValueError as e:
        raise ValueError(f"data.{key}: {e}") from None
    except OSError as e:
        raise ValueError(
            f"data.{key}: cannot use {e.filename or value} ({e.strerror}); images are packed into "
            f"{cache()}, and the environment's GANTRAIN_CACHE names another folder"
        ) from None


def _open(key: str, value: str | None, wanted: Wanted) -> Shards:
    instead = "data=synthetic tries the recipe"
    if key == "validation":
        instead = "data.validation=null trains without"
    if value is None:
        raise ValueError(f"not set; give a folder of shards or images; {instead}")
    if value == SYNTHETIC:
        return Shards.open(_draw(key, wanted))
    if "://" in value or value.startswith("pipe:"):
        raise ValueError(f"found {value}, allowed: a local folder; fetch the shards first")
    # Unlike Path.expanduser, this leaves the ~ of an unknown user in place.
    folder = Path(os.path.expanduser(value))
    if folder.name.endswith(".tar"):
        return _open_pattern(folder)
    if not folder.is_dir():
        usual = "check the path (relative to where you start)"
        advice = HOW_TO.get(wanted.recipe.split("_")[0], usual)
        advice = advice.format(out=folder, split="train" if key == "train" else "val")
        raise ValueError(f"no folder {folder}; {advice}; {instead}")
    if (folder / "index.json").is_file():
        return Shards.open(folder)
    if any(folder.glob("*.tar")):
        raise ValueError(f"{folder} holds tars but no index.json; make it with `gantrain prepare`")
    packed = _pack(folder, wanted)
    report = packed / "report.txt"
    lines = report.read_text(encoding="utf-8").splitlines()
    missing = [line[:-1] for line in lines if line.endswith((" unmatched:", " left out:"))]
    if missing:
        say(f"data.{key}: {' and '.join(missing)} of the files in {folder}; see {report}")
    return Shards.open(packed)


def _pack(folder: Path, wanted: Wanted) -> Path:
    try:
        return pack_once(
            folder,
            cache() / "packed",
            labels=sorted(wanted.labels),
            classes=max(wanted.labels.values(), default=None),
        )
    except ValueError as e:
        if "--" not in str(e):
            raise
        command = f"`gantrain prepare {folder} --out OUT`"
        raise ValueError(f"{e}; that is an option of {command}, whose OUT you give here") from None


def _open_pattern(pattern: Path) -> Shards:
    """`folder/s-{000..146}.tar`: the folder's index must list just these shards."""
    braces = re.search(r"\{(\d+)\.\.(\d+)\}", pattern.name)
    names = [pattern.name]
    if braces:
        first, last = braces[1], braces[2]
        names = [
            pattern.name.replace(braces[0], str(i).zfill(len(first)))
            for i in range(int(first), int(last) + 1)
        ]
    shards = Shards.open(pattern.parent)
    listed = [shard.name for shard in shards.index.shards]
    if names != listed:
        raise ValueError(
            f"{pattern} names {len(names)} shards, {pattern.parent}/index.json lists "
            f"{len(listed)} ({listed[0]} ... {listed[-1]}); give the folder instead"
        )
    return shards


def _draw(key: str, wanted: Wanted) -> Path:
    height, width = wanted.resize or wanted.size
    fields: dict[str, tuple[Literal["image", "label"], int, int | None]] = {
        f: ("label", 1, wanted.labels[f]) if f in wanted.labels else ("image", 3, None)
        for f in (wanted.source, wanted.target)
    }
    text = "-".join(f"{f}{classes or ''}" for f, (_, _, classes) in fields.items())
    folder = cache() / f"{SYNTHETIC}-{_DRAWING}" / f"{key}-{text}-{height}x{width}"
    if not (folder / "index.json").is_file():
        write_synthetic(
            folder,
            min(_DRAWN[key], max(32, _PIXELS // (height * width))),
            height,
            width,
            fields,
            source=wanted.source,
            target=wanted.target,
            seed=list(_DRAWN).index(key),
        )
    return folder


def check(key: str, shards: Shards, wanted: Wanted) -> None:
    """Raises ValueError, one line for each thing that the data and the recipe don't agree on."""
    problems: list[str] = []
    height, width = wanted.size
    for role, name in (("source", wanted.source), ("target", wanted.target)):
        if name not in shards.fields:
            fields = ", ".join(shards.fields)
            problems.append(
                f"data.{role}: found {name!r}, allowed: {fields} (the fields of data.{key})"
            )
            continue
        field = shards.fields[name]
        expected = wanted.labels.get(name)
        if expected is not None and field.kind != "label":
            problems.append(
                f"data.labels.{name}: the recipe expects class ids, data.{key} holds "
                f"{field.channels}-channel images there; prepare it with --labels {name}"
            )
        elif expected is not None and expected != channels(field):
            problems.append(
                f"data.labels.{name}: the recipe says {expected} classes, data.{key} has "
                f"{channels(field)}; change the recipe, or prepare it with --classes {expected}"
            )
        if role == "target" and field.kind == "label":
            problems.append(
                f"data.target: {name} holds class ids, a generator produces images; "
                "swap source and target"
            )
        smallest = field.min_size
        # Held-out samples that are too small to crop are resized.
        too_small = key == "train" and (smallest[0] < height or smallest[1] < width)
        if wanted.resize is None and too_small:
            problems.append(
                f"data.size: found [{height}, {width}], the smallest sample of data.{key} has "
                f"[{smallest[0]}, {smallest[1]}]; set data.resize, or a smaller data.size"
            )
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def check_alike(train: Shards, held_out: Shards, wanted: Wanted) -> None:
    """Raises ValueError where a model of the one could not be shown the other."""

    def kind(field: Field) -> str:
        what = "classes" if field.kind == "label" else "channels"
        return f"{channels(field)} {what} of {field.dtype}"

    for name in (wanted.source, wanted.target):
        ours, theirs = kind(train.fields[name]), kind(held_out.fields[name])
        if ours != theirs:
            raise ValueError(
                f"data.validation: {name} has {theirs}, in data.train {ours}; give data of one "
                "kind, or data.validation=null"
            )


def facts(shards: Shards, wanted: Wanted) -> dict[str, int]:
    """What the data know, by the names that methods give it."""
    return {
        "source_channels": channels(shards.fields[wanted.source]),
        "target_channels": channels(shards.fields[wanted.target]),
    }


def fields(shards: Shards, wanted: Wanted) -> dict[str, Field]:
    return {"source": shards.fields[wanted.source], "target": shards.fields[wanted.target]}
