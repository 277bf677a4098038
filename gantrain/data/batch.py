"""Convert the values in files to what a network sees, and back, on the device."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.data.shards import Field

_HALF_RANGE = {"uint8": 127.5, "uint16": 32767.5, "float32": 0.5}


def normalise(raw: Tensor, field: Field, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert NHWC file values to NCHW.

    Images are in [-1, 1], class ids are one-hot, and ids of instances become their boundary map.
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
        return _instance_boundaries(raw[..., 0].int()).to(dtype)
    return (raw.to(dtype) / _HALF_RANGE[field.dtype] - 1).permute(0, 3, 1, 2)  # NCHW


def _instance_boundaries(ids: Tensor) -> Tensor:
    """Return the instance boundary map of ids NHW: N1HW, true at boundaries.

    A pixel lies at a boundary where its id differs from the id of any of its 4 neighbours
    (pix2pixHD, arXiv 1711.11585).
    """
    differs_across = ids[:, :, 1:] != ids[:, :, :-1]
    differs_down = ids[:, 1:] != ids[:, :-1]
    # Each difference marks both of its pixels; the image's border is no boundary.
    beside = F.pad(differs_across, (1, 0)) | F.pad(differs_across, (0, 1))
    above = F.pad(differs_down, (0, 0, 1, 0)) | F.pad(differs_down, (0, 0, 0, 1))
    return (beside | above)[:, None]


def as_batch(
    raw: Mapping[str, Tensor], fields: Mapping[str, Field], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Convert file values by role to the NCHW batch that methods see.

    The boundary map of `instances` becomes the last channel of `source`.
    """
    batch = {role: normalise(raw[role], field, dtype, device) for role, field in fields.items()}
    if "instances" in batch:
        batch["source"] = torch.cat([batch["source"], batch.pop("instances")], 1)
    return batch


def to_files(images: Tensor, dtype: str) -> Tensor:
    """Convert NCHW images in [-1, 1] to NHWC values of a file's dtype; inverts `normalise`."""
    clamped = images.detach().float().clamp(-1, 1)
    values = ((clamped + 1) * _HALF_RANGE[dtype]).permute(0, 2, 3, 1)
    return values if dtype == "float32" else values.round().to(getattr(torch, dtype))


def channels(field: Field) -> int:
    """Return the channels that a network sees: one for each class of a label map."""
    if field.kind == "label" and field.classes:
        return field.classes
    return field.channels


def data_dims(fields: Mapping[str, Field]) -> dict[str, int]:
    """Return the arguments of a method's networks that the data's fields, by role, determine."""
    source = channels(fields["source"])
    if "instances" in fields:
        source += 1  # the boundary map
    return {"source_channels": source, "target_channels": channels(fields["target"])}
