"""What the degradation of a recipe means for the sizes of sources, and its check."""

from gantrain.core.errors import UserError
from gantrain.data.degradations.degradation_table import build_degradation
from gantrain.data.scale import Size
from gantrain.recipe.data_section import Data


def scale_of(data: Data) -> int:
    """Return how many times smaller than the target the source is."""
    return build_degradation(data.degrade).scale if data.degrade else 1


def source_size(data: Data) -> Size:
    """Return the height and the width of the sources in training, in pixels."""
    return divided_by(data.size, scale_of(data))


def source_resize(data: Data) -> Size | None:
    """Return `data.resize` as sources have it, in pixels."""
    return None if data.resize is None else divided_by(data.resize, scale_of(data))


def divided_by(size: Size, scale: int) -> Size:
    return size[0] // scale, size[1] // scale


def check_degradation(data: Data) -> None:
    """Raise UserError where the degradation cannot be, or does not divide the size of images."""
    if not data.degrade:
        return
    try:
        degradation = build_degradation(data.degrade)
        degradation.size_after(*data.size)
    except UserError as error:
        raise UserError(f"data.degrade: {error}") from None
    named = [role for role, name in data.inputs.items() if name is not None]
    if degradation.scale > 1 and named:
        raise UserError(
            f"data.inputs: found {', '.join(named)}, allowed: {{}} with a data.degrade that makes"
            f" sources {degradation.scale} times smaller"
        )


def hole_fill(data: Data) -> float | None:
    """Return the fraction of the range that fills drawn holes; None where none are drawn."""
    if not data.degrade:
        return None
    degradation = build_degradation(data.degrade)
    return degradation.fill if degradation.gives_mask else None
