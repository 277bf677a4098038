"""Reads the file of one network: recognises its layout, and gives its tensors our names."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.core import weight_files
from gantrain.core.component import build
from gantrain.importers import RECOGNISERS
from gantrain.importers.layout import Found
from gantrain.networks import NETWORKS
from gantrain.networks.cut_projection import Projection
from gantrain.networks.spade import StyleEncoder

_KNOWN = {**NETWORKS, "style_encoder": StyleEncoder, "projection": Projection}
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_SPECTRAL = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}  # PyTorch's names, and ours
_ORIGINAL = {ours: theirs for theirs, ours in _SPECTRAL.items()}
_PREFIX = r"(module\.|_orig_mod\.)*"
_ADVICE = "give a network's file, such as latest_net_G.pth"
# The norms that a file allows, by the norm that its recogniser assumes.
ALLOWED_NORMS = {"batch": ["batch"], "instance": ["instance", "none"], "none": ["none", "instance"]}
_OPEN_UPSAMPLING = ("normal", "more")  # these two have the same keys
# CUT's blurs by the size of their kernel, in one direction: down-sampling has 3 values, up-sampling
# 4.
_BLURS = {3: (0.25, 0.5, 0.25), 4: (0.25, 0.75, 0.75, 0.25)}
_MOST_CHANNELS = 2**16


@dataclass(frozen=True)
class Network:
    """What a file holds, with its tensors by our names.

    notes: what the importer left out or converted, one sentence each.
    """

    file: Path
    found: Found
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = {**self.found.component, **self.found.facts}
        name = options.pop("name")
        return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})"


def read(file: Path, norm: str | None, upsampling: str | None) -> Network:
    """Read the network in a file. norm, upsampling: as in ImportOptions. Raises ValueError, in
    one line.
    """
    raw = weight_files.read(file, "import", _ADVICE)
    state = cleaned(raw)
    found = _recognised(state)
    if found is None:
        what = f"no network known here (its keys: {', '.join(list(raw)[:3])} ...)"
        raise ValueError(f"import: {file} holds {what}, allowed: {', '.join(RECOGNISERS)}")
    chosen = dict(found.component)
    if norm and "norm" in chosen:
        if norm not in (allowed := ALLOWED_NORMS[chosen["norm"]]):
            raise ValueError(
                f"--norm: found {norm}, allowed by the keys of {file}: {', '.join(allowed)}"
            )
        chosen["norm"] = norm
    if upsampling and found.role == "generator":
        if upsampling not in _OPEN_UPSAMPLING or chosen.get("upsampling") not in _OPEN_UPSAMPLING:
            raise ValueError(
                f"--upsampling: found {upsampling}, allowed: normal or more, of a SPADE file"
                " without up_4"
            )
        chosen["upsampling"] = upsampling
    prefix = next(iter(raw)).removesuffix(re.sub(f"^{_PREFIX}", "", next(iter(raw))))
    placed = _placed(state, found, file, prefix)
    notes = (*_note_old_statistics(file, len(raw) - len(state)), *_note_types(file, state.values()))
    return Network(file, replace(found, component=chosen), placed, notes)


def check_upsampling(network: Network, upsampling: str | None) -> None:
    """Refuse a SPADE generator whose file fits two networks while no option chooses one. Raises
    ValueError.
    """
    if upsampling is None and network.found.component.get("upsampling") in _OPEN_UPSAMPLING:
        raise ValueError(
            f"import: {network.file} fits SPADE's --num_upsampling_layers normal and more, which"
            " give different images; found no --upsampling, allowed: normal or more, as in the"
            f" opt.txt of its training; run gantrain import {network.file} --out FOLDER"
            " --upsampling more (or normal)"
        )


def cleaned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without wrappers' prefixes, and without what old instance norms tracked but
    did not use.
    """

    def named(key: str) -> str:
        module, dot, kind = re.sub(f"^{_PREFIX}", "", key).rpartition(".")
        return module + dot + _SPECTRAL.get(kind, kind)

    state = {named(key): tensor for key, tensor in state.items()}

    def is_old(key: str) -> bool:
        module, _, kind = key.rpartition(".")
        if module.endswith("param_free_norm"):  # SPADE's batch norms have statistics alone
            return False
        return kind in _RUNNING and f"{module}.weight" not in state

    return {key: tensor for key, tensor in state.items() if not is_old(key)}


