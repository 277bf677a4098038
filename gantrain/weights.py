"""Weights from anywhere: of a file nothing is unpickled but tensors and plain values."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def read(path: str | Path, setting: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or PyTorch file by name. Raises ValueError in the name of `setting`."""
    try:
        content = load_file(path) if Path(path).suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as e:  # of the disk, of zip files, of pickles that hold more than tensors
        raise ValueError(f"{setting}: {path} can't be read as tensors by name ({reason(e)}); {advice}") from None
    odd = [k for k, v in content.items() if not isinstance(v, Tensor)] if isinstance(content, Mapping) else ["content"]
    if odd or not content:
        what = f"{odd[0]!r} is no tensor" if odd else "it is empty"
        raise ValueError(f"{setting}: {path} is no state_dict ({what}); {advice}")
    return {str(key): tensor.detach() for key, tensor in content.items()}


def reason(error: Exception) -> str:
    """What a library says, as one short line; PyTorch goes on with advice."""
    return " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
