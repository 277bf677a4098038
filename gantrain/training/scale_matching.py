"""Matches the scales of a network that sees images at several resolutions between two runs.

Such a network states its scales by `scale_factors` (gantrain.networks.protocol). The scales of one
network are alike, so that one can take the weights of another.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from gantrain.data.field import Field
from gantrain.data.scale import UNKNOWN, Size, held_out_resize, text_of
from gantrain.networks.protocol import capabilities_of

Tensors = dict[str, Tensor]


def picture_size(size: Size, resize: Size | None, field: Field) -> Size | None:
    """The size of a whole picture as training shows it; None where the training data are unknown.

    size, resize: the recipe's `data.size` and `data.resize`. Where a recipe resizes its files, this
    is the size of held-out samples. Else it is the size of the files, of which the largest stands
    for all. It is unknown for another project's network that was imported without a size.
    """
    if resize is not None:
        return held_out_resize(size, resize)
    return None if field.max_size == UNKNOWN else field.max_size


def match_by_resolution(
    network: nn.Module, size: Size | None, tensors: Tensors, other_size: Size | None
) -> tuple[Tensors, str]:
    """Return the other run's tensors, renamed by the scales' resolution, and what was done.

    size, other_size: of a whole picture in this run and in the other one, or None. Every scale
    keeps its name where a size is unknown, where no two scales have the same resolution, and where
    neither network has several scales. The text is empty where every scale keeps its name as
    expected.
    """
    capabilities = capabilities_of(network)
    own = capabilities.scale_factors(network.state_dict())
    others = capabilities.scale_factors(tensors)
    has_several = len(own) > 1 or len(others) > 1
    if not own or not others or not has_several:
        return tensors, ""
    if size is None or other_size is None:
        remedy = "gantrain import --resize HEIGHTxWIDTH records it"
        reason = "the size of the other pictures is unknown"
        return tensors, f"scales by name, since {reason} ({remedy})"
    taken = _taken_scales(own, size, others, other_size)
    if not taken:
        sizes = f"{text_of(size)} here, {text_of(other_size)} there"
        reason = "no two have the same resolution"
        return tensors, f"scales by name, since {reason} (pictures of {sizes})"
    text = f"scales by resolution: {_described(own, size, taken)}" if size != other_size else ""
    return _renamed(tensors, own, others, taken), text


def _taken_scales(
    own: Mapping[str, int], size: Size, others: Mapping[str, int], other_size: Size
) -> dict[str, str]:
    """For each scale the other network's scale of the same resolution, where there is one."""
    taken = {}
    for prefix, factor in own.items():
        for other_prefix, other_factor in others.items():
            # size / factor == other_size / other_factor, in whole numbers
            same_height = size[0] * other_factor == other_size[0] * factor
            same_width = size[1] * other_factor == other_size[1] * factor
            if same_height and same_width:
                taken[prefix] = other_prefix
    return taken


def _renamed(
    tensors: Tensors, own: Mapping[str, int], others: Mapping[str, int], taken: Mapping[str, str]
) -> Tensors:
    """The tensors outside all scales, and those of each taken scale under its new name."""
    renamed = {}
    for name, tensor in tensors.items():
        if not any(name.startswith(f"{prefix}.") for prefix in [*own, *others]):
            renamed[name] = tensor
    for prefix, other_prefix in taken.items():
        for name, tensor in tensors.items():
            if name.startswith(f"{other_prefix}."):
                renamed[prefix + name.removeprefix(other_prefix)] = tensor
    return renamed


def _described(own: Mapping[str, int], size: Size, taken: Mapping[str, str]) -> str:
    parts = []
    for prefix, factor in own.items():
        resolution = text_of((size[0] // factor, size[1] // factor))
        origin = f"takes {taken[prefix]}" if prefix in taken else "starts fresh"
        parts.append(f"{prefix} ({resolution}) {origin}")
    return ", ".join(parts)
