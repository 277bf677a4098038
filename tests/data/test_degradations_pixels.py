"""Noise by its moments, JPEG against Pillow's files, lightness against scikit-image."""

import io

import numpy as np
import pytest
from degrading import a_picture, degrade
from PIL import Image as PillowImage
from scipy import stats
from skimage.color import rgb2lab

from gantrain.core.errors import UserError
from gantrain.data.degradations.noise import add_gaussian, add_poisson

# Noise.


def flat(value: float, channels: int = 3) -> np.ndarray:
    return np.full((256, 256, channels), value, np.float32)


@pytest.mark.parametrize("sigma", [1.0, 10.0, 25.0])
def test_gaussian_noise_has_its_sigma_and_no_mean(sigma: float) -> None:
    config = {"name": "noise", "sigma": [sigma, sigma]}
    noise = (degrade(config, flat(0.5)).image - 0.5).astype(np.float64) * 255
    count = noise.size
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(count)
    assert noise.std() == pytest.approx(sigma, rel=4 / np.sqrt(2 * count))
    assert stats.kstest(noise.ravel() / sigma, "norm").pvalue > 0.01


def test_sigma_counts_in_units_of_one_of_255() -> None:
    """51 of 255 is a fifth; from the same numbers."""
    noise = add_gaussian(flat(0.5), 51, np.random.default_rng(0)) - 0.5
    numbers = np.random.default_rng(0).standard_normal(noise.shape, np.float32)
    np.testing.assert_allclose(noise, (0.2 * numbers).clip(-0.5, 0.5), atol=1e-6)


def test_gaussian_noise_is_independent_of_place_and_channel() -> None:
    noise = degrade({"name": "noise", "sigma": [25, 25]}, flat(0.5)).image - 0.5
    red = noise[..., 0]
    neighbours = [noise[..., 1], noise[..., 2], np.roll(red, 1, axis=0), np.roll(red, 1, axis=1)]
    for other in neighbours:
        assert abs(np.corrcoef(red.ravel(), other.ravel())[0, 1]) < 0.02


def test_each_sample_draws_its_sigma_from_the_range() -> None:
    image = np.full((64, 64, 1), 0.5, np.float32)
    config = {"name": "noise", "sigma": [5, 45]}
    levels = [degrade(config, image, position=k).image.std() * 255 for k in range(300)]
    assert 4.5 < min(levels) < 8
    assert 42 < max(levels) < 47
    assert stats.kstest((np.array(levels) - 5) / 40, "uniform").pvalue > 0.01


@pytest.mark.parametrize("peak", [10.0, 30.0, 255.0])
@pytest.mark.parametrize("value", [0.05, 0.15, 0.25])
def test_poisson_noise_has_the_variance_of_its_photons(peak: float, value: float) -> None:
    """value / peak; and the values are whole numbers of photons."""
    config = {"name": "noise", "kind": "poisson", "peak": [peak, peak]}
    noisy = degrade(config, flat(value)).image.astype(np.float64)
    count = noisy.size
    spread = np.sqrt(value / peak)
    assert noisy.mean() == pytest.approx(value, abs=4 * spread / np.sqrt(count))
    assert noisy.var() == pytest.approx(value / peak, rel=0.02)
    np.testing.assert_allclose(noisy * peak, (noisy * peak).round(), atol=1e-4)


def test_poisson_noise_of_black_is_none() -> None:
    config = {"name": "noise", "kind": "poisson"}
    np.testing.assert_array_equal(degrade(config, flat(0)).image, flat(0))


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
@pytest.mark.parametrize("channels", [2, 4])
def test_every_channel_has_noise(kind: str, channels: int) -> None:
    """Bands of measurements are no alpha."""
    image = a_picture(channels=channels)
    noisy = degrade({"name": "noise", "kind": kind}, image).image
    for band in range(channels):
        assert (noisy[..., band] != image[..., band]).mean() > 0.9


def test_grey_noise_is_the_same_in_all_channels() -> None:
    random = np.random.default_rng(0)
    image = a_picture().clip(0.3, 0.7)
    for noisy in (
        add_gaussian(image, 10, random, is_grey=True),
        add_poisson(image, 256, random, strength=1, is_grey=True),
    ):
        noise = noisy - image
        assert noise.std() > 0.01
        np.testing.assert_allclose(noise[..., 0], noise[..., 1], atol=1e-6)
        np.testing.assert_allclose(noise[..., 0], noise[..., 2], atol=1e-6)


