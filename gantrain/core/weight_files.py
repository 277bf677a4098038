"""Weights from anywhere: of a file nothing is unpickled but tensors and plain values."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gantrain.core.out_of_memory import is_out_of_memory
from gantrain.core.paths import check_not_special

FLOATS = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
)  # those that weights are kept in


def read(path: str | Path, setting: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or PyTorch file by name. Raises ValueError in the name of
    `setting`.
    """
    check_not_special(path, setting)
    try:
        content = (
            load_file(path)
            if Path(path).suffix == ".safetensors"
            else torch.load(path, "cpu", weights_only=True)
        )
    except Exception as e:  # of the disk, of zip files, of pickles that hold more than tensors
        if is_out_of_memory(e):
            raise
        raise ValueError(
            f"{setting}: {path} can't be read as tensors by name ({reason(e)}); {advice}"
        ) from None
    named = content if isinstance(content, Mapping) else {}
    odd = [key for key, value in named.items() if not isinstance(value, Tensor)]
    if odd or not named:
        what = f"{odd[0]!r} is no tensor" if odd else "nothing in it has a name"
        raise ValueError(f"{setting}: {path} is no state_dict ({what}); {advice}")
    sparse = [key for key, value in named.items() if value.layout != torch.strided]
    if sparse:
        raise ValueError(
            f"{setting}: {path}: {sparse[0]!r:.100} is sparse, allowed: dense tensors; {advice}"
        )
    tensors = {str(key): tensor.detach() for key, tensor in named.items()}
    if (nonfinite := first_nonfinite(tensors)) is not None:
        raise ValueError(f"{setting}: {path} holds NaN or infinite values in {nonfinite}; {advice}")
    return tensors


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinite values. Needs no memory of a
    tensor's size.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS or not tensor.numel():
            continue
        elements = tensor.untyped_storage().nbytes() // tensor.element_size()
        # A file may name one element billions of times; then what it has is looked at, instead of
        # what it names.
        values = tensor if tensor.numel() <= elements else tensor.as_strided((elements,), (1,), 0)
        lowest, highest = torch.aminmax(values)  # NaN where there is one
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            return name
    return None


def misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The first way in which the tensors are not those that a network or an optimiser has; empty
    where they are.
    """
    for name, wanted in expected.items():
        if name not in tensors:
            return f"{name} is missing"
        given = tensors[name]
        if given.shape != wanted.shape:
            return f"{name} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}"
        same_kind = given.dtype in FLOATS if wanted.dtype in FLOATS else given.dtype == wanted.dtype
        if not same_kind:
            return f"{name} is {given.dtype}, expected {wanted.dtype}".replace("torch.", "")
    unknown = next((name for name in tensors if name not in expected), None)
    return "" if unknown is None else f"{unknown!r:.100} is unknown"


def reason(error: Exception) -> str:
    """What a library says, as one short line; PyTorch goes on with advice."""
    text = " ".join(str(error).split()).split(". ")[0][:200]
    return text if len(text.split()) > 1 else f"{type(error).__name__} {text}".strip()
