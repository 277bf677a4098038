"""Tries a user's own degradations once, before the run's folder is made."""

import numpy as np

from gantrain.core.component import BadComponent
from gantrain.core.errors import UserError
from gantrain.core.own_code import describe_error, is_own
from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.degradations.degradation import Degradation, Degraded
from gantrain.data.degradations.degradation_table import build_degradation
from gantrain.data.field import Field
from gantrain.recipe.schema import Recipe
from gantrain.training.result_text import describe_result


def try_degradations(recipe: Recipe, target: Field) -> None:
    """Degrade a grey image by the recipe's degradations, if one of them is from outside gantrain.

    target: the field of the target. Raises BadComponent, in one line that names the class.
    """
    if not recipe.data.degrade:
        return
    parts = build_degradation(recipe.data.degrade).parts
    if not any(is_own(type(part)) for part in parts):
        return
    image = np.full((*recipe.data.size, target.channels), 0.5, np.float32)
    for number, part in enumerate(parts):
        random = random_numbers(recipe.seed, number, Purpose.DEGRADATION)
        image = _try(part, image, random)


def _try(part: Degradation, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return what a degradation makes of an image. Raises BadComponent for what is no degradation.

    A mistake in the options of gantrain's own degradations is a UserError.
    """
    name = f"data.degrade: {type(part).__name__}.degrade"
    try:
        degraded: object = part.degrade(image, random)
        channels = part.channels_after(image.shape[2])
        size = part.size_after(*image.shape[:2])
    except UserError:
        raise
    except Exception as error:
        raise BadComponent(f"{name} fails: {describe_error(error)}") from None
    if not isinstance(degraded, Degraded):
        raise BadComponent(
            f"{name} gives {type(degraded).__name__}, allowed: gantrain.Degraded(IMAGE), with a"
            " mask where gives_mask is true"
        )
    result: object = degraded.image
    expected = (*size, channels)
    if not isinstance(result, np.ndarray) or result.shape != expected or result.dtype != np.float32:
        raise BadComponent(
            f"{name} gives {describe_result(result)}, allowed: float32 of shape {expected}, by its"
            " scale and channels_after"
        )
    if not np.isfinite(result).all() or result.min() < 0 or result.max() > 1:
        raise BadComponent(f"{name} gives values outside 0..1, allowed: 0 to 1; clip them")
    mask: object = degraded.mask
    if part.gives_mask and (not isinstance(mask, np.ndarray) or mask.shape != (*size, 1)):
        raise BadComponent(
            f"{name} gives {describe_result(mask)} as its mask, allowed: float32 of shape"
            f" {(*size, 1)}"
        )
    return result