def test_grey_poisson_noise_is_that_of_the_grey_image() -> None:
    colour = np.tile(np.array([0.8, 0.2, 0.5], np.float32), (256, 256, 1))
    grey = 0.299 * 0.8 + 0.587 * 0.2 + 0.114 * 0.5
    random = np.random.default_rng(0)
    noise = add_poisson(colour, 256, random, strength=0.5, is_grey=True) - colour
    assert noise.var() == pytest.approx(0.25 * grey / 256, rel=0.03)


def test_the_strength_multiplies_poisson_noise() -> None:
    noise = add_poisson(flat(0.5), 256, np.random.default_rng(0), strength=2) - 0.5
    assert noise.var() == pytest.approx(4 * 0.5 / 256, rel=0.02)


# JPEG.


@pytest.mark.parametrize("quality", [1, 10, 40, 75, 95, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_pillow_s_file_of_that_quality_holds(quality: int, channels: int) -> None:
    pixels = (a_picture(61, 83, channels) * 255).round().astype(np.uint8)
    image = pixels.astype(np.float32) / 255
    file = io.BytesIO()
    PillowImage.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
    expected = np.asarray(PillowImage.open(file)).reshape(pixels.shape)
    degraded = degrade({"name": "jpeg", "quality": [quality, quality]}, image).image
    np.testing.assert_array_equal(degraded, expected.astype(np.float32) / 255)
    np.testing.assert_array_equal((degraded * 255).round(), expected)


def test_values_are_rounded_before_the_compression() -> None:
    pixels = (a_picture(64, 64) * 250 + 2).round()
    config = {"name": "jpeg", "quality": [90, 90]}
    expected = degrade(config, (pixels / 255).astype(np.float32)).image
    for offset in (-0.45, 0.45):
        image = ((pixels + offset) / 255).astype(np.float32)
        np.testing.assert_array_equal(degrade(config, image).image, expected)


def test_each_sample_draws_its_quality_with_both_bounds() -> None:
    image = a_picture(64, 64)
    by_quality = {}
    for quality in range(20, 26):
        config = {"name": "jpeg", "quality": [quality, quality]}
        by_quality[degrade(config, image).image.tobytes()] = quality
    assert len(by_quality) == 6
    counts = dict.fromkeys(range(20, 26), 0)
    for position in range(600):
        degraded = degrade({"name": "jpeg", "quality": [20, 25]}, image, position=position)
        counts[by_quality[degraded.image.tobytes()]] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


# Grey.


def test_grey_is_the_lightness_of_lab() -> None:
    """Against scikit-image in float64, to 1e-5 of the range; its constants have fewer digits."""
    image = a_picture(128, 128)
    image[:16] = np.random.default_rng(1).random((16, 128, 3)) * 0.05  # the linear parts
    expected = rgb2lab(image.astype(np.float64))[..., :1] / 100
    np.testing.assert_allclose(degrade("grey", image).image, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("colour", "lightness"),
    [
        ((0, 0, 0), 0.0),
        ((1, 1, 1), 100.0),
        ((1, 0, 0), 53.24),
        ((0, 1, 0), 87.73),
        ((0, 0, 1), 32.30),
    ],
)
def test_grey_of_known_colours(colour: tuple[int, int, int], lightness: float) -> None:
    image = np.full((2, 2, 3), colour, np.float32)
    np.testing.assert_allclose(degrade("grey", image).image * 100, lightness, atol=0.01)


def test_grey_images_keep_their_order() -> None:
    ramp = np.linspace(0, 1, 1001, dtype=np.float32)
    image = np.repeat(ramp[None, :, None], 3, axis=2)
    lightness = degrade("grey", image).image[0, :, 0]
    assert (np.diff(lightness) > 0).all()
    assert (lightness[0], lightness[-1]) == (0, pytest.approx(1, abs=1e-6))


def test_lightness_needs_three_channels() -> None:
    with pytest.raises(UserError, match="3 channels; these have 4"):
        degrade("grey", a_picture(channels=4))
