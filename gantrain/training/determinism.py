"""`deterministic`: which algorithms of torch a run may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gantrain.core.errors import RunStopped

# The workspace with which cuBLAS adds up in a fixed order, as torch's notes on reproducibility say.
_CUBLAS_KEY = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_VALUES = (":4096:8", ":16:8")
_SIGN = "does not have a deterministic implementation"  # in torch's error


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Choose the algorithms of torch inside the block, which begins before CUDA starts.

    deterministic: an operator uses algorithms that give the same bits each time, or raises an
    error. cuDNN and the compiler then compare no kernels by their times. Otherwise cuDNN does, once
    for each size of images, which are fixed in training.
    """
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_benchmarked = torch.backends.cudnn.benchmark
    if deterministic and os.environ.get(_CUBLAS_KEY) not in _CUBLAS_VALUES:
        os.environ[_CUBLAS_KEY] = _CUBLAS_VALUES[0]
    if deterministic != was_deterministic:
        # This also forbids the compiler to choose kernels by their times.
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        if deterministic != was_deterministic:
            torch.use_deterministic_algorithms(was_deterministic)
        torch.backends.cudnn.benchmark = was_benchmarked


def refusal(error: BaseException) -> RunStopped | None:
    """Return one line for an operator without a deterministic algorithm, else None."""
    text = str(error)
    if not isinstance(error, RuntimeError) or _SIGN not in text:
        return None
    operator = text.split(_SIGN)[0].strip()
    return RunStopped(
        f"deterministic: found true, but {operator} has no deterministic algorithm on this device;"
        " choose a network or a loss without it, or give deterministic=false"
    )
