"""Read a user's image as a model's source, from a file, a Pillow image or an array."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from PIL import Image
from torch import Tensor

from gantrain.core.amounts import count_text
from gantrain.core.errors import UserError
from gantrain.core.own_code import naming_failure
from gantrain.core.paths import check_not_special
from gantrain.data import channels
from gantrain.data.decode import open_picture, refuse_lossy, to_array
from gantrain.data.kinds.image import range_of
from gantrain.data.kinds.kind import Array, NotLabels
from gantrain.data.kinds.table import KINDS
from gantrain.data.prepare.color_table import class_ids
from gantrain.data.ranges import FIXED_DTYPE, range_text
from gantrain.data.shards import Field

# An image, as `Translator.translate` takes it.
Given = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
_COLOURS = ("P", "RGB", "RGBA")  # modes in which a label map may hold colours instead of ids


def source_array(image: object, source: Field, notes: list[str]) -> Array:
    """Return an image as an array HWC in the source's dtype.

    image: a path, a Pillow image, or an array HWC or HW. notes: takes sentences on what was
    converted (see `conversion_notes.py`). Raises UserError, which names the file, for an image
    unlike those that the model was trained on.
    """
    kind = source.kind
    content = _content(image, "image", kind, notes)
    try:
        array = _in_format_of(source, content, notes)
        if (array.shape[2], array.dtype.name) != (source.channels, source.dtype):
            raise UserError(f"{_describe(array)}, {_describe_source(source)}")
        return _check_classes(array, source)
    except ValueError as error:
        raise _with_name(error, image) from None


def describe_values(field: Field) -> str:
    """Return a few words on the values of a field that a model takes or makes."""
    if KINDS[field.kind].has_classes:
        return f"ids of {field.classes} classes"
    noun = "channel" if field.channels == 1 else "channels"
    values = "" if field.dtype == FIXED_DTYPE else f", {range_text(range_of(field))}"
    return f"{field.dtype} images of {field.channels} {noun}{values}"


def input_array(
    role: str, given: object, *, field: Field, source: Array, notes: list[str]
) -> Array:
    """Return an input of a method beside its source, HWC, from what `source_array` takes.

    role: names it in errors. source: the image, which has the same size. Raises UserError.
    """
    content = _content(given, role, field.kind, notes)
    kind = KINDS[field.kind]
    try:
        array = _in_format_of(field, content, notes)
        wanted = (*source.shape[:2], field.channels)
        has_other_dtype = not kind.has_exact_values and array.dtype.name != field.dtype
        if array.shape != wanted or has_other_dtype:
            allowed = kind.content if kind.has_exact_values else f"{field.dtype} {kind.content}"
            raise UserError(
                f"found {array.dtype} of shape {array.shape}, allowed: {allowed} of shape {wanted},"
                " the image's"
            )
        return _check_classes(array, field)
    except ValueError as error:
        raise _with_name(UserError(f"{role}: {error}"), given) from None


def list_of_inputs(role: str, given: object, count: int) -> Sequence[object]:
    """Return the inputs of several images. Raises UserError unless there is one for each."""
    if isinstance(given, list | tuple) and len(given) == count:
        return given
    description = type(given).__name__
    if isinstance(given, list | tuple):
        description = f"a list of {len(given)}"
    raise UserError(f"{role}: found {description}, allowed: a list of {count}, one for each image")


def image_array(path: Path, target: Field, notes: list[str]) -> Array:
    """Read an image file as HWC, in the channels of a model's target where possible."""
    array = to_array(open_picture(path.read_bytes()), notes=notes)
    return _fit_channels(array, target, notes)


def _content(image: object, name: str, kind: str, notes: list[str]) -> Image.Image | Array:
    """Return what the caller gave, with a path's file opened."""
    if _is_path(image):
        check_not_special(Path(image), name)
        if os.path.isdir(image):
            raise UserError(
                f"{name}: found the folder {image}, allowed: the path of a file; give a list of its"
                " files, or use `gantrain translate`"
            )
        try:
            data = Path(image).read_bytes()
            refuse_lossy(data, kind)
            return open_picture(data)
        except OSError as error:
            raise UserError(
                f"{image}: cannot be read ({error.strerror}); give the path of an image"
            ) from None
        except ValueError as error:
            raise _with_name(error, image) from None
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        return image
    allowed = "PIL; numpy, (H, W, C) or (H, W); the path of a file"
    if name == "image":
        allowed += "; tensor"
    raise UserError(
        f"{name}: found {type(image).__name__} of shape {getattr(image, 'shape', None)},"
        f" allowed: {allowed}"
    )


def _is_path(image: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(image, (str, os.PathLike))


def _with_name(error: Exception, image: object) -> UserError:
    return UserError(f"{image}: {error}" if _is_path(image) else str(error))


def _holds_colours(content: Image.Image | Array) -> bool:
    if isinstance(content, Image.Image):
        return content.mode in _COLOURS
    return content.ndim == 3 and content.shape[2] in (3, 4) and content.dtype == np.uint8


def _ids_of_colours(array: Array, source: Field) -> Array:
    assert source.palette is not None
    try:
        return class_ids(array, source.palette)
    except NotLabels as error:
        raise UserError(f"{_describe(array)} ({error}), {_describe_source(source)}") from None


def _in_format_of(field: Field, content: Image.Image | Array, notes: list[str]) -> Array:
    """Return an image as HWC, in the channels and the dtype of a field where its kind can fit it.

    Raises UserError.
    """
    if field.palette and _holds_colours(content):
        return _ids_of_colours(to_array(content, convert_profile=False, notes=notes), field)
    array = to_array(content, field.kind, notes=notes)
    kind = KINDS[field.kind]
    if kind.has_exact_values:
        with naming_failure(kind, "fit"):
            return kind.fit(array, (field.channels, field.dtype))
    return _fit_channels(array, field, notes)


def _fit_channels(array: Array, field: Field, notes: list[str]) -> Array:
    fitted = KINDS["image"].fit(array, (field.channels, field.dtype))
    if fitted is not array:
        notes.append(channels.note(array.shape[2], field.channels))
    return fitted


def _check_classes(array: Array, source: Field) -> Array:
    if not KINDS[source.kind].has_classes or not source.classes:
        return array
    highest = array[array != source.ignore].max(initial=0)
    known_classes = source.classes
    also = ""
    if source.ignore is not None:  # the last class has this id and no other one
        known_classes -= 1
        also = f", and {source.ignore}"
    if highest >= known_classes:
        raise UserError(
            f"found class id {highest}, this model knows ids 0 to {known_classes - 1}{also}"
        )
    return array


def _describe(array: Array) -> str:
    return f"found {array.dtype} with {count_text(array.shape[2], 'channel')}"


def _describe_source(source: Field) -> str:
    kind = KINDS[source.kind].content
    return f"this model's source holds {kind}, {source.dtype} with {source.channels}"
