"""Read the file of one network: recognise its layout, and give its tensors our names."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.core import weight_files
from gantrain.core.component import build
from gantrain.core.errors import UserError
from gantrain.importers import RECOGNISERS
from gantrain.importers.layout import GENERATOR_ROLE, Layout
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
# One row of CUT's blurs by the size of their kernel: 3 for down-sampling, 4 for up-sampling.
_BLURS = {3: (0.25, 0.5, 0.25), 4: (0.25, 0.75, 0.75, 0.25)}
_MOST_CHANNELS = 2**16


@dataclass(frozen=True)
class NetworkFile:
    """The network of one file, with its tensors by our names.

    notes: what the importer left out or converted, one sentence each.
    """

    file: Path
    layout: Layout
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        options = {**self.layout.component, **self.layout.data_dims}
        name = options.pop("name")
        described = ", ".join(f"{key} {value}" for key, value in options.items())
        return f"{name} ({described})"


def read(file: Path, norm: str | None, upsampling: str | None) -> NetworkFile:
    """Read the network in a file. norm, upsampling: as in ImportOptions. Raises UserError."""
    raw = weight_files.read(file, "import", _ADVICE)
    state = cleaned(raw)
    layout = _recognise(state)
    if layout is None:
        first_keys = ", ".join(list(raw)[:3])
        raise UserError(
            f"import: {file} holds no network known here (its keys: {first_keys} ...), allowed:"
            f" {', '.join(RECOGNISERS)}"
        )
    component = dict(layout.component)
    if norm and "norm" in component:
        allowed = ALLOWED_NORMS[component["norm"]]
        if norm not in allowed:
            raise UserError(
                f"--norm: found {norm}, allowed by the keys of {file}: {', '.join(allowed)}"
            )
        component["norm"] = norm
    if upsampling and layout.role == GENERATOR_ROLE:
        if (
            upsampling not in _OPEN_UPSAMPLING
            or component.get("upsampling") not in _OPEN_UPSAMPLING
        ):
            raise UserError(
                f"--upsampling: found {upsampling}, allowed: normal or more, of a SPADE file"
                " without up_4"
            )
        component["upsampling"] = upsampling
    first_key = next(iter(raw))
    prefix = first_key.removesuffix(_without_wrappers(first_key))
    tensors = _Placement(state, layout, prefix).place(file)
    notes = (*_note_old_statistics(file, len(raw) - len(state)), *_note_types(file, state.values()))
    return NetworkFile(file, replace(layout, component=component), tensors, notes)


def check_upsampling(network: NetworkFile, upsampling: str | None) -> None:
    """Refuse a SPADE generator whose file fits two networks while no option chooses one.

    Raises UserError.
    """
    if upsampling is None and network.layout.component.get("upsampling") in _OPEN_UPSAMPLING:
        raise UserError(
            f"import: {network.file} fits SPADE's --num_upsampling_layers normal and more, which"
            " give different images; found no --upsampling, allowed: normal or more, as in the"
            f" opt.txt of its training; run gantrain import {network.file} --out FOLDER"
            " --upsampling more (or normal)"
        )


def cleaned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without wrappers' prefixes and without old instance norms' statistics.

    Old instance norms tracked running statistics, but did not use them.
    """
    named = {_our_spectral_name(_without_wrappers(key)): tensor for key, tensor in state.items()}
    return {key: tensor for key, tensor in named.items() if not _is_unused_statistic(key, named)}


def _without_wrappers(key: str) -> str:
    return re.sub(f"^{_PREFIX}", "", key)


def _our_spectral_name(key: str) -> str:
    module, dot, kind = key.rpartition(".")
    return module + dot + _SPECTRAL.get(kind, kind)


def _is_unused_statistic(key: str, state: dict[str, Tensor]) -> bool:
    module, _, kind = key.rpartition(".")
    if module.endswith("param_free_norm"):  # SPADE's batch norms have statistics alone
        return False
    return kind in _RUNNING and f"{module}.weight" not in state


def _note_old_statistics(file: Path, left_out: int) -> list[str]:
    if left_out == 0:
        return []
    return [
        f"left out: {left_out} running statistics of instance norms in {file}, which old versions"
        " did not use"
    ]


