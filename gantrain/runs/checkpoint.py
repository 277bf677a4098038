"""Checkpoints on disk.

A checkpoint is written whole or not at all. Its files are checked when they are read, and never
unpickled.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gantrain.core import files, formats, weight_files
from gantrain.core.errors import UserError
from gantrain.core.extensions import ModulesMissing, check_imported
from gantrain.core.out_of_memory import is_out_of_memory
from gantrain.core.paths import check_not_special
from gantrain.core.yaml12 import parse_yaml
from gantrain.runs.checkpoint_state import State, parse_state, recorded_modules

Tensors = dict[str, Tensor]
_RECIPE_BYTES = 1 << 20
_STATE_BYTES = 256 << 20  # it names damaged samples, which may be many
_FORMAT_ADVICE = "train anew with run=OTHER, or import the weights again"


def save(
    root: Path,
    recipe: str,
    tensors: dict[str, Tensors],
    state: dict[str, object],
    name: str | None = None,
) -> None:
    """Write a checkpoint as the folder `root/000123456/`.

    tensors: by file, such as `networks/generator`. state: that of checkpoint_state, to which the
    format and the files' SHA-256 are added. name: the folder's name; by default it is
    `state["images_seen"]`. `state.json` is written last, and then the folder gets its name, so a
    folder of that name is whole. Raises OSError where the disk refuses, and leaves nothing.
    """
    folder = root / (name or f"{state['images_seen']:09d}")
    partial = root / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, recipe, tensors, state)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        files.flush(root)
    except (OSError, SafetensorError) as e:
        raise OSError(" ".join(str(e).split())) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, recipe: str, tensors: dict[str, Tensors], state: dict[str, Any]) -> None:
    digests: dict[str, str] = {}
    for name, content in tensors.items():
        file = folder / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(_plain(content), file)
        digests[name] = files.sha256(file)  # read from the system's cache: no second copy in memory
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    described = {"format": formats.CHECKPOINT, **state, "sha256": digests}
    (folder / "state.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        files.flush(path)


def _plain(content: Tensors) -> Tensors:
    """Return contiguous tensors that share no memory, as safetensors requires.

    Tied weights share memory. safetensors knows no strides: channels_last weights are stored in
    their logical order.
    """
    plain: Tensors = {}
    addresses: set[int] = set()
    for name, tensor in content.items():
        copied = tensor.detach().cpu().contiguous()
        address = copied.untyped_storage().data_ptr()
        plain[name] = copied.clone() if address in addresses else copied
        addresses.add(address)
    return plain


def add_metrics(folder: Path, metrics: dict[str, float]) -> None:
    """Add the metrics of an evaluation that a signal had postponed.

    Raises OSError where the disk refuses.
    """
    path = folder / "state.json"
    content = files.read_json(path, _STATE_BYTES)
    content |= {"metrics": metrics, "left_marks": False}
    files.write_text(path, json.dumps(content, indent=1), sync=True)


def clean(root: Path) -> None:
    """Remove the unfinished folders that a killed writer left."""
    for partial in root.glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


def list_checkpoints(root: Path) -> list[Path]:
    """Return the whole checkpoints under `root`, oldest first.

    A renamed copy, such as `000000480.bak`, is none.
    """
    folders = [path.parent for path in root.glob("[0-9]*/state.json") if path.is_file()]
    numbered = [folder for folder in folders if folder.name.isascii() and folder.name.isdecimal()]
    return sorted(numbered, key=lambda folder: int(folder.name))


def latest(root: Path) -> Path | None:
    """Return the last whole checkpoint under `root`."""
    folders = list_checkpoints(root)
    return folders[-1] if folders else None


def check_link(path: str | Path, what: str = "checkpoint") -> None:
    """Refuse a link to a run or a checkpoint that no longer exists.

    what: begins the message. Raises UserError, in one line.
    """
    if not os.path.islink(path):
        return
    try:
        os.stat(path)
        return
    except FileNotFoundError:
        pass
    except OSError:  # a loop of links, which the readers of files report
        return
    target = os.readlink(path)
    run = Path(path).parent
    advice = "give runs/NAME, or one of its checkpoints"
    if list_checkpoints(run / "checkpoints"):
        advice = f"give {run}, with --best for its best checkpoint, or one of {run}/checkpoints"
    raise UserError(f"{what}: {path} is a dangling link to {target}; {advice}")


def find_checkpoint(path: str | Path) -> Path:
    """Return a checkpoint's folder. Raises UserError.

    path: that folder, or the folder of a run, whose latest checkpoint it is then.
    """
    path = Path(path)
    check_link(path)
    check_not_special(path, "checkpoint")
    check_not_special(path / "state.json", "checkpoint")
    if (path / "state.json").is_file():
        # A run's link `best` may change at any time: what it leads to now is used, and named.
        return path.parent / os.readlink(path) if path.is_symlink() else path
    folder = latest(path / "checkpoints")
    if folder is None:
        raise UserError(
            f"checkpoint: found none at {path}; give runs/NAME, one of its checkpoints, or what"
            " `gantrain import` made"
        )
    return folder


def state(folder: Path) -> State:
    """Return the checked content of state.json.

    Raises UserError, in one line that offers an older checkpoint.
    """
    with _naming(folder):
        return read_state(folder)


def saved_recipe(folder: Path) -> Any:
    """Return the content of a checkpoint's recipe.yaml.

    Raises UserError, in one line, where it can't be read.
    """
    path = folder / "recipe.yaml"
    with _naming(folder):
        text = _read(path, lambda: files.read_bytes(path, _RECIPE_BYTES).decode())
        return parse_yaml(text, "recipe.yaml")


def tensors(
    folder: Path, name: str, content: State, expected: Mapping[str, Tensor] | None = None
) -> Tensors:
    """Return the checked content of a tensor file, such as `networks/generator`.

    content: that of the checkpoint's `state.json`, which the caller reads once for all files.
    expected: tensors whose names, shapes and kinds of numbers it has to have; None takes any.
    Raises UserError, in one line that offers an older checkpoint, for a damaged file, for another
    network's, and for NaN.
    """
    with _naming(folder):
        loaded = _read_tensors(folder, name, content)
    problem = "" if expected is None else weight_files.misfit(loaded, expected)
    if problem:
        what = f"checkpoint: the {name.rpartition('/')[2]} in {folder}/{name}.safetensors"
        raise UserError(f"{what} is not the one of its recipe.yaml ({problem}); {_advice(folder)}")
    return loaded


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Raise an error of a checkpoint as one UserError that names its folder and a remedy."""
    try:
        yield
    except ModulesMissing:  # Nothing is damaged: this and the next ones name their own remedies.
        raise
    except (formats.AnotherFormat, files.NoRegularFile) as e:
        raise UserError(f"checkpoint: {folder}: {e}") from None
    except ValueError as e:
        raise refusal(folder, str(e)) from None


