"""Tries a user's own kinds of fields once, before the run's folder is made."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gantrain.core.component import BadComponent
from gantrain.core.own_code import is_own
from gantrain.data.batch import channels, normalise
from gantrain.data.field import Field
from gantrain.data.kinds.table import KINDS
from gantrain.data.pictures import viewable
from gantrain.data.transforms import Size, resize_sample
from gantrain.training.result_text import describe_result


def try_kinds(fields: Mapping[str, Field], size: Size) -> None:
    """Resize, normalise and draw an array of zeros by each kind from outside gantrain.

    fields: those of the data, by role. size: of the crop. Raises UserError, in one line that names
    the class and its function.
    """
    for role, field in fields.items():
        if is_own(type(KINDS[field.kind])):
            _try_kind(role, field, size)


def _try_kind(role: str, field: Field, size: Size) -> None:
    kind = KINDS[field.kind]
    name = f"{field.member}: {type(kind).__name__}"
    height, width = size
    larger = np.zeros((2 * height, 2 * width, field.channels), field.dtype)
    resized: object = resize_sample({role: larger}, size, {role: kind})[role]
    shape = (height, width, field.channels)
    is_array = isinstance(resized, np.ndarray) and resized.dtype == larger.dtype
    if not isinstance(resized, np.ndarray) or not is_array or resized.shape != shape:
        raise BadComponent(
            f"{name}.resize gives {describe_result(resized)}, allowed: {field.dtype} of shape"
            f" {shape}"
        )
    seen: object = normalise(
        torch.from_numpy(resized)[None], field, torch.float32, torch.device("cpu")
    )
    wanted = (1, channels(field), height, width)
    if not isinstance(seen, Tensor) or seen.shape != wanted or seen.dtype != torch.float32:
        raise BadComponent(
            f"{name}.normalise gives {describe_result(seen)}, allowed: torch.float32 of shape"
            f" {wanted}, by its network_channels"
        )
    picture: object = viewable(seen, field)
    wanted = (1, height, width, 3)
    if not isinstance(picture, np.ndarray) or picture.shape != wanted or picture.dtype != np.uint8:
        raise BadComponent(
            f"{name}.picture gives {describe_result(picture)}, allowed: uint8 of shape {wanted}"
        )
