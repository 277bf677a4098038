"""Checks that a generator enlarges images where the data ask for it."""

from collections.abc import Mapping

import torch

from gantrain.core.errors import UserError
from gantrain.data.batch import channels, data_dims, split_inputs
from gantrain.data.field import Field
from gantrain.data.scale import text_of
from gantrain.methods.base import Method
from gantrain.recipe.degradation_sizes import scale_of, source_size
from gantrain.recipe.schema import Recipe


@torch.no_grad()
def check_output_size(recipe: Recipe, sketch: Method, fields: Mapping[str, Field]) -> None:
    """Raise UserError unless the fakes of smaller sources have the size of the target.

    sketch: the method on the meta device, where a translation costs nothing. fields: by role.
    """
    scale = scale_of(recipe.data)
    if scale == 1:
        return
    height, width = source_size(recipe.data)
    source_channels = data_dims(dict(fields))["source_channels"]
    source = torch.zeros(1, source_channels, height, width, device="meta")
    fake = sketch.translate({"source": source, **split_inputs(source, fields)})
    expected = (1, channels(fields["target"]), *recipe.data.size)
    if tuple(fake.shape) == expected:
        return
    made = text_of((fake.shape[2], fake.shape[3]))
    raise UserError(
        f"data.degrade: the target is {scale} times larger than the source, but the generator makes"
        f" {made} of {text_of((height, width))}, and not {text_of(recipe.data.size)}; choose a"
        " generator that enlarges by this factor, or keep the size:"
        f" {{name: bicubic, scale: {scale}, keep_size: true}}, or {{name: real_world, scale: 1}}"
    )
