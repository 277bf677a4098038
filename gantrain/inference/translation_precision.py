"""The precision in which a trained model translates."""

from typing import Literal, NamedTuple, get_args

import torch

from gantrain.core.errors import UserError
from gantrain.core.wording import option
from gantrain.data.batch import data_dims
from gantrain.inference.loaded_model import LoadedModel
from gantrain.recipe.conv_timing import choose_convolutions, list_convolutions
from gantrain.recipe.degradation_sizes import source_size
from gantrain.recipe.machine_precision import judge_for_translating

Precision = Literal["auto", "fp32", "bf16"]


class ChosenPrecision(NamedTuple):
    """The precision of translations: `fp32` or `bf16`.

    line: says what `auto` means and why; empty where the caller states the precision.
    """

    name: str
    line: str = ""


def choose_precision(wanted: str, model: LoadedModel, device: torch.device) -> ChosenPrecision:
    """Return the precision in which a model translates. Raises UserError for unknown names.

    `auto` is bf16 on a GPU that computes it, and on a CPU where the model's convolutions are at
    least 1.2 times as fast in it.
    """
    if wanted not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise UserError(f"{option('precision')}: found {wanted!r:.40}, allowed: {allowed}")
    if wanted != "auto":
        return ChosenPrecision(wanted)
    channels = data_dims(model.fields)["source_channels"]
    listed = list_convolutions(model.sketch, channels, source_size(model.recipe.data))
    compared = choose_convolutions(listed, 1, torch.get_num_threads())
    verdict = judge_for_translating(device, compared)
    return ChosenPrecision(verdict.precision, verdict.line)
