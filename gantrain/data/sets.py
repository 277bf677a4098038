"""What `data.train` may be: shards, a folder of images (packed once), or drawn images."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gantrain.data.batch import channels
from gantrain.data.drawing import write_synthetic
from gantrain.data.prepare import HOW_TO, pack_once
from gantrain.data.shards import Field, Shards

SYNTHETIC = "synthetic"
_DRAWN = {"train": 400, "validation": 64}  # samples


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
    if value is None:
        raise ValueError(
            f"data.{key}: not set; give a folder of shards or images, or data=synthetic to try the recipe"
        )
    if value == SYNTHETIC:
        return Shards.open(_draw(key, wanted))
    if "://" in value or value.startswith("pipe:"):
        raise ValueError(
            f"data.{key}: found {value}, allowed: a local folder; fetch the shards first"
        )
    folder = Path(value).expanduser()
    if folder.name.endswith(".tar"):
        return _open_pattern(key, folder)
    if not folder.is_dir():
        instructions = HOW_TO.get(wanted.recipe.split("_")[0])
        advice = (
            f"; {instructions}"
            if instructions
            else "; check the path (relative to where you start)"
        )
        raise ValueError(
            f"data.{key}: no folder {folder}{advice}, or try the recipe with data=synthetic"
        )
    if (folder / "index.json").is_file():
        return Shards.open(folder)
    if any(folder.glob("*.tar")):
        raise ValueError(
            f"data.{key}: {folder} holds tars but no index.json; make it with `gantrain prepare`"
        )
    try:
        packed = pack_once(folder, cache() / "packed", labels=tuple(sorted(wanted.labels)))
    except ValueError as e:
        raise ValueError(f"data.{key}: {e}") from None
    return Shards.open(packed)


def _open_pattern(key: str, pattern: Path) -> Shards:
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
            f"data.{key}: {pattern} names {len(names)} shards, {pattern.parent}/index.json lists "
            f"{len(listed)} ({listed[0]} ... {listed[-1]}); give the folder instead"
        )
    return shards


def _draw(key: str, wanted: Wanted) -> Path:
    height, width = wanted.resize or wanted.size
    fields = {
        f: ("label", 1, wanted.labels[f]) if f in wanted.labels else ("image", 3, None)
        for f in (wanted.source, wanted.target)
    }
    text = "-".join(f"{f}{classes or ''}" for f, (_, _, classes) in fields.items())
    folder = cache() / SYNTHETIC / f"{key}-{text}-{height}x{width}"
    if not (folder / "index.json").is_file():
        write_synthetic(
            folder,
            _DRAWN[key],
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
    problems = []
    for role, name in (("source", wanted.source), ("target", wanted.target)):
        if name not in shards.fields:
            problems.append(
                f"data.{role}: found {name!r}, allowed: {', '.join(shards.fields)} (the fields of {shards.folder})"
            )
            continue
        field = shards.fields[name]
        expected = wanted.labels.get(name)
        if expected is not None and field.kind != "label":
            problems.append(
                f"data.labels.{name}: the recipe expects class ids, {shards.folder} holds {field.channels}-channel "
                f"images there; prepare it with --labels {name}"
            )
        elif expected is not None and expected != channels(field):
            problems.append(
                f"data.labels.{name}: the recipe says {expected} classes, {shards.folder} has {channels(field)}"
            )
        if role == "target" and field.kind == "label":
            problems.append(
                f"data.target: {name} holds class ids; a generator produces images: swap source and target"
            )
        smallest = field.min_size
        if wanted.resize is None and (smallest[0] < wanted.size[0] or smallest[1] < wanted.size[1]):
            problems.append(
                f"data.size: found {wanted.size[0]}x{wanted.size[1]}, the smallest sample of {shards.folder} is "
                f"{smallest[0]}x{smallest[1]}; set data.resize, or a smaller data.size"
            )
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))


def facts(shards: Shards, wanted: Wanted) -> dict[str, int]:
    """What the data know, by the names that methods give it."""
    return {
        "source_channels": channels(shards.fields[wanted.source]),
        "target_channels": channels(shards.fields[wanted.target]),
    }


def fields(shards: Shards, wanted: Wanted) -> dict[str, Field]:
    return {"source": shards.fields[wanted.source], "target": shards.fields[wanted.target]}
