"""The fields of a sample that a recipe's degradation makes from the target: the source, a mask."""

from gantrain.core.errors import UserError
from gantrain.data.degradations.degradation_table import build_degradation
from gantrain.data.degradations.source_maker import MASK_FIELD, SOURCE_FIELD, SourceMaker
from gantrain.data.field import Field
from gantrain.methods import METHODS
from gantrain.recipe.schema import Recipe

MASK = "mask"  # the role and the kind of the mask of holes


def source_maker(recipe: Recipe, target: Field) -> SourceMaker | None:
    """Return what makes sources from targets, or None where the data hold them.

    target: the field of the target. Raises UserError where the degradation cannot take it.
    """
    if not recipe.data.degrade:
        return None
    try:
        return SourceMaker(build_degradation(recipe.data.degrade), recipe.data.target, target)
    except UserError as error:
        raise UserError(f"data.degrade: {error}") from None


def made_fields(recipe: Recipe) -> dict[str, str]:
    """Return the fields that the recipe's degradation makes, by role."""
    if not recipe.data.degrade:
        return {}
    made = {"source": SOURCE_FIELD}
    if draws_masks(recipe):
        made[MASK] = MASK_FIELD
    return made


def draws_masks(recipe: Recipe) -> bool:
    """Return whether the degradation makes holes, and the method takes their mask.

    `data.inputs.mask=null` trains without the mask.
    """
    if recipe.data.inputs.get(MASK, MASK) is None:
        return False
    taken = METHODS[recipe.method["name"]].inputs.get(MASK)
    if taken is None or taken.kind != MASK or not recipe.data.degrade:
        return False
    return build_degradation(recipe.data.degrade).gives_mask