def _note_types(file: Path, tensors: Iterable[Tensor]) -> list[str]:
    types = {tensor.dtype for tensor in tensors if tensor.dtype in weight_files.FLOATS}
    names = sorted(str(dtype).removeprefix("torch.") for dtype in types - {torch.float32})
    if not names:
        return []
    return [f"converted: the weights of {file} from {' and '.join(names)} to float32"]


def _recognise(state: dict[str, Tensor]) -> Layout | None:
    """Return the layout of the first recogniser that knows these keys."""
    if any(tensor.numel() == 0 for tensor in state.values()):
        return None
    for recognise in RECOGNISERS.values():
        with suppress(KeyError, IndexError):
            layout = recognise(state)
            if layout is not None:
                return layout
    return None


def _is_known_blur(kernel: Tensor) -> bool:
    """Return whether a blur in a file has the kernel of our own blurs.

    That kernel is constant, so no checkpoint of ours holds it.
    """
    size = kernel.shape[-1] if kernel.ndim == 4 else 0
    if size not in _BLURS or kernel.shape[1:] != (1, size, size) or len(kernel) > _MOST_CHANNELS:
        return False
    row = torch.tensor(_BLURS[size])
    return torch.allclose(kernel.float(), torch.outer(row, row).expand_as(kernel), atol=1e-3)


class _Placement:
    """Gives the tensors of a file the names of our network.

    prefix: begins the file's own keys, which errors give.
    """

    def __init__(self, state: dict[str, Tensor], layout: Layout, prefix: str) -> None:
        self.state = state
        self.layout = layout
        self.prefix = prefix
        self.expected: dict[str, Tensor] = {}

    def place(self, file: Path) -> dict[str, Tensor]:
        """Return the tensors by our names.

        Raises UserError unless each tensor has a place, and each place a tensor.
        """
        not_quite = f"import: {file} is not quite a {self.layout.component['name']} known here"
        try:
            self.expected = self._expected_tensors()
        except (ValueError, RuntimeError, ZeroDivisionError) as e:  # sizes that nothing can have
            raise UserError(f"{not_quite} ({weight_files.reason(e)})") from None
        placed: dict[str, Tensor] = {}
        unknown: list[str] = []
        for key, tensor in self.state.items():
            module, _, kind = key.rpartition(".")
            ours = f"{self.layout.names.get(module)}.{kind}"
            if kind == "filt" and _is_known_blur(tensor):
                continue
            if ours in self.expected and self.expected[ours].shape == tensor.shape:
                placed[ours] = tensor.to(self.expected[ours].dtype).clone()
            else:
                unknown.append(f"{self._file_key(key)} {tuple(tensor.shape)}")
        self._add_zeros(placed)
        missing = [name for name in self.expected if name not in placed]
        problems: list[str] = []
        if unknown:
            problems.append(f"no place for {', '.join(unknown[:3])}")
        if missing:
            problems.append(f"nothing for {', '.join(self._file_keys(missing[:3]))}")
        if problems:
            raise UserError(f"{not_quite}: {'; '.join(problems)}")
        return placed

    def _expected_tensors(self) -> dict[str, Tensor]:
        with torch.device("meta"):
            network = build(_KNOWN, self.layout.component, **self.layout.data_dims)
        state: dict[str, Tensor] = network.state_dict()
        return state

    def _add_zeros(self, placed: dict[str, Tensor]) -> None:
        """Add tensors that a file may lack.

        Networks without any norm have biases in our layout alone, and batch norms of before 2018
        have no counters.
        """
        has_no_norm = self.layout.component.get("norm") == "none"
        ending = ".bias" if has_no_norm else "num_batches_tracked"
        for name, tensor in self.expected.items():
            if name not in placed and name.endswith(ending):
                placed[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)

    def _file_key(self, key: str) -> str:
        """Return a key as the file has it, by the key without wrappers."""
        module, _, kind = key.rpartition(".")
        ours = self.layout.names.get(module)
        is_spectral = f"{module}.u" in self.state or f"{ours}.u" in self.expected
        if is_spectral:
            kind = _ORIGINAL.get(kind, kind)
        return f"{self.prefix}{module}.{kind}"

    def _file_keys(self, names: Iterable[str]) -> list[str]:
        """Return the keys that tensors of our names have in the file."""
        theirs = {ours: module for module, ours in self.layout.names.items()}
        keys = []
        for name in names:
            module, _, kind = name.rpartition(".")
            keys.append(self._file_key(f"{theirs.get(module, module)}.{kind}"))
        return keys
