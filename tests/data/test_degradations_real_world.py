"""Real-ESRGAN's degradation: kernels, drawn parameters and the order of its steps."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from degrading import a_picture, degrade
from scipy import ndimage, special, stats

from gantrain.core.rng import Purpose, random_numbers
from gantrain.data.degradations import real_world, real_world_steps
from gantrain.data.degradations.blur_kernels import Kernel, bessel_j1, blur
from gantrain.data.degradations.degradation import Image
from gantrain.data.degradations.real_world import RealWorld
from gantrain.data.degradations.real_world_steps import (
    BlurStep,
    NoiseStep,
    ResizeStep,
    draw_mode,
    draw_sinc,
)
from gantrain.data.degradations.resampling import MODES, resample

DRAWS = 20_000
PAPER = RealWorld()
SIZES = range(7, 22, 2)

# Kernels.


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    reach = size // 2
    columns, rows = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    return columns.astype(float), rows.astype(float)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [("anisotropic", 1.0), ("generalised_anisotropic", 0.6), ("plateau_anisotropic", 1.7)],
)
def test_bell_kernels_are_functions_of_the_inverse_covariance(
    size: int, kind: Any, shape: float
) -> None:
    sigmas = (2.5, 0.8)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag(np.square(sigmas)) @ turn.T
    points = np.stack(grid(size), axis=-1)
    squared = np.einsum("yxi,ij,yxj->yx", points, np.linalg.inv(covariance), points)
    expected = np.exp(-0.5 * squared**shape)
    if kind.startswith("plateau"):
        expected = 1 / (1 + squared**shape)
    values = Kernel(kind, size, sigmas, angle, shape).values()
    np.testing.assert_allclose(values, expected / expected.sum(), atol=1e-12)
    np.testing.assert_allclose(values, values[::-1, ::-1], atol=1e-15)


def test_a_gaussian_is_scipy_s() -> None:
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    expected = ndimage.gaussian_filter(impulse, 1.3, mode="constant", truncate=10 / 1.3)
    values = Kernel("isotropic", 21, (1.3, 1.3)).values()
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cutoff", [math.pi / 5, 1.7, math.pi])
def test_sinc_kernels_are_the_formula_with_scipy_s_bessel_function(
    size: int, cutoff: float
) -> None:
    radius = np.hypot(*grid(size))
    with np.errstate(invalid="ignore"):
        expected = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
    expected[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    values = Kernel("sinc", size, cutoff=cutoff).values()
    np.testing.assert_allclose(values, expected / expected.sum(), atol=1e-12)


def test_the_bessel_function_is_scipy_s() -> None:
    x = np.linspace(0, 45, 5001)
    np.testing.assert_allclose(bessel_j1(x), special.j1(x), atol=1e-14)


@pytest.mark.parametrize("size", [(64, 96), (37, 53), (12, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_blur_is_scipy_s_correlation(size: tuple[int, int], channels: int) -> None:
    """With mirrored borders, whose last pixel is not repeated."""
    image = a_picture(*size, channels)
    kernel = Kernel("anisotropic", 21, (3.0, 0.7), 0.4).values()
    expected = np.stack(
        [
            ndimage.correlate(image[..., channel].astype(np.float64), kernel, mode="mirror")
            for channel in range(channels)
        ],
        axis=2,
    )
    np.testing.assert_allclose(blur(image, kernel), expected, atol=2e-6)


# What is drawn.


def assert_proportions(counts: Counter[Any], expected: Mapping[Any, float]) -> None:
    """Check counts by a chi-square test; a name with the probability 0 never occurs."""
    assert set(counts) <= {name for name, probability in expected.items() if probability > 0}
    names = [name for name, probability in expected.items() if probability > 0]
    probabilities = np.array([expected[name] for name in names])
    observed = [counts[name] for name in names]
    if len(names) == 1:
        return
    wanted = sum(observed) * probabilities / probabilities.sum()
    assert stats.chisquare(observed, wanted).pvalue > 0.01


def assert_uniform(values: list[float], lowest: float, highest: float) -> None:
    numbers = np.array(values)
    assert len(numbers) > 100
    assert lowest <= numbers.min() < numbers.max() <= highest
    assert stats.kstest((numbers - lowest) / (highest - lowest), "uniform").pvalue > 0.01


def test_the_defaults_are_the_paper_s() -> None:
    kinds = {
        "isotropic": 0.45,
        "anisotropic": 0.25,
        "generalised_isotropic": 0.12,
        "generalised_anisotropic": 0.03,
        "plateau_isotropic": 0.12,
        "plateau_anisotropic": 0.03,
    }
    first = PAPER.first
    assert first.blur == BlurStep(1.0, 0.1, kinds, (0.2, 3.0), (0.5, 4.0), (1.0, 2.0))
    assert first.resize == ResizeStep({"up": 0.2, "down": 0.7, "keep": 0.1}, (0.15, 1.5))
    assert first.noise == NoiseStep(0.5, 0.4, (1.0, 30.0), (0.05, 3.0))
    second = PAPER.second
    assert second.blur == BlurStep(0.8, 0.1, kinds, (0.2, 1.5), (0.5, 4.0), (1.0, 2.0))
    assert second.resize == ResizeStep({"up": 0.3, "down": 0.4, "keep": 0.3}, (0.3, 1.2))
    assert second.noise == NoiseStep(0.5, 0.4, (1.0, 25.0), (0.05, 2.5))
    assert (PAPER.scale, PAPER.jpeg_quality, PAPER.final_sinc) == (4, (30, 95), 0.8)


@pytest.mark.parametrize("number", ["first", "second"])
def test_drawn_kernels(number: str) -> None:
    step: BlurStep = getattr(PAPER, number).blur
    random = np.random.default_rng(1)
    drawn = [step.draw(random) for _ in range(DRAWS)]
    kernels = [kernel for kernel in drawn if kernel is not None]
    blurred = {True: step.probability, False: 1 - step.probability}
    assert_proportions(Counter(kernel is not None for kernel in drawn), blurred)
    expected: dict[str, float] = {kind: 0.9 * part for kind, part in step.kinds.items()}
    assert_proportions(Counter(kernel.kind for kernel in kernels), {**expected, "sinc": 0.1})
    assert_proportions(Counter(kernel.size for kernel in kernels), dict.fromkeys(SIZES, 1))
    bells = [kernel for kernel in kernels if kernel.kind != "sinc"]
    assert_uniform([kernel.sigmas[0] for kernel in bells], *step.sigma)
    turned = [kernel for kernel in bells if kernel.kind.endswith("anisotropic")]
    assert_uniform([kernel.sigmas[1] for kernel in turned], *step.sigma)
    assert_uniform([kernel.angle for kernel in turned], -math.pi, math.pi)
    correlation = np.corrcoef(np.array([kernel.sigmas for kernel in turned]).T)[0, 1]
    assert abs(correlation) < 0.05
    for kernel in bells:
        if not kernel.kind.endswith("anisotropic"):
            assert kernel.sigmas[0] == kernel.sigmas[1]


def test_drawn_shapes_of_kernels() -> None:
    """Half of the generalised Gaussians have an exponent below 1, as in the authors' code."""
    random = np.random.default_rng(2)
    drawn = [PAPER.first.blur.draw(random) for _ in range(DRAWS)]
    shapes: dict[str, list[float]] = {"gaussian": [], "generalised": [], "plateau": []}
    for kernel in drawn:
        if kernel is not None and kernel.kind != "sinc":
            family = kernel.kind.partition("_")[0]
            shapes[family if family in shapes else "gaussian"].append(kernel.shape)
    assert set(shapes["gaussian"]) == {1.0}
    assert_uniform(shapes["plateau"], 1.0, 2.0)
    low = [shape for shape in shapes["generalised"] if shape < 1]
    high = [shape for shape in shapes["generalised"] if shape >= 1]
    assert_proportions(Counter({"low": len(low), "high": len(high)}), {"low": 1, "high": 1})
    assert_uniform(low, 0.5, 1.0)
    assert_uniform(high, 1.0, 4.0)


