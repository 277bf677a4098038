"""From the files' integers to what a network sees, on the device."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.data.shards import Field

_HALF_RANGE = {"uint8": 127.5, "uint16": 32767.5, "float32": 0.5}


def normalise(raw: Tensor, field: Field, dtype: torch.dtype, device: torch.device) -> Tensor:
    """NHWC file values to NCHW: images in [-1, 1], class ids one-hot, ids of instances as their
    edges.

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
    if field.kind == "instances":
        return _edges(raw[..., 0].int()).to(dtype)
    return (raw.to(dtype) / _HALF_RANGE[field.dtype] - 1).permute(0, 3, 1, 2)  # NCHW


def _edges(ids: Tensor) -> Tensor:
    """Of ids NHW, where a pixel's differs from that of any of its 4 neighbours: N1HW (pix2pixHD,
    arXiv 1711.11585).
    """
    across, down = ids[:, :, 1:] != ids[:, :, :-1], ids[:, 1:] != ids[:, :-1]
    # Each difference marks both of its pixels; the image's border is none.
    beside = F.pad(across, (1, 0)) | F.pad(across, (0, 1))
    above = F.pad(down, (0, 0, 1, 0)) | F.pad(down, (0, 0, 0, 1))
    return (beside | above)[:, None]


def as_batch(
    raw: Mapping[str, Tensor], fields: Mapping[str, Field], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """File values by role as what methods see, NCHW: the edges of `instances` are the last
    channel of `source`.
    """
    batch = {role: normalise(raw[role], field, dtype, device) for role, field in fields.items()}
    if "instances" in batch:
        batch["source"] = torch.cat([batch["source"], batch.pop("instances")], 1)
    return batch


def to_files(images: Tensor, dtype: str) -> Tensor:
    """NCHW images in [-1, 1] to NHWC values of a file's dtype; the inverse of `normalise`."""
    values = ((images.detach().float().clamp(-1, 1) + 1) * _HALF_RANGE[dtype]).permute(0, 2, 3, 1)
    return values if dtype == "float32" else values.round().to(getattr(torch, dtype))


def channels(field: Field) -> int:
    """Channels that a network sees: one for each class of a label map."""
    return field.classes if field.kind == "label" and field.classes else field.channels


def data_dims(fields: Mapping[str, Field]) -> dict[str, int]:
    """What the data, by role, decide of a method's networks."""
    source = channels(fields["source"]) + ("instances" in fields)
    return {"source_channels": source, "target_channels": channels(fields["target"])}
