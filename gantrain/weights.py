"""Weights from anywhere: of a file nothing is unpickled but tensors and plain values."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gantrain.paths import check_not_special


def read(path: str | Path, setting: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or PyTorch file by name. Raises ValueError in the name of `setting`."""
    check_not_special(path, setting)
    try:
        content = load_file(path) if Path(path).suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as e:  # of the disk, of zip files, of pickles that hold more than tensors
        raise ValueError(f"{setting}: {path} can't be read as tensors by name ({reason(e)}); {advice}") from None
    named = content if isinstance(content, Mapping) else {}
    odd = [key for key, value in named.items() if not isinstance(value, Tensor)]
    if odd or not named:
        what = f"{odd[0]!r} is no tensor" if odd else "nothing in it has a name"
        raise ValueError(f"{setting}: {path} is no state_dict ({what}); {advice}")
    return {str(key): tensor.detach() for key, tensor in named.items()}


def reason(error: Exception) -> str:
    """What a library says, as one short line; PyTorch goes on with advice."""
    text = " ".join(str(error).split()).split(". ")[0][:200]
    return text if len(text.split()) > 1 else f"{type(error).__name__} {text}".strip()