def _note_old_statistics(file: Path, left_out: int) -> list[str]:
    if left_out == 0:
        return []
    return [
        f"left out: {left_out} running statistics of instance norms in {file}, which old versions"
        " did not use"
    ]


def _note_types(file: Path, tensors: Iterable[Tensor]) -> list[str]:
    types = {tensor.dtype for tensor in tensors if tensor.dtype in weight_files.FLOATS} - {
        torch.float32
    }
    names = sorted(str(dtype).removeprefix("torch.") for dtype in types)
    return (
        [f"converted: the weights of {file} from {' and '.join(names)} to float32"] if names else []
    )


def _recognised(state: dict[str, Tensor]) -> Found | None:
    for recognise in RECOGNISERS.values() if all(t.numel() for t in state.values()) else ():
        with suppress(KeyError, IndexError):
            if found := recognise(state):
                return found
    return None


def _is_known_blur(kernel: Tensor) -> bool:
    """Whether a blur in a file has the constant kernel of our own blurs, which no checkpoint of
    ours holds.
    """
    size = kernel.shape[-1] if kernel.ndim == 4 else 0
    if size not in _BLURS or kernel.shape[1:] != (1, size, size) or len(kernel) > _MOST_CHANNELS:
        return False
    line = torch.tensor(_BLURS[size])
    return torch.allclose(kernel.float(), torch.outer(line, line).expand_as(kernel), atol=1e-3)


def _placed(state: dict[str, Tensor], found: Found, file: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors by our names; raises ValueError unless each has a place, and each place a tensor.

    prefix: of the file's own keys, which a mistake is told by.
    """
    not_quite = f"import: {file} is not quite a {found.component['name']} known here"
    try:
        with torch.device("meta"):
            expected: dict[str, Tensor] = build(_KNOWN, found.component, **found.facts).state_dict()
    except (ValueError, RuntimeError, ZeroDivisionError) as e:  # of sizes that nothing can have
        raise ValueError(f"{not_quite} ({weight_files.reason(e)})") from None
    placed, unknown = dict[str, Tensor](), list[str]()

    def theirs(key: str) -> str:
        module, _, kind = key.rpartition(".")
        spectral = f"{module}.u" in state or f"{found.names.get(module)}.u" in expected
        return f"{prefix}{module}.{_ORIGINAL.get(kind, kind) if spectral else kind}"

    for key, tensor in state.items():
        module, _, kind = key.rpartition(".")
        ours = f"{found.names.get(module)}.{kind}"
        if kind == "filt" and _is_known_blur(tensor):
            continue
        if ours in expected and expected[ours].shape == tensor.shape:
            placed[ours] = tensor.to(expected[ours].dtype).clone()
        else:
            unknown.append(f"{theirs(key)} {tuple(tensor.shape)}")
    # Networks without any norm have biases here, and batch norms of before 2018 no counters.
    zero = (".bias",) if found.component.get("norm") == "none" else ("num_batches_tracked",)
    placed |= {
        n: torch.zeros(t.shape, dtype=t.dtype)
        for n, t in expected.items()
        if n not in placed and n.endswith(zero)
    }
    back = {ours: module for module, ours in found.names.items()}
    lacking = [name.rpartition(".") for name in expected if name not in placed]
    if unknown or lacking:
        problems = [f"no place for {', '.join(unknown[:3])}"] if unknown else []
        names = [theirs(f"{back.get(module, module)}.{kind}") for module, _, kind in lacking[:3]]
        problems += [f"nothing for {', '.join(names)}"] if names else []
        raise ValueError(f"{not_quite}: {'; '.join(problems)}")
    return placed
