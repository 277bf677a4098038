"""Recognises failures to allocate memory, on every device.

It raises them again as one line that names what was too large.
"""

import gc
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch

from gantrain.core.errors import UserError

# How torch, oneDNN, cuDNN and cuBLAS say so in a RuntimeError.
_SIGNS = (
    "DefaultCPUAllocator",
    "out of memory",
    "could not create a memory object",
    "_STATUS_ALLOC_FAILED",
)
_REQUEST = re.compile(r"allocate ([0-9.]+) ?(bytes|KiB|MiB|GiB|TiB)")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class OutOfMemory(UserError):
    """An image needs more memory than there is. The message names it and says what to do.

    only_this_rank: of several ranks, only this one knows.
    """

    only_this_rank = True


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, of the device's memory or of the machine's."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def describe_request(error: BaseException) -> str:
    """Describe the allocation that failed, such as " (1.5 GiB were requested)".

    The text is empty where the error states no size.
    """
    match = _REQUEST.search(str(error))
    if match is None:
        return ""
    size = float(match[1].rstrip(".")) * _UNITS[match[2]]
    return f" ({size / 2**30:,.3g} GiB were requested)"


def release(device: torch.device) -> None:
    """Give memory that nothing uses back, so that others can have it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def naming_too_large(what: str, device: torch.device, advice: str) -> Iterator[None]:
    """Raise a failure to allocate memory as OutOfMemory.

    what: names the image and its size. advice: what the user can do.
    """
    problem = ""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        problem = f"{what}: out of memory on {device.type}{describe_request(error)}; {advice}"
        traceback.clear_frames(error.__traceback__)  # they hold tensors
    if problem:
        release(device)
        raise OutOfMemory(problem)


def naming_argument(
    size: Sequence[int] | None, device: torch.device
) -> AbstractContextManager[None]:
    """Raise a failure to allocate memory as OutOfMemory, for an image that Python code gives.

    size: its height and width; None while it is read.
    """
    what = "image" if size is None else f"image of {size[0]}x{size[1]}"
    advice = "give a smaller image, or a smaller size=(height, width)"
    if device.type == "cuda":
        advice += ", or load the model with device='cpu'"
    return naming_too_large(what, device, advice)
