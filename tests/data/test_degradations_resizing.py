"""Bicubic down-sampling against MATLAB's algorithm, Pillow and PyTorch; resizes of real_world."""

import numpy as np
import pytest
import torch
from degrading import a_picture, degrade
from numpy.typing import NDArray
from PIL import Image as PillowImage
from torch.nn import functional as F

from gantrain.data.degradations.resampling import MODES, resample

SCALES = (2, 3, 4, 8)


def matlab_kernel(x: float) -> float:
    """MATLAB's `cubic`, as its documentation states it after Keys (1981)."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def matlab_rows(image: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Resize the rows as `imresize(image, 1 / scale)` does, pixel by pixel, in float64.

    Pixels count from 1, as in MATLAB. A pixel beyond the border is the one that a mirror shows.
    """
    length = image.shape[0]
    mirror = [*range(1, length + 1), *range(length, 0, -1)]
    width = 4 * scale
    result = np.zeros((length // scale, *image.shape[1:]))
    for out in range(1, length // scale + 1):
        centre = out * scale + 0.5 * (1 - scale)
        left = int(np.floor(centre - width / 2))
        places = range(left, left + width + 2)
        weights = [matlab_kernel((centre - place) / scale) / scale for place in places]
        total = sum(weights)
        for place, weight in zip(places, weights, strict=True):
            pixel = mirror[(place - 1) % len(mirror)]
            result[out - 1] += weight / total * image[pixel - 1]
    return result


def matlab(image: NDArray[np.float32], scale: int) -> NDArray[np.float64]:
    rows = matlab_rows(image.astype(np.float64), scale)
    both = matlab_rows(rows.swapaxes(0, 1), scale).swapaxes(0, 1)
    return both.clip(0, 1)


def config(scale: int) -> dict[str, object]:
    return {"name": "bicubic", "scale": scale}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(48, 72), (24, 24), (24, 240)])
@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_is_matlab_s(scale: int, size: tuple[int, int], channels: int) -> None:
    """To the last bits of float32, also where the kernel is wider than the image."""
    image = a_picture(*size, channels)
    degraded = degrade(config(scale), image).image
    np.testing.assert_allclose(degraded, matlab(image, scale), rtol=0, atol=1e-7)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_of_hard_edges_is_clipped(scale: int) -> None:
    """A checkerboard of two scales' width, whose edges overshoot."""
    places = np.arange(16 * scale) // (2 * scale) % 2
    image = (places[:, None] ^ places)[..., None].astype(np.float32)
    degraded = degrade(config(scale), image).image
    np.testing.assert_allclose(degraded, matlab(image, scale), rtol=0, atol=1e-7)
    assert (degraded == 0).any()
    assert (degraded == 1).any()


def test_the_weights_of_scale_2_are_the_known_ones() -> None:
    """-3, -9, 29, 111, 111, 29, -9, -3 of 256; a row of an impulse over grey shows each of them."""
    known = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    seen = []
    for place in range(16, 24):
        image = np.full((40, 40, 1), 0.5, np.float32)
        image[:, place] = 1
        seen.append(degrade(config(2), image).image[10, 9:12, 0] * 2 - 1)
    # Pixel 10 covers the columns 20 and 21, and reaches from 17 to 24.
    middle = [row[1] for row in seen]
    np.testing.assert_allclose(middle[1:], known[:7], atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_is_pillow_s_and_torch_s_away_from_borders(scale: int) -> None:
    """There, they mirror nothing and cut the kernel."""
    image = a_picture(240, 240, 1)
    margin = 2
    size = 240 // scale
    inside = slice(margin, size - margin)
    degraded = degrade(config(scale), image).image[inside, inside, 0]
    plane = PillowImage.fromarray(image[..., 0])
    by_pillow = np.asarray(plane.resize((size, size), PillowImage.Resampling.BICUBIC))
    np.testing.assert_allclose(degraded, by_pillow[inside, inside], atol=1e-6)
    tensor = torch.from_numpy(image[..., 0])[None, None]
    by_torch = F.interpolate(tensor, (size, size), mode="bicubic", antialias=True)
    np.testing.assert_allclose(degraded, by_torch[0, 0].numpy()[inside, inside], atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_a_flat_image_stays_flat(scale: int) -> None:
    for value in (0.0, 0.3, 1.0):
        image = np.full((24, 24, 3), value, np.float32)
        degraded = degrade(config(scale), image).image
        np.testing.assert_allclose(degraded, np.float32(value), atol=1e-7)


# The resizes of real_world.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(13, 20), (64, 96), (65, 97), (100, 33), (1, 1), (150, 5)])
def test_resizes_are_those_of_torch(mode: str, size: tuple[int, int]) -> None:
    image = a_picture(64, 96)
    tensor = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    expected = F.interpolate(tensor, size, mode=mode)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resample(image, *size, mode), expected, atol=2e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_resize_to_the_same_size_changes_nothing(mode: str) -> None:
    image = a_picture()
    np.testing.assert_array_equal(resample(image, 64, 96, mode), image)
