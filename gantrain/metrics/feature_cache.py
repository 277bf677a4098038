"""Cache features of data sets on the node.

A file that cannot be written or read costs time, because the features are computed again. It does
not change a result.
"""

import contextlib
import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gantrain.core import files
from gantrain.data.cache import cache_folder

_READING = 3  # raised when the same files are decoded or resized to other values than before


def load_cached_features(cache_key: str, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors that `store_features` stored under the key; empty if there are none.

    cache_key: describes what the tensors were computed from, down to the data's content. prefix:
    begins the file's name.
    """
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(_file(cache_key, prefix))
    return {}


def store_features(cache_key: str, tensors: dict[str, Tensor], prefix: str = "") -> None:
    """Write tensors under the key. Several processes may write the same key at the same time."""
    path = _file(cache_key, prefix)
    with contextlib.suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as partial:
            save_file(tensors, partial)


def _file(cache_key: str, prefix: str) -> Path:
    digest = hashlib.sha256(f"{cache_key} {_READING}".encode()).hexdigest()
    return cache_folder() / "metrics" / f"{prefix}{digest[:32]}.safetensors"