def refusal(folder: Path, reason: str) -> UserError:
    """Return the error for a checkpoint that can't be used.

    It says what is wrong, and which older checkpoint can be used.
    """
    return UserError(
        f"checkpoint: {folder} can't be used: {'; '.join(reason.splitlines())}; {_advice(folder)}"
    )


def _advice(folder: Path) -> str:
    if folder.parent.name != "checkpoints":
        return "take another one, or copy or import it again"
    older = _sound_before(folder)
    if older is None:
        return "remove its folder; the run has no older one that is whole, so it would start anew"
    return f"remove its folder, then {older} is used, which is whole"


def _sound_before(folder: Path) -> Path | None:
    """Return the newest of the run's older checkpoints all of whose files can be read."""
    siblings = list_checkpoints(folder.parent)
    older = siblings[: siblings.index(folder)] if folder in siblings else siblings
    for other in reversed(older):
        try:
            content = read_state(other)
            for name in content.sha256:
                _read_tensors(other, name, content)
        except ValueError:
            continue
        return other
    return None


def read_state(folder: Path) -> State:
    """Return the checked content of state.json.

    Raises UserError with what is wrong, without advice.
    """
    path = folder / "state.json"
    content = _read(path, lambda: files.read_json(path, _STATE_BYTES))
    if not isinstance(content, dict):
        raise UserError("state.json: found no mapping")
    formats.check_format("state.json", content, formats.CHECKPOINT, _FORMAT_ADVICE)
    try:
        content = parse_state(content)
    except ValueError as e:
        check_imported(recorded_modules(content), folder)  # of which one may define a kind
        raise UserError(f"state.json: {'; '.join(str(e).splitlines()[:3])}") from None
    is_of_run = folder.parent.name == "checkpoints" and folder.name.isdecimal()
    if is_of_run and int(folder.name) != content.images_seen:
        difference = f"found {content.images_seen}, allowed: {int(folder.name)}, its name"
        raise UserError(f"state.json: images_seen: {difference}")
    return content


def _read_tensors(folder: Path, name: str, content: State) -> Tensors:
    """Return the checked tensors of one file.

    Raises UserError with what is wrong, without advice.
    """
    path = folder / f"{name}.safetensors"
    if name not in content.sha256:
        raise UserError(f"state.json has no SHA-256 of {name}.safetensors")
    if _read(path, lambda: files.sha256(path)) != content.sha256[name]:
        raise UserError(f"{name}.safetensors is damaged (its SHA-256 is not the one in state.json)")
    loaded: Tensors = _read(path, lambda: load_file(path))
    nonfinite = weight_files.first_nonfinite(loaded)
    if nonfinite is not None:
        raise UserError(f"{name}.safetensors holds NaN or infinite values in {nonfinite}")
    return loaded


def _read(path: Path, reader: Callable[[], Any]) -> Any:
    try:
        return reader()
    except files.NoRegularFile:
        raise
    except Exception as e:  # of the disk, of JSON, of safetensors' headers
        if is_out_of_memory(e):
            raise
        raise UserError(f"{path.name} is damaged ({weight_files.reason(e)})") from None
