"""Warnings and notes on sizes that cost more than expected, with the keys that mend them."""

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from gantrain.core.component import Options
from gantrain.data.scale import Size, text_of
from gantrain.methods.base import Method
from gantrain.networks.blocks import padded_size
from gantrain.networks.protocol import capabilities_of
from gantrain.recipe import recipe_files
from gantrain.recipe.build_method import sketch_method
from gantrain.recipe.data_section import Data
from gantrain.recipe.degradation_sizes import scale_of, source_size
from gantrain.recipe.schema import Recipe, from_dict

# Padding to so many times the pixels is named, and so is a crop of less than this fraction of a
# sample's pixels.
MOST_PADDING = 2.0
LEAST_CROP = 0.5
_USUAL_RATIO = 286 / 256  # of data.resize to data.size, pix2pix's
_UPSAMPLING = ("most", "more", "normal")  # of SPADE's generator


def describe_sizes(recipe: Recipe, method: Method, data_dims: dict[str, int]) -> list[str]:
    """Return a line where a generator pads images to far more pixels, or a crop is a small part.

    The line ends with keys that can be pasted into a shell, and that give no such line. data_dims:
    the channels that the data give.
    """
    scale = scale_of(recipe.data)
    size = source_size(recipe.data)
    padding_network = _find_padding_network(size, method)
    reasons: list[str] = []
    if padding_network is not None:
        reasons.append(_describe_padding(padding_network, size, method))
    crop = _describe_crop(recipe.data)
    reasons += crop
    if not reasons:
        return []
    component_key = ""
    if padding_network is not None:
        kind = method.role_of(padding_network).kind
        component_key = _find_smaller_network(recipe, kind, data_dims)
        if not component_key:
            size = _padded(size, method)
    size = size[0] * scale, size[1] * scale
    keys = [f"data.size={_list(size)}"]
    resize = recipe.data.resize
    if resize is not None:
        if crop or size != recipe.data.size:
            resize = _usual_resize(recipe, size)
        keys.append(f"data.resize={_list(resize)}")
    if component_key:
        keys.append(component_key)
    pasted = " ".join(shlex.quote(key) for key in keys)
    return [f"warning: {', and '.join(reasons)}; sizes that fit together: {pasted}"]


def describe_padding(recipe: Recipe, method: Method) -> list[str]:
    """Return a line for each generator that pads images to a size that no warning names."""
    size = source_size(recipe.data)
    warned_of = _find_padding_network(size, method)
    lines: list[str] = []
    for name in method.inference:
        padded = _padded_by(method.networks[name], size)
        if padded != size and name != warned_of:
            times = f"{_times(padded, size):.2f} times the pixels"
            lines.append(f"the {name} pads {text_of(size)} to {text_of(padded)}, {times}")
    return lines


def _find_padding_network(size: Size, method: Method) -> str | None:
    """Return the name of the first generator that pads images to many times the pixels.

    One whose down-sampling leaves less than a pixel counts, too. Returns None where there is none.
    """
    for name in method.inference:
        network = method.networks[name]
        padded = _padded_by(network, size)
        is_too_deep = capabilities_of(network).multiple > min(size)
        if padded != size and (_times(padded, size) >= MOST_PADDING or is_too_deep):
            return name
    return None


def _describe_padding(name: str, size: Size, method: Method) -> str:
    padded = _padded_by(method.networks[name], size)
    times = _number(_times(padded, size))
    return f"the {name} pads {text_of(size)} to {text_of(padded)}, {times} times the pixels"


def _times(padded: Size, size: Size) -> float:
    return (padded[0] * padded[1]) / (size[0] * size[1])


def _describe_crop(data: Data) -> list[str]:
    if data.resize is None:
        return []
    fraction = (data.size[0] * data.size[1]) / (data.resize[0] * data.resize[1])
    if fraction >= LEAST_CROP:
        return []
    percent = f"{100 * fraction:.1f}".removesuffix(".0")
    return [
        f"training crops {text_of(data.size)} of samples resized to {text_of(data.resize)}, "
        f"{percent}% of their pixels"
    ]


def _padded(size: Size, method: Method) -> Size:
    """Return the size to which the generators pad images of `size`."""
    for name in method.inference:
        size = _padded_by(method.networks[name], size)
    return size


def _padded_by(network: nn.Module, size: Size) -> Size:
    capabilities = capabilities_of(network)
    return padded_size(size, capabilities.multiple, capabilities.padded_minimum)


def _find_smaller_network(recipe: Recipe, kind: str, data_dims: dict[str, int]) -> str:
    """Return a key that makes a generator small enough for the size, as large as possible.

    The key is one such as `method.generator.levels=6`; empty where there is none. kind: the key of
    the recipe's `method` that states the generator.
    """
    generator = recipe.method.get(kind)
    if not isinstance(generator, dict):
        return ""
    for option, value in _smaller_options(generator):
        content = recipe.dump()
        content["method"][kind][option] = value
        try:
            method = sketch_method(from_dict(content), data_dims)
        except ValueError:  # an option that the network doesn't allow
            continue
        if _find_padding_network(source_size(recipe.data), method) is None:
            text = _list(value) if isinstance(value, list) else value
            return f"method.{kind}.{option}={text}"
    return ""


def _smaller_options(generator: Options) -> Iterator[tuple[str, object]]:
    """Yield the options by which a generator has fewer down-samplings, one fewer each time."""
    for option in ("levels", "downsampling"):
        for number in range(generator.get(option, 0) - 1, 0, -1):
            yield option, number
    if generator.get("upsampling") in _UPSAMPLING:
        for name in _UPSAMPLING[_UPSAMPLING.index(generator["upsampling"]) + 1 :]:
            yield "upsampling", name
    widths = generator.get("widths", ())
    for number in range(len(widths) - 1, 0, -1):
        yield "widths", list(widths[:number])


def _usual_resize(recipe: Recipe, size: Size) -> Size:
    """Return the size to resize to before `size` is cropped.

    The proportion is that of the recipe's own file, or else pix2pix's.
    """
    height_ratio = width_ratio = _USUAL_RATIO
    try:
        content: dict[str, Any] = recipe_files.read(recipe.name)
        own = Data.model_validate({key: content["data"][key] for key in ("size", "resize")})
    # The file is given by its path, or states no sizes.
    except (ValueError, KeyError, TypeError):
        own = None
    if own is not None and own.resize is not None and not _describe_crop(own):
        height_ratio = own.resize[0] / own.size[0]
        width_ratio = own.resize[1] / own.size[1]
    return round(size[0] * height_ratio), round(size[1] * width_ratio)


def _list(values: Iterable[object]) -> str:
    return f"[{','.join(map(str, values))}]"


def _number(times: float) -> str:
    return f"{times:.1f}".removesuffix(".0")