def test_drawn_cutoffs() -> None:
    """From pi / 5 in a blur with a kernel of 13 pixels or more, else from pi / 3; up to pi."""
    random = np.random.default_rng(3)
    drawn = [PAPER.first.blur.draw(random) for _ in range(DRAWS)]
    kernels = [kernel for kernel in drawn if kernel is not None and kernel.kind == "sinc"]
    large = [kernel.cutoff for kernel in kernels if kernel.size >= 13]
    small = [kernel.cutoff for kernel in kernels if kernel.size < 13]
    assert_uniform(large, math.pi / 5, math.pi)
    assert_uniform(small, math.pi / 3, math.pi)
    last = [draw_sinc(random) for _ in range(2000)]
    assert_uniform([kernel.cutoff for kernel in last], math.pi / 3, math.pi)
    assert_proportions(Counter(kernel.size for kernel in last), dict.fromkeys(SIZES, 1))


@pytest.mark.parametrize("number", ["first", "second"])
def test_drawn_resizes(number: str) -> None:
    step: ResizeStep = getattr(PAPER, number).resize
    random = np.random.default_rng(4)
    drawn = [step.draw(random) for _ in range(DRAWS)]
    up = [factor for factor, _ in drawn if factor > 1]
    down = [factor for factor, _ in drawn if factor < 1]
    directions = {"up": len(up), "down": len(down), "keep": DRAWS - len(up) - len(down)}
    assert_proportions(Counter(directions), step.directions)
    assert_uniform(up, 1.0, step.factor[1])
    assert_uniform(down, step.factor[0], 1.0)
    assert_proportions(Counter(mode for _, mode in drawn), dict.fromkeys(MODES, 1))


