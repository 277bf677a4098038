"""Checks that the data of a recipe fit the reconstruction losses of its method."""

from collections.abc import Iterator

from gantrain.losses.reconstruction_loss import ReconstructionLoss
from gantrain.methods.base import Method
from gantrain.recipe.data_request import data_request
from gantrain.recipe.schema import Recipe


def loss_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Yield a line on each loss whose images are too small, or whose weights the data lack."""
    for name, loss in method.auxiliary.items():
        if isinstance(loss, ReconstructionLoss):
            yield from _size_problems(recipe, name, loss)
            yield from _weight_problems(recipe, method, name, loss)


def _size_problems(recipe: Recipe, name: str, loss: ReconstructionLoss) -> Iterator[str]:
    size = recipe.data.size
    smallest = loss.minimum_size
    if min(size) < smallest:
        yield (
            f"data.size: found {list(size)}, method.losses.{name} needs [{smallest}, {smallest}] or"
            f" more; raise data.size, or leave the loss out with method.losses.{name}=0"
        )


def _weight_problems(
    recipe: Recipe, method: Method, name: str, loss: ReconstructionLoss
) -> Iterator[str]:
    """Yield a line where the weights of pixels are not a mask, or not classes of a label map."""
    key = f"method.losses.{name}"
    if loss.weight_by is None:
        if loss.class_weights is not None:
            yield f"{key}.class_weights: found weights without {key}.weight_by; name the label map"
        return
    fields = data_request(recipe).sample_names
    masks = [role for role in fields if role in method.inputs and _is_mask(method, role)]
    labels = [role for role, field in fields.items() if field in recipe.data.labels]
    allowed = ", ".join([*masks, *labels]) or "a mask of data.inputs or a field of data.labels"
    if loss.weight_by not in (*masks, *labels):
        advice = "; data.inputs.mask=FIELD names a field of masks" if not masks else ""
        yield f"{key}.weight_by: found {loss.weight_by!r:.100}, allowed: {allowed}{advice}"
    elif loss.weight_by in masks and loss.class_weights is not None:
        yield f"{key}.class_weights: found weights, but {loss.weight_by} is a mask; remove them"
    elif loss.weight_by in labels:
        yield from _class_problems(key, loss, recipe.data.labels[fields[loss.weight_by]])


def _class_problems(key: str, loss: ReconstructionLoss, classes: int) -> Iterator[str]:
    if loss.class_weights is None:
        yield (
            f"{key}.class_weights: found none, but {loss.weight_by} is a label map; give the"
            " weights of its classes, such as {0: 5}"
        )
        return
    unknown = [number for number in loss.class_weights if number >= classes]
    if unknown:
        yield (
            f"{key}.class_weights: found the class {unknown[0]}, allowed: 0 to {classes - 1}, the"
            f" classes of {loss.weight_by}"
        )


def _is_mask(method: Method, role: str) -> bool:
    return method.inputs[role].kind == "mask"
