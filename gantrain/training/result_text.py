"""Describes what a user's own class returned, for messages."""

import numpy as np
from torch import Tensor


def describe_result(value: object) -> str:
    """Describe an array or a tensor by its dtype and shape, and anything else by its type."""
    if isinstance(value, np.ndarray | Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__