@pytest.mark.parametrize("number", ["first", "second"])
def test_drawn_noise(number: str) -> None:
    step: NoiseStep = getattr(PAPER, number).noise
    random = np.random.default_rng(5)
    drawn = [step.draw(random) for _ in range(DRAWS)]
    assert_proportions(Counter(noise.kind for noise in drawn), {"gaussian": 0.5, "poisson": 0.5})
    for kind, bounds in (("gaussian", step.sigma), ("poisson", step.strength)):
        of_kind = [noise for noise in drawn if noise.kind == kind]
        assert_uniform([noise.level for noise in of_kind], *bounds)
        assert_proportions(Counter(noise.is_grey for noise in of_kind), {True: 0.4, False: 0.6})


def test_modes_are_equally_probable() -> None:
    random = np.random.default_rng(6)
    assert set(MODES) == {"area", "bilinear", "bicubic"}
    assert_proportions(Counter(draw_mode(random) for _ in range(6000)), dict.fromkeys(MODES, 1))


def test_what_has_no_frequency_is_not_drawn() -> None:
    degradation = RealWorld(kernels={"plateau_isotropic": 2.0}, sinc=0.0, resize={"keep": 1.0})
    random = np.random.default_rng(7)
    for _ in range(200):
        kernel = degradation.first.blur.draw(random)
        assert kernel is not None
        assert kernel.kind == "plateau_isotropic"
        assert degradation.first.resize.draw(random)[0] == 1


# The whole.

CLEAN: dict[str, Any] = {
    "name": "real_world",
    "kernels": {"isotropic": 1.0},
    "sinc": 0.0,
    "blur_sigma": [0.01, 0.01],
    "second_blur": 0.0,
    "resize": {"keep": 1.0},
    "second_resize": {"keep": 1.0},
    "gaussian_noise": 1.0,
    "noise_sigma": [0, 0],
    "second_noise_sigma": [0, 0],
    "jpeg_quality": [100, 100],
    "final_sinc": 0.0,
}


def test_without_degradation_only_the_resize_and_jpeg_s_rounding_are_left() -> None:
    image = a_picture(64, 96, 1)
    expected = {mode: resample(image, 16, 24, mode) for mode in MODES}
    seen = Counter()
    for position in range(60):
        degraded = degrade(CLEAN, image, position=position).image
        errors = {mode: np.abs(degraded - wanted).max() for mode, wanted in expected.items()}
        best = min(errors, key=lambda mode: errors[mode])
        assert errors[best] < 3 / 255
        seen[best] += 1
    assert_proportions(seen, dict.fromkeys(MODES, 1))


