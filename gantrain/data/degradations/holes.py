"""Holes for inpainting."""

import math
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, Strict

from gantrain.core.errors import UserError
from gantrain.data.degradations.degradation import Degradation, Degraded, Image
from gantrain.data.degradations.hole_shapes import HOLE_SHAPES, HoleShape, first_pixels
from gantrain.data.degradations.option_types import Fractions, draw_uniform


def _some_shapes(shapes: tuple[HoleShape, ...]) -> tuple[HoleShape, ...]:
    if not shapes or len(set(shapes)) < len(shapes):
        raise UserError(f"allowed: one or several of {', '.join(HOLE_SHAPES)}, each of them once")
    return shapes


_Shapes = Annotated[tuple[HoleShape, ...], Strict(False)]
HoleShapes = Annotated[_Shapes, AfterValidator(_some_shapes)]
Fill = Annotated[float, Field(ge=0, le=1)]


class Holes(Degradation):
    """Holes of drawn shapes, filled with a constant, and the mask of the holes.

    Each sample has holes of one kind: free-form strokes of a brush, as in Yu et al. 2019 (arXiv
    1806.03589), boxes, or borders, outside of which an image is continued. The area of the holes
    is exact to a pixel. Outside the holes the image keeps its very values.

    Args:
        fraction: The fraction of the image that is a hole, 0.01 to 0.95: a number, or [lowest,
            highest], from which each sample draws.
        shapes: The kinds of holes, of which each sample draws one: `strokes`, `boxes`, `borders`.
        fill: The value of all channels in a hole, 0 to 1. 0.5 is a 0 for the networks.
    """

    gives_mask = True

    def __init__(
        self,
        *,
        fraction: Fractions = (0.1, 0.5),
        shapes: HoleShapes = ("strokes", "boxes", "borders"),
        fill: Fill = 0.5,
    ) -> None:
        self.fraction = fraction
        self.shapes = shapes
        self.fill = fill

    def degrade(self, image: Image, random: np.random.Generator) -> Degraded:
        """Return an image HWC of any number of channels, and its mask."""
        height, width = image.shape[:2]
        pixels = self._hole_pixels(height * width, random)
        shape = self.shapes[int(random.integers(len(self.shapes)))]
        order = HOLE_SHAPES[shape](height, width, pixels, random)
        is_hole = first_pixels(order, pixels)[..., None]
        filled = np.where(is_hole, np.float32(self.fill), image)
        return Degraded(filled, is_hole.astype(np.float32))

    def _hole_pixels(self, pixels: int, random: np.random.Generator) -> int:
        """Return the number of a hole's pixels, at least one. pixels: those of the image.

        Where no whole number of pixels lies between the bounds, the number is the nearest one.
        """
        lowest, highest = self.fraction
        wanted = round(pixels * draw_uniform(self.fraction, random))
        at_least = math.ceil(pixels * lowest)
        at_most = math.floor(pixels * highest)
        if at_least <= at_most:
            wanted = min(max(wanted, at_least), at_most)
        return max(1, wanted)
