"""Warnings on augmentation that changes nothing, or less than its user expects."""

import math
from collections.abc import Mapping

from gantrain.data.kinds.table import KINDS
from gantrain.data.scale import text_of
from gantrain.data.shards import Field
from gantrain.recipe.data_request import data_request
from gantrain.recipe.schema import Recipe

# Where more than this fraction of the samples get the smallest scale that the crop allows.
_MOST_AT_THE_LEAST = 0.1


def describe_augmentation(recipe: Recipe, fields: Mapping[str, Field]) -> list[str]:
    """Return a line for each option that changes nothing, or less than it says.

    fields: those of the data, by role.
    """
    data = recipe.data
    lines: list[str] = []
    of_source = [fields[role] for role in data_request(recipe).source_roles]
    if data.color_jitter_source_only and all(KINDS[f.kind].has_exact_values for f in of_source):
        lines.append(
            "warning: data.color_jitter_source_only=true changes nothing, since the source holds"
            f" {KINDS[fields['source'].kind].content} and no colours"
        )
    target = fields["target"]
    before = data.resize
    if before is None and target.min_size == target.max_size:
        before = target.min_size
    if data.random_scale is not None and before is not None:
        lines += _describe_scale(data.random_scale, data.size, before)
    return lines


def _describe_scale(
    scales: tuple[float, float], size: tuple[int, int], resize: tuple[int, int]
) -> list[str]:
    """Describe how many samples get the smallest scale that the crop allows.

    size: that of the crop. resize: the size of samples at a scale of 1.
    """
    lowest, highest = scales
    least = max(size[0] / resize[0], size[1] / resize[1])
    advice = "give larger samples or larger factors"
    if lowest == highest == 1:
        return [f"warning: data.random_scale={list(scales)} changes nothing"]
    if highest <= least:
        return [
            f"warning: data.random_scale={list(scales)} changes nothing: data.size={text_of(size)}"
            f" fits into samples of {text_of(resize)} only from a factor of {least:.3g}; {advice}"
        ]
    if lowest >= least:
        return []
    fraction = math.log(least / lowest) / math.log(highest / lowest)
    if fraction <= _MOST_AT_THE_LEAST:
        return []
    return [
        f"warning: {100 * fraction:.0f}% of the random scales would make a sample smaller than"
        f" data.size={text_of(size)}; these samples get {least:.3g} times"
        f" {text_of(resize)} instead; {advice}"
    ]
