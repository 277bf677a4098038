"""The description of a field of a data set, and the bounds that an untrusted one must keep."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel

from gantrain.core.errors import UserError
from gantrain.data.kinds.table import KINDS, check_kind
from gantrain.data.ranges import Range, check_range, check_takes_range, range_text
from gantrain.data.value_statistics import Finite, Statistics

# They are far beyond what anybody trains on, and keep a hostile index from making networks that
# fill the memory.
MOST_SIDE = 65536
MOST_CHANNELS = 1024
MOST_IDS = 65536  # 16 bits

NAME = r"^[A-Za-z0-9_-]{1,64}$"  # no dot, since WebDataset splits `key.member.ext` at dots
Name = Annotated[str, pydantic.Field(pattern=NAME)]
Positive = Annotated[int, pydantic.Field(gt=0, strict=True)]  # true is no number
Size = tuple[Positive, Positive]  # height, width
Id = Annotated[int, pydantic.Field(ge=0, lt=MOST_IDS)]
Pixels = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Byte = Annotated[int, pydantic.Field(ge=0, le=255)]
Dtype = Literal["uint8", "uint16", "int16", "float32"]


class Field(BaseModel, extra="forbid", frozen=True):
    """A named part of a sample, which training sees.

    member: the file in the tar. half: None for all of it, 0 for the left half, 1 for the right.
    kind: `label` holds class ids, `instances` holds ids of instances, `image` anything else.
    label_counts: pixels by id. ignore: the id of pixels that are of no class; networks see it as
    the last of `classes`, which counts it. min_size, max_size: smallest and largest (height, width)
    over the data set, in pixels. original_min_size, original_max_size: the same before `prepare`
    resized the files; None where it did not. range: the values that networks see as -1 and as 1,
    where somebody has chosen them; None stands for the full range of the dtype. statistics: the
    values of images of other dtypes than uint8.
    """

    member: Name
    half: Literal[0, 1] | None = None
    kind: Annotated[str, pydantic.AfterValidator(check_kind)] = "image"
    channels: Positive
    dtype: Dtype = "uint8"
    classes: Positive | None = None
    label_counts: dict[Id, Pixels] | None = None
    # Left out where there is none, so that older data sets keep their fingerprints.
    ignore: int | None = pydantic.Field(
        None, ge=0, le=65535, exclude_if=lambda ignore: ignore is None
    )
    palette: (
        Annotated[list[tuple[Byte, Byte, Byte]], pydantic.Field(max_length=MOST_IDS)] | None
    ) = None
    min_size: Size
    max_size: Size
    original_min_size: Size | None = None
    original_max_size: Size | None = None
    range: tuple[Finite, Finite] | None = pydantic.Field(
        None, exclude_if=lambda range: range is None
    )
    statistics: Statistics | None = pydantic.Field(
        None, exclude_if=lambda statistics: statistics is None
    )


def check_fields(fields: Mapping[str, Field]) -> None:
    """Raises UserError for the first field for which no network could be built."""
    for name, field in fields.items():
        bounds = {
            "channels": (field.channels, MOST_CHANNELS),
            "classes": (field.classes or 1, MOST_IDS),
            "min_size": (max(field.min_size), MOST_SIDE),
            "max_size": (max(field.max_size), MOST_SIDE),
            "original_min_size": (max(field.original_min_size or (1,)), MOST_SIDE),
            "original_max_size": (max(field.original_max_size or (1,)), MOST_SIDE),
        }
        for key, (value, most) in bounds.items():
            if value > most:
                raise UserError(f"fields.{name}.{key}: found {value}, allowed: at most {most}")
        if KINDS[field.kind].has_classes and field.classes is None:
            raise UserError(f"fields.{name}.classes: missing, although the field holds class ids")
        if field.range is not None:
            _check_field_range(name, field, field.range)
        if any(least > most for least, most in zip(field.min_size, field.max_size, strict=True)):
            sizes = f"{list(field.min_size)} and max_size {list(field.max_size)}"
            raise UserError(f"fields.{name}.min_size: found {sizes}, allowed: at most max_size")


def _check_field_range(name: str, field: Field, values: Range) -> None:
    """Raises UserError where a field cannot have its range."""
    try:
        check_takes_range(name, field.dtype, values, has_range=KINDS[field.kind].has_range)
    except UserError as error:
        raise UserError(f"fields.{name}.range: {error}") from None
    try:
        check_range(values)
    except UserError as error:
        raise UserError(f"fields.{name}.range: found {range_text(values)}, {error}") from None
