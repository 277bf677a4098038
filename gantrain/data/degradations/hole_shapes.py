"""The shapes of holes for inpainting, as the order in which an image would lose its pixels.

An order is an array (height, width). The first n pixels of it are the hole, so that a hole has any
wanted area to the pixel. A pixel that no shape covers has the value infinity.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.float32]
HoleShape = Literal["strokes", "boxes", "borders"]

# Lengths are fractions of the image's smaller side.
_BRUSH_RADII = (0.02, 0.08)
_SEGMENT_LENGTHS = (0.05, 0.3)
_STROKE_SEGMENTS = (2, 8)
_TURN = 0.6  # radians, the standard deviation of the change of direction in a stroke
_BOX_SIDES = (0.1, 0.5)


def strokes(height: int, width: int, pixels: int, random: np.random.Generator) -> Order:
    """Return strokes of a brush that wanders in bent lines."""
    order = np.full((height, width), np.inf, np.float32)
    side = min(height, width)
    drawn = 0
    while np.isfinite(order).sum() < pixels:
        radius = max(1.0, side * random.uniform(*_BRUSH_RADII))
        start = random.uniform(0, 1, 2) * (height, width)
        angle = random.uniform(0, 2 * np.pi)
        for _ in range(random.integers(*_STROKE_SEGMENTS)):
            angle += random.normal(0, _TURN)
            length = side * random.uniform(*_SEGMENT_LENGTHS)
            end = start + length * np.array([np.sin(angle), np.cos(angle)])
            _draw_segment(order, start, end, radius, drawn)
            drawn += 1
            start = end.clip(0, (height, width))
    return order


def _draw_segment(
    order: Order, start: NDArray[np.float64], end: NDArray[np.float64], radius: float, drawn: int
) -> None:
    """Add the pixels within a radius of a segment, those at its start first.

    start, end: its ends, (row, column). drawn: the number of segments before it.
    """
    top, left = np.floor(np.minimum(start, end) - radius).astype(int).clip(min=0)
    bottom, right = np.ceil(np.maximum(start, end) + radius).astype(int) + 1
    window = order[top:bottom, left:right]
    rows = np.arange(top, top + window.shape[0])[:, None] - start[0]
    columns = np.arange(left, left + window.shape[1]) - start[1]
    length = float(np.hypot(*(end - start)))
    direction = (end - start) / length
    along = rows * direction[0] + columns * direction[1]
    beside = rows * direction[1] - columns * direction[0]
    is_covered = np.hypot(along - along.clip(0, length), beside) <= radius
    # A round brush of which this is the front reaches the pixel at this point of the segment.
    arrival = along - np.sqrt((radius**2 - beside**2).clip(min=0))
    place = drawn + (arrival + radius) / (length + radius)
    window[is_covered] = np.minimum(window, place)[is_covered]


def boxes(height: int, width: int, pixels: int, random: np.random.Generator) -> Order:
    """Return upright rectangles, which may overlap and may leave the image."""
    order = np.full((height, width), np.inf, np.float32)
    side = min(height, width)
    drawn = 0
    while np.isfinite(order).sum() < pixels:
        centre = random.uniform(0, 1, 2) * (height, width)
        reach = side * random.uniform(*_BOX_SIDES, 2) / 2
        down = np.abs(np.arange(height) + 0.5 - centre[0]) / reach[0]
        across = np.abs(np.arange(width) + 0.5 - centre[1]) / reach[1]
        distance = np.maximum(down[:, None], across)
        is_covered = distance <= 1
        order[is_covered] = np.minimum(order, drawn + distance)[is_covered]
        drawn += 1
    return order


def borders(height: int, width: int, pixels: int, random: np.random.Generator) -> Order:
    """Return one to four of the image's borders, of random widths."""
    down = np.arange(height)[:, None] + 0.5
    across = np.arange(width) + 0.5
    distances = (down, height - down, across, width - across)
    order = np.full((height, width), np.inf, np.float32)
    chosen = random.permutation(4)[: random.integers(1, 5)]
    for place in chosen:
        speed = random.uniform(0.2, 1)
        order = np.minimum(order, distances[place] / speed)
    return order.astype(np.float32)


# The functions take the number of pixels that the hole has.
HOLE_SHAPES: dict[HoleShape, Callable[[int, int, int, np.random.Generator], Order]] = {
    "strokes": strokes,
    "boxes": boxes,
    "borders": borders,
}


def first_pixels(order: Order, pixels: int) -> NDArray[np.bool_]:
    """Return which pixels, (height, width), are the first so many of an order, row by row."""
    values = order.ravel()
    last = np.partition(values, pixels - 1)[pixels - 1]
    is_hole: NDArray[np.bool_] = values < last
    equal_places = np.flatnonzero(values == last)
    is_hole[equal_places[: pixels - is_hole.sum()]] = True
    return is_hole.reshape(order.shape)