def test_the_second_compression_and_the_last_filter_come_in_either_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four steps in the one order or the other, and qualities drawn from the range."""
    steps: list[str] = []
    qualities: list[int] = []

    def compress(image: Image, quality: int) -> Image:
        steps.append("jpeg")
        qualities.append(quality)
        return image

    def last_blur(image: Image, kernel: np.ndarray) -> Image:
        steps.append("sinc")
        return image

    monkeypatch.setattr(real_world, "compress", compress)
    monkeypatch.setattr(real_world, "blur", last_blur)
    orders: Counter[str] = Counter()
    image = a_picture(16, 16, 1)
    count = 1500
    for position in range(count):
        steps.clear()
        PAPER.degrade(image, random_numbers(1, position, Purpose.DEGRADATION))
        orders[" ".join(steps)] += 1
    expected = {"jpeg jpeg sinc": 0.4, "jpeg sinc jpeg": 0.4, "jpeg jpeg": 0.2}
    assert_proportions(orders, expected)
    assert_proportions(Counter(qualities), dict.fromkeys(range(30, 96), 1))
    halves = np.array(qualities).reshape(count, 2).T
    assert abs(np.corrcoef(halves)[0, 1]) < 0.08


def test_the_second_factor_is_relative_to_the_final_size(monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []

    def recorded(image: Image, height: int, width: int, mode: str) -> Image:
        heights.append(height)
        assert width == height
        return resample(image, height, width, mode)

    monkeypatch.setattr(real_world_steps, "resample", recorded)
    image = a_picture(100, 100, 1)
    for position in range(150):
        PAPER.degrade(image, random_numbers(2, position, Purpose.DEGRADATION))
    first = heights[0::2]
    second = heights[1::2]
    assert 15 <= min(first) < 20
    assert 140 < max(first) <= 150
    assert 7 <= min(second) < 9
    assert 28 < max(second) <= 30


def test_results_are_images_of_8_bits() -> None:
    for position in range(10):
        values = degrade("real_world", a_picture(), position=position).image * 255
        np.testing.assert_allclose(values, values.round(), atol=1e-4)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(8, 8), (16, 64), (120, 80)])
def test_every_scale_and_small_images(scale: int, size: tuple[int, int]) -> None:
    config = {"name": "real_world", "scale": scale}
    for position in range(8):
        degraded = degrade(config, a_picture(*size), position=position).image
        assert degraded.shape == (size[0] // scale, size[1] // scale, 3)
        assert np.isfinite(degraded).all()


def test_nothing_is_shifted_and_no_channel_is_lost() -> None:
    """A ramp from left to right, one from top to bottom, and a flat channel stay what they are.

    Noise and JPEG blocks cancel out over the positions. A shift by half a pixel of the result would
    change the ramps by 0.01.
    """
    ramp = np.linspace(0.2, 0.8, 128, dtype=np.float32)
    image = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.float32(0.5)), axis=2)
    expected = resample(image, 32, 32, "area")
    errors = [degrade("real_world", image, position=k).image - expected for k in range(150)]
    mean = np.mean(errors, axis=0)[4:-4, 4:-4]
    np.testing.assert_allclose(mean.mean(axis=(0, 1)), 0, atol=0.003)
    assert np.abs(errors).mean() < 0.06


def test_other_noise_leaves_the_other_steps_alone() -> None:
    """Each step has a stream of its own."""
    image = np.full((64, 64, 3), 0.5, np.float32)
    image[:, 32:] = 0.6
    quiet = {"noise_sigma": [0, 0], "second_noise_sigma": [0, 0], "gaussian_noise": 1.0}
    for position in range(10):
        silent = degrade({"name": "real_world", **quiet}, image, position=position).image
        noisy = degrade(
            {"name": "real_world", **quiet, "second_noise_sigma": [1, 1]}, image, position=position
        ).image
        assert np.abs(noisy - silent).max() < 0.06
