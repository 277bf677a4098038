"""Holes: their fraction, their shapes, and what lies outside them."""

import numpy as np
import pytest
from degrading import a_picture, degrade
from scipy import ndimage, stats

from gantrain.data.degradations.hole_shapes import HOLE_SHAPES, first_pixels

SIZES = [(64, 64), (96, 40), (33, 71), (8, 8), (256, 256)]


def is_hole(config: dict[str, object], image: np.ndarray, position: int = 0) -> np.ndarray:
    degraded = degrade({"name": "mask", **config}, image, position=position)
    assert degraded.mask is not None
    assert set(np.unique(degraded.mask)) <= {0.0, 1.0}
    return degraded.mask[..., 0] == 1


@pytest.mark.parametrize("shape", HOLE_SHAPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fraction", [(0.05, 0.1), (0.1, 0.5), (0.9, 0.95)])
def test_the_hole_keeps_to_the_bounds(
    shape: str, size: tuple[int, int], fraction: tuple[float, float]
) -> None:
    image = a_picture(*size, channels=1)
    for position in range(12):
        hole = is_hole({"fraction": fraction, "shapes": [shape]}, image, position)
        assert fraction[0] <= hole.mean() <= fraction[1]


@pytest.mark.parametrize("shape", HOLE_SHAPES)
def test_a_single_fraction_is_met_to_the_pixel(shape: str) -> None:
    image = a_picture(37, 41, 1)
    hole = is_hole({"fraction": [0.3, 0.3], "shapes": [shape]}, image)
    assert hole.sum() == round(0.3 * 37 * 41)


def test_fractions_are_uniform_and_shapes_equally_frequent() -> None:
    """A hole of borders touches a border along its whole length; the others rarely do."""
    image = a_picture(48, 48, 1)
    holes = [is_hole({"fraction": [0.2, 0.4]}, image, position) for position in range(600)]
    fractions = np.array([hole.mean() for hole in holes])
    assert stats.kstest((fractions - 0.2) / 0.2, "uniform").pvalue > 0.01
    whole = [
        any(edge.all() for edge in (h[0], h[-1], h[:, 0], h[:, -1])) and ndimage.label(h)[1] <= 2
        for h in holes
    ]
    assert 0.28 < np.mean(whole) < 0.42


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_the_image_outside_is_the_same_to_the_bit(channels: int, fill: float) -> None:
    image = a_picture(channels=channels)
    for position in range(10):
        degraded = degrade({"name": "mask", "fill": fill}, image, position=position)
        assert degraded.mask is not None
        outside = degraded.mask[..., 0] == 0
        assert degraded.image[outside].tobytes() == image[outside].tobytes()
        assert (degraded.image[~outside] == fill).all()


def test_boxes_are_boxes() -> None:
    """One box of a small hole; a part of a row at its edge may be missing."""
    image = a_picture(128, 128, 1)
    for position in range(40):
        hole = is_hole({"fraction": [0.01, 0.01], "shapes": ["boxes"]}, image, position)
        rows = np.flatnonzero(hole.any(axis=1))
        columns = np.flatnonzero(hole.any(axis=0))
        box = hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert ndimage.label(hole)[1] == 1
        assert box[1:-1, 1:-1].all()


def test_borders_leave_a_box() -> None:
    image = a_picture(128, 128, 1)
    for position in range(40):
        hole = is_hole({"fraction": [0.4, 0.4], "shapes": ["borders"]}, image, position)
        rows = np.flatnonzero(~hole.all(axis=1))
        columns = np.flatnonzero(~hole.all(axis=0))
        kept = ~hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert kept[1:-1, 1:-1].all()
        assert hole[[0, -1]].all(axis=1).any() or hole[:, [0, -1]].all(axis=0).any()


def test_strokes_are_about_as_wide_as_their_brush() -> None:
    """Radii are 0.02 to 0.08 of the side, and where strokes cross they are wider."""
    image = a_picture(128, 128, 1)
    widest = []
    for position in range(40):
        hole = is_hole({"fraction": [0.05, 0.05], "shapes": ["strokes"]}, image, position)
        padded = np.pad(hole, 1)
        widest.append(ndimage.distance_transform_edt(padded).max())
        assert ndimage.label(hole, np.ones((3, 3)))[1] <= 15
    assert 0.02 * 128 < np.median(widest) < 0.1 * 128


def test_holes_lie_everywhere() -> None:
    image = a_picture(64, 64, 1)
    for shape in HOLE_SHAPES:
        config = {"fraction": [0.3, 0.3], "shapes": [shape]}
        mean = np.mean([is_hole(config, image, position) for position in range(200)], axis=0)
        assert abs(mean[:32].mean() - mean[32:].mean()) < 0.06
        assert abs(mean[:, :32].mean() - mean[:, 32:].mean()) < 0.06
        assert mean.min() > (0 if shape == "borders" else 0.05) or shape == "borders"
        assert mean.max() < 0.95


def test_equal_places_of_an_order_are_taken_row_by_row() -> None:
    order = np.array([[2, 1, 2], [0, 2, np.inf]], np.float32)
    expected = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(first_pixels(order, 3), expected)
