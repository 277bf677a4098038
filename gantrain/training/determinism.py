"""`deterministic`: which algorithms of torch a run may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gantrain.core.errors import RunStopped, UserError

# The workspace with which cuBLAS adds up in a fixed order, as torch's notes on reproducibility say.
_CUBLAS_KEY = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_VALUES = (":4096:8", ":16:8")
_SIGN = "does not have a deterministic implementation"  # in torch's error


@contextmanager
def algorithms(deterministic: bool) -> Iterator[None]:
    """Choose the algorithms of torch inside the block.

    deterministic: an operator uses algorithms that give the same bits each time, or the block
    raises RunStopped in one line. cuDNN and the compiler then compare no kernels by their times.
    Otherwise cuDNN does, once for each size of images, which are fixed in training, unless the
    caller has chosen deterministic algorithms. Raises UserError where CUDA has started without the
    setting that cuBLAS needs for them.
    """
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    was_benchmarked = torch.backends.cudnn.benchmark
    cublas_setting = os.environ.get(_CUBLAS_KEY)
    if deterministic and cublas_setting not in _CUBLAS_VALUES:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise UserError(
                f"deterministic: CUDA has started without {_CUBLAS_KEY}; set it to"
                f" {_CUBLAS_VALUES[0]} before Python starts"
            )
        os.environ[_CUBLAS_KEY] = _CUBLAS_VALUES[0]
    if deterministic:
        # This also forbids the compiler to choose kernels by their times.
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = not (deterministic or was_deterministic)
    try:
        yield
    except RuntimeError as error:
        stop = refusal(error) if deterministic else None
        if stop is None:
            raise
        raise stop from None
    finally:
        torch.use_deterministic_algorithms(was_deterministic, warn_only=only_warned)
        torch.backends.cudnn.benchmark = was_benchmarked
        if cublas_setting is None:
            os.environ.pop(_CUBLAS_KEY, None)
        else:
            os.environ[_CUBLAS_KEY] = cublas_setting


def refusal(error: BaseException) -> RunStopped | None:
    """Return one line for an operator without a deterministic algorithm, else None."""
    text = str(error)
    if not isinstance(error, RuntimeError) or _SIGN not in text:
        return None
    operator = text.split(_SIGN)[0].strip()
    return RunStopped(
        f"deterministic: found true, but {operator} has no deterministic algorithm on this device;"
        " choose a network, a loss or a metric without it, or give deterministic=false"
    )
