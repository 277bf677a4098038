"""The contract of a kind of field."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from gantrain.core.errors import UserError
from gantrain.data.ranges import Range

if TYPE_CHECKING:  # whose import takes a second
    import torch
    from torch import Tensor

Array = NDArray[Any]  # HWC
PixelFormat = tuple[int, str]  # channels, dtype
Colour = tuple[int, int, int]

DTYPES = ("uint8", "uint16", "int16", "float32")


class NotLabels(UserError):
    """A file that decodes but cannot hold the ids or the mask that it should hold."""


class FieldContent(Protocol):
    """The properties of a field that a kind uses; `gantrain.data.index.Field` has them."""

    @property
    def channels(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def ignore(self) -> int | None: ...
    @property
    def palette(self) -> list[Colour] | None: ...
    @property
    def range(self) -> Range | None: ...


class Kind:
    """The meaning of a field's values, and their treatment on the way to the networks.

    Several threads call an object at once, so its functions must not change it.

    Attributes:
        name: The name in an index and in a recipe.
        content: What files of this kind hold, for messages.
        has_exact_values: Values are numbers of things and are never mixed. Files with loss are
            refused, palettes stay indices, and colour jitter leaves the field alone.
        has_range: A range of the values maps to what networks see, and values outside are clipped.
        has_classes: Values are the ids of classes, whose number a field states.
        is_further_input: The kind serves as an input of a method beside its source, and not as a
            source or target.
        prepare_option: The option of `gantrain prepare` that names the fields of this kind; empty
            where there is none, as for a kind from outside gantrain.
        true_value: The value that a boolean array and a 1-bit file have for true.
    """

    name: ClassVar[str]
    content: ClassVar[str]
    has_exact_values: ClassVar[bool]
    has_range: ClassVar[bool] = False
    has_classes: ClassVar[bool] = False
    is_further_input: ClassVar[bool] = False
    prepare_option: ClassVar[str] = ""
    true_value: ClassVar[int] = 1

    def check(self, array: Array) -> Array:
        """Return a decoded array, HWC, in a dtype that data sets hold.

        Raises UserError, in one line, for what the kind cannot hold.
        """
        raise NotImplementedError

    def can_fit(self, own: PixelFormat, wanted: PixelFormat) -> bool:
        """Return whether `fit` converts every file of one format to another one."""
        raise NotImplementedError

    def fit(self, array: Array, wanted: PixelFormat) -> Array:
        """Return an array HWC in the wanted format, or the array itself where that cannot be."""
        raise NotImplementedError

    def usual_format(self, counts: Mapping[PixelFormat, int]) -> PixelFormat:
        """Return the format of a whole field. counts: its files by their format."""
        raise NotImplementedError

    def resize(self, array: Array, height: int, width: int) -> Array:
        """Return an array HWC, as networks see it, at another size."""
        raise NotImplementedError

    def resize_for_storage(self, array: Array, height: int, width: int) -> Array:
        """Return an array HWC at another size for a data set on disk.

        Override it where `resize` may give other bits with another version of a library: the
        fingerprint of a data set covers the bytes.
        """
        return self.resize(array, height, width)

    def network_channels(self, field: FieldContent) -> int:
        """Return the number of channels that a network sees."""
        return field.channels

    def normalise(
        self, raw: "Tensor", field: FieldContent, dtype: "torch.dtype", device: "torch.device"
    ) -> "Tensor":
        """Return what a network sees, NCHW, of file values NHWC that are on the device."""
        raise NotImplementedError

    def picture(self, images: "Tensor", field: FieldContent) -> NDArray[np.uint8]:
        """Return what a network sees or makes, NCHW, as 8-bit RGB for people, NHW3."""
        raise NotImplementedError

    def describe(self, field: FieldContent) -> str:
        """Describe what a network sees of a field; sets of one description go together."""
        raise NotImplementedError
