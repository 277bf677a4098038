"""Convert the values in files to what a network sees, and back, on the device."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gantrain.core.own_code import naming_failure
from gantrain.data.kinds.image import ImageKind
from gantrain.data.kinds.table import KINDS
from gantrain.data.shards import Field

COMMON_ROLES = ("source", "target")


def normalise(raw: Tensor, field: Field, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert NHWC file values to what networks see, NCHW, as the field's kind describes it."""
    raw = raw.to(device, non_blocking=True)
    kind = KINDS[field.kind]
    with naming_failure(kind, "normalise"):
        return kind.normalise(raw, field, dtype, device)


def as_batch(
    raw: Mapping[str, Tensor], fields: Mapping[str, Field], dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """Convert file values by role to the NCHW batch that methods see.

    fields: by role. The channels of those beside source and target follow the source's in `source`.
    """
    batch = {role: normalise(raw[role], field, dtype, device) for role, field in fields.items()}
    further = [batch[role] for role in fields if role not in COMMON_ROLES]
    if further:
        batch["source"] = torch.cat([batch["source"], *further], 1)
    return batch


def split_inputs(source: Tensor, fields: Mapping[str, Field]) -> dict[str, Tensor]:
    """Return the further inputs by role, whose channels follow those of the source in `source`."""
    start = channels(fields["source"])
    inputs: dict[str, Tensor] = {}
    for role, field in fields.items():
        if role not in COMMON_ROLES:
            inputs[role] = source[:, start : start + channels(field)]
            start += channels(field)
    return inputs


def to_files(images: Tensor, field: Field) -> Tensor:
    """Convert NCHW images in [-1, 1] to NHWC values of an image field; inverts `normalise`."""
    return ImageKind().to_files(images, field)


def channels(field: Field) -> int:
    """Return the channels that a network sees."""
    kind = KINDS[field.kind]
    with naming_failure(kind, "network_channels"):
        return kind.network_channels(field)


def data_dims(fields: Mapping[str, Field]) -> dict[str, int]:
    """Return the arguments of a method's networks that the data's fields, by role, determine."""
    of_source = sum(channels(field) for role, field in fields.items() if role != "target")
    return {"source_channels": of_source, "target_channels": channels(fields["target"])}
