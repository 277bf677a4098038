"""`gantrain import`: another project's generator as a checkpoint of ours."""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantrain import checkpoint, recipe, weights
from gantrain.component import build
from gantrain.data.shards import Field
from gantrain.importers import RECOGNISERS
from gantrain.importers.layout import Found
from gantrain.networks import NETWORKS

_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_SPECTRAL = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}  # PyTorch's names, and ours
_ADVICE = "give a generator's file, such as latest_net_G.pth"
# Of unpaired data; metrics of pairs are the default.
_OF_SETS = {"metrics": ["fd_random0", "swd"], "best_by": "fd_random0"}


def import_file(
    file: Path,
    out: Path,
    *,
    norm: str | None = None,
    dropout: bool = False,
    unpaired: bool = False,
    labels: bool = False,
    instances: bool = False,
    doublings: str | None = None,
    size: tuple[int, int] = (256, 256),
) -> str:
    """Write the checkpoint `out` of a generator that is known to RECOGNISERS; returns what was found, in words.

    norm: where the file's keys could mean several. dropout: stays on in use, and batch norm takes the image's own
    statistics, as in pix2pix's own test. unpaired: it was trained on two sets. labels: its source is a map of class
    ids, as SPADE's always is. instances: its last channel are the edges of instances. doublings: `normal` or `more`,
    of a SPADE generator. size: height and width that `evaluate` resizes test images to. Raises ValueError, in one line.
    """
    if out.exists():
        raise ValueError(f"--out: {out} exists; choose another folder")
    state = _cleaned(weights.read(file, "import", _ADVICE))
    found = _recognised(state, file)
    generator: dict[str, Any] = {**found.generator, "norm": _norm(state, norm, file)}
    if doublings:
        if doublings not in ("normal", "more") or generator.get("doublings") != "normal":
            raise ValueError(f"--doublings: found {doublings}, allowed: normal or more, of a SPADE file without up_4")
        generator["doublings"] = doublings
    if instances and found.in_channels == 1:
        raise ValueError(f"--instances: found one channel in {file}, allowed: two or more, the last one for the edges")
    labels, seen = labels or found.method == "spade", found.in_channels - instances
    placed = _placed(state, generator, found, file)
    label = {"kind": "label", "channels": 1, "classes": seen}
    sides = {"source": label if labels else {"channels": seen}, "target": {"channels": found.out_channels}}
    if instances:
        sides["instances"] = {"kind": "instances", "channels": 1, "dtype": "uint16"}
    fields = {role: Field(member=role, min_size=(1, 1), max_size=(1, 1), **side) for role, side in sides.items()}
    content: dict[str, Any] = {
        "name": file.stem.lstrip(". ") or "imported",
        "description": f"Imported from {file.name}",
        "method": {"name": found.method, "generator": generator},
        "data": {"unpaired": unpaired, "size": size, "resize": size},
        "test_time": {"dropout": dropout, "batch_statistics": dropout},
    }
    content["data"] |= {"labels": {"image" if unpaired else "left": seen}} if labels else {}
    content["data"] |= {"instances": "instance"} if instances else {}
    content |= {"evaluate": _OF_SETS} if unpaired else {}
    about = {
        "images_seen": 0,
        "fingerprint": "",
        "ranks": 1,
        "micro_batch_size": 1,
        "metrics": {},
        "facts": {"source_channels": found.in_channels, "target_channels": found.out_channels},
        "fields": {role: field.model_dump(mode="json") for role, field in fields.items()},
        "versions": {"torch": torch.__version__, "python": sys.version.split()[0]},
    }
    text = recipe.from_dict(content).yaml()
    try:
        checkpoint.save(out.parent, text, {"networks/generator": placed}, about, out.name)
    except OSError as e:
        raise ValueError(f"--out: cannot write {out} ({e}); choose another folder") from None
    options = ", ".join(f"{key} {value}" for key, value in generator.items() if key != "name")
    return f"{generator['name']} ({options}) from {found.in_channels} to {found.out_channels} channels"


@contextmanager
def opened(path: str | Path) -> Iterator[Path]:
    """A checkpoint's folder: a run's latest, that one itself, or what a file imports to. Raises ValueError."""
    if not Path(path).is_file():
        yield checkpoint.find_checkpoint(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        import_file(Path(path), imported := Path(folder, "imported"))
        yield imported


def _cleaned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without wrappers' prefixes, and without what old instance norms tracked but didn't use."""

    def named(key: str) -> str:
        module, dot, kind = re.sub(r"^(module\.|_orig_mod\.)+", "", key).rpartition(".")
        return module + dot + _SPECTRAL.get(kind, kind)

    state = {named(key): tensor for key, tensor in state.items()}

    def is_old(key: str) -> bool:
        module, _, kind = key.rpartition(".")
        if module.endswith("param_free_norm"):  # SPADE's batch norms have statistics alone
            return False
        return kind in _RUNNING and f"{module}.weight" not in state

    return {key: tensor for key, tensor in state.items() if not is_old(key)}


def _recognised(state: dict[str, Tensor], file: Path) -> Found:
    for recognise in RECOGNISERS.values():
        with suppress(KeyError, IndexError):
            if found := recognise(state):
                return found
    raise ValueError(
        f"import: {file} holds no generator known here (its keys: {', '.join(list(state)[:3])} ...), "
        f"allowed: {', '.join(RECOGNISERS)}"
    )


def _biased(state: dict[str, Tensor]) -> bool:
    """Whether more than the last convolution has a bias: theirs have, with an instance norm."""
    return sum(key.endswith(".bias") for key in state) > 1


def _norm(state: dict[str, Tensor], asked: str | None, file: Path) -> str:
    possible = ["instance", "none"] if _biased(state) else ["none", "instance"]
    if any(key.endswith(".running_mean") for key in state):
        possible = ["batch"]
    if asked and asked not in possible:
        raise ValueError(f"--norm: found {asked}, allowed by the keys of {file}: {', '.join(possible)}")
    return asked or possible[0]


def _placed(state: dict[str, Tensor], generator: dict[str, Any], found: Found, file: Path) -> dict[str, Tensor]:
    """The tensors by our names; raises ValueError unless each has a place, and each place a tensor."""
    channels = {"in_channels": found.in_channels, "out_channels": found.out_channels}
    with torch.device("meta"):
        expected: dict[str, Tensor] = build(NETWORKS, generator, **channels).state_dict()
    placed, unknown = dict[str, Tensor](), list[str]()
    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        ours = f"{found.names.get(module)}.{kind}"
        if kind == "filt":  # a blur's constant kernel
            continue
        if ours in expected and expected[ours].shape == tensor.shape:
            placed[ours] = tensor.to(expected[ours].dtype).clone()
        else:
            unknown.append(f"{key} {tuple(tensor.shape)}")
    # Networks without any norm have biases here, and batch norms of before 2018 no counters.
    zero = "num_batches_tracked" if _biased(state) or generator["norm"] == "batch" else ".bias"
    placed |= {
        n: torch.zeros(t.shape, dtype=t.dtype) for n, t in expected.items() if n not in placed and n.endswith(zero)
    }
    lacking = [name for name in expected if name not in placed]
    if unknown or lacking:
        problems = [f"no place for {', '.join(unknown[:3])}"] if unknown else []
        problems += [f"nothing for {', '.join(lacking[:3])}"] if lacking else []
        raise ValueError(f"import: {file} is not quite a {generator['name']} known here: {'; '.join(problems)}")
    return placed
