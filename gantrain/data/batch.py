"""Convert the values in files to what a network sees, and back, on the device."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gantrain.data.kinds.image import ImageKind
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field


def normalise(raw: Tensor, field: Field, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert NHWC file values to what networks see, NCHW, as the field's kind describes it."""
    raw = raw.to(device, non_blocking=True)
    return KINDS[field.kind].normalise(raw, field, dtype, device)


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
    return ImageKind().to_files(images, dtype)


def channels(field: Field) -> int:
    """Return the channels that a network sees."""
    return KINDS[field.kind].network_channels(field)


def data_dims(fields: Mapping[str, Field]) -> dict[str, int]:
    """Return the arguments of a method's networks that the data's fields, by role, determine."""
    source = channels(fields["source"])
    if "instances" in fields:
        source += 1  # the boundary map
    return {"source_channels": source, "target_channels": channels(fields["target"])}
