"""What is known of data sets, in the node's cache; where it can't be kept, that costs time and
no result.
"""

import contextlib
import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gantrain.core import files
from gantrain.data.cache import cache_folder

_READING = 2  # raised when the same files are decoded to other values than before


def load_cached_features(told: str, prefix: str = "") -> dict[str, Tensor]:
    """What was kept under `told`; empty where there is nothing. told: says what it is, down to
    the data's content.
    """
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(_file(told, prefix))
    return {}


def store_features(told: str, tensors: dict[str, Tensor], prefix: str = "") -> None:
    """Write whole files: several processes may."""
    path = _file(told, prefix)
    with contextlib.suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as partial:
            save_file(tensors, partial)


def _file(told: str, prefix: str) -> Path:
    digest = hashlib.sha256(f"{told} {_READING}".encode()).hexdigest()
    return cache_folder() / "metrics" / f"{prefix}{digest[:32]}.safetensors"
