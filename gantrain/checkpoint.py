"""Checkpoints on disk: written whole or not at all, never unpickled."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gantrain.paths import check_not_special

Tensors = dict[str, Tensor]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader, or a crash, sees the old content or the new."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    _sync(partial)
    partial.replace(path)
    _sync(path.parent)


def save(root: Path, recipe: str, tensors: dict[str, Tensors], state: dict[str, Any], name: str | None = None) -> None:
    """Write `root/000123456/`, named by `state["images_seen"]` unless told otherwise.

    tensors: by file, such as `networks/generator`. `state.json` comes last, then the folder gets
    its name: what bears a name is whole. Raises OSError where the disk refuses; nothing is left.
    """
    folder = root / (name or f"{state['images_seen']:09d}")
    partial = root / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, recipe, tensors, state)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        _sync(root)
    except (OSError, SafetensorError) as e:
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(" ".join(str(e).split())) from None


def _write(folder: Path, recipe: str, tensors: dict[str, Tensors], state: dict[str, Any]) -> None:
    for name, content in tensors.items():
        file = folder / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        # safetensors knows no strides: channels_last weights are stored in their logical order.
        save_file({k: t.detach().cpu().contiguous() for k, t in content.items()}, file)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    (folder / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        _sync(path)


def clean(root: Path) -> None:
    """Remove what a killed writer left."""
    for partial in root.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def found(root: Path) -> list[Path]:
    """The whole checkpoints under `root`, oldest first."""
    return sorted(p.parent for p in root.glob("[0-9]*/state.json"))


def find_checkpoint(path: str | Path) -> Path:
    """A checkpoint's folder, from it or from its run (then the latest one). Raises ValueError."""
    path = Path(path)
    check_not_special(path, "checkpoint")
    check_not_special(path / "state.json", "checkpoint")
    if (path / "state.json").is_file():
        return path
    folders = found(path / "checkpoints")
    if not folders:
        raise ValueError(
            f"checkpoint: found none at {path}; give runs/NAME, one of its checkpoints, or what `gantrain import` made"
        )
    return folders[-1]


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    check_not_special(path, "checkpoint")
    try:
        return reader(path)
    except (OSError, ValueError, SafetensorError) as e:
        reason = " ".join(str(e).split())
        advice = "remove its folder, then the one before is used"
        raise ValueError(f"checkpoint: {path} is damaged ({reason}); {advice}") from None


def state(folder: Path) -> dict[str, Any]:
    """Raises ValueError where a checkpoint can't be read."""
    content: dict[str, Any] = _read(folder / "state.json", lambda path: json.loads(path.read_bytes()))
    return content


def tensors(folder: Path, name: str) -> Tensors:
    """Raises ValueError where a checkpoint can't be read."""
    content: Tensors = _read(folder / f"{name}.safetensors", load_file)
    return content


def prune(root: Path, keep: int, best: int, metric: str, largest: bool) -> None:
    """Delete all but the last `keep` checkpoints and the `best` ones by a metric of their state."""
    folders = found(root)
    scored = [(s["metrics"][metric], f) for f in folders if metric in (s := state(f))["metrics"]]
    scored.sort(key=lambda pair: pair[0], reverse=largest)
    kept = {*folders[-keep:], *(f for _, f in scored[:best])}
    for folder in folders:
        if folder not in kept:
            # Without state.json it is no checkpoint, even if the deletion is cut short.
            (folder / "state.json").unlink()
            shutil.rmtree(folder, ignore_errors=True)
