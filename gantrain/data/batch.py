"""From the files' integers to what a network sees, on the device."""

import torch
from torch import Tensor

from gantrain.data.shards import Field

_HALF_RANGE = {"uint8": 127.5, "uint16": 32767.5, "float32": 0.5}


def normalise(raw: Tensor, field: Field, dtype: torch.dtype, device: torch.device) -> Tensor:
    """NHWC file values to NCHW: images in [-1, 1], class ids one-hot.

    float32 files hold values in [0, 1].
    """
    raw = raw.to(device, non_blocking=True)
    if field.kind == "label":
        assert field.classes is not None
        ids = raw[..., 0].long()  # NHW
        if field.ignore is not None:
            ids = ids.masked_fill(ids == field.ignore, field.classes - 1)
        one_hot = torch.zeros((*ids.shape, field.classes), dtype=dtype, device=device)
        return one_hot.scatter_(3, ids[..., None], 1).permute(0, 3, 1, 2)
    return (raw.to(dtype) / _HALF_RANGE[field.dtype] - 1).permute(0, 3, 1, 2)  # NCHW


def to_files(images: Tensor, dtype: str) -> Tensor:
    """NCHW images in [-1, 1] to NHWC values of a file's dtype; the inverse of `normalise`."""
    values = ((images.detach().float().clamp(-1, 1) + 1) * _HALF_RANGE[dtype]).permute(0, 2, 3, 1)
    return values if dtype == "float32" else values.round().to(getattr(torch, dtype))


def channels(field: Field) -> int:
    """Channels that a network sees: one for each class of a label map."""
    return field.classes if field.kind == "label" and field.classes else field.channels
