"""Draws further fields of a synthetic street front: instances, masks, depth and class ids."""

from collections.abc import Callable

import numpy as np

from gantrain.core.errors import UserError
from gantrain.data.kinds.kind import Array

_MOST_HOLES = 3


def draw_input(kind: str, ids: Array, shapes: Array, seed: tuple[int, ...]) -> Array:
    """Return a field of a kind.

    ids, shapes: the class and the shape of each pixel, HW1. A shape hides those with lower numbers.
    seed: of the random numbers that this field alone takes.
    """
    return _DRAW[kind](ids, shapes, np.random.default_rng(seed))


def describe_input(kind: str) -> dict[str, object]:
    """Return what the index says of a field of a kind.

    Raises UserError for a kind that nothing draws, such as one from outside gantrain.
    """
    if kind not in _DRAW:
        raise UserError(
            f"data=synthetic draws no {kind}, allowed: {', '.join(_DRAW)}; give files that hold it"
        )
    dtype = "uint16" if kind == "instances" else "uint8"
    return {"kind": kind, "channels": 1, "dtype": dtype}


def _draw_instances(ids: Array, shapes: Array, random: np.random.Generator) -> Array:
    return shapes


def _draw_depth(ids: Array, shapes: Array, random: np.random.Generator) -> Array:
    """Return how near each shape is, as grey: shapes that hide others are brighter."""
    brightness = shapes.astype(np.float32) / max(1, shapes.max())
    depth: Array = (255 * brightness).round().astype(np.uint8)
    return depth


def _draw_mask(ids: Array, shapes: Array, random: np.random.Generator) -> Array:
    """Return a few boxes in white, each of at most half of the height and of the width."""
    height, width = shapes.shape[:2]
    mask = np.zeros((height, width, 1), np.uint8)
    for _ in range(random.integers(1, _MOST_HOLES + 1)):
        hole_height = int(random.integers(height // 8, height // 2))
        hole_width = int(random.integers(width // 8, width // 2))
        top = int(random.integers(0, height - hole_height))
        left = int(random.integers(0, width - hole_width))
        mask[top : top + hole_height, left : left + hole_width] = 255
    return mask


_DRAW: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "image": _draw_depth,
    "instances": _draw_instances,
    "mask": _draw_mask,
}
