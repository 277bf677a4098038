"""Reads files of weights from anywhere: only tensors and plain values are unpickled."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gantrain.core.errors import UserError
from gantrain.core.out_of_memory import is_out_of_memory
from gantrain.core.paths import check_not_special

# The floating-point types that weights are stored in.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read(path: str | Path, setting: str, advice: str) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or PyTorch file by name.

    setting: begins the message. advice: ends it. Raises UserError.
    """
    check_not_special(path, setting)
    if not Path(path).is_file():
        kind = "is a folder" if Path(path).is_dir() else "does not exist"
        raise UserError(f"{setting}: {path} {kind}; {advice}")
    content: object
    try:
        if Path(path).suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, "cpu", weights_only=True)
    except Exception as e:  # of the disk, of zip files, of pickles that hold more than tensors
        if is_out_of_memory(e):
            raise
        raise UserError(
            f"{setting}: {path} can't be read as tensors by name ({reason(e)}); {advice}"
        ) from None
    named = content if isinstance(content, Mapping) else {}
    others = [key for key, value in named.items() if not isinstance(value, Tensor)]
    if others or not named:
        what = f"{others[0]!r} is no tensor" if others else "nothing in it has a name"
        raise UserError(f"{setting}: {path} is no state_dict ({what}); {advice}")
    sparse = [key for key, value in named.items() if value.layout != torch.strided]
    if sparse:
        raise UserError(
            f"{setting}: {path}: {sparse[0]!r:.100} is sparse, allowed: dense tensors; {advice}"
        )
    tensors = {str(key): tensor.detach() for key, tensor in named.items()}
    nonfinite = first_nonfinite(tensors)
    if nonfinite is not None:
        raise UserError(f"{setting}: {path} holds NaN or infinite values in {nonfinite}; {advice}")
    return tensors


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinite values, or None.

    It needs no memory of a tensor's size.
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
    """Return how the tensors differ from those of a network or an optimiser.

    Only the first difference counts. The text is empty where there is none.
    """
    for name, network_tensor in expected.items():
        if name not in tensors:
            return f"{name} is missing"
        tensor = tensors[name]
        if tensor.shape != network_tensor.shape:
            return f"{name} has shape {tuple(tensor.shape)}, expected {tuple(network_tensor.shape)}"
        are_floats = tensor.dtype in FLOATS and network_tensor.dtype in FLOATS
        if tensor.dtype != network_tensor.dtype and not are_floats:
            dtypes = f"{tensor.dtype}, expected {network_tensor.dtype}".replace("torch.", "")
            return f"{name} is {dtypes}"
    unknown = next((name for name in tensors if name not in expected), None)
    return "" if unknown is None else f"{unknown!r:.100} is unknown"


def reason(error: Exception) -> str:
    """Return a library's error as one short line, without the advice that PyTorch appends."""
    text = " ".join(str(error).split()).split(". ")[0][:200]
    return text if len(text.split()) > 1 else f"{type(error).__name__} {text}".strip()
