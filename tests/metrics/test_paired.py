"""Distances of pairs against scikit-image and torchmetrics."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from scipy.ndimage import correlate1d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import lpips

from gantrain.metrics.metric_suite import MetricSuite
from gantrain.metrics.paired import PAIRED, Perceptual, ms_ssim

CPU = torch.device("cpu")


def pair(size: tuple[int, int] = (48, 40), channels: int = 3, n: int = 3) -> tuple[Tensor, Tensor]:
    """8-bit values in [-1, 1], float64; each image further from its target than the one before."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.uniform(0, 255, (n, channels, 7, 6)))
    target = (
        torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 255).round()
    )
    noise = torch.from_numpy(random.standard_normal(target.shape)) * torch.arange(2, n + 2).view(
        -1, 1, 1, 1
    )
    return (target + 2 + noise).clamp(0, 255).round() / 127.5 - 1, target / 127.5 - 1


def bytes_of(images: Tensor) -> list[np.ndarray]:
    return [
        image.permute(1, 2, 0).numpy() for image in ((images + 1) * 127.5).round().to(torch.uint8)
    ]


def measured(
    names: list[str], fake: Tensor, target: Tensor, crop_border: int = 0
) -> dict[str, float]:
    panel = MetricSuite(names, CPU, {}, len(fake), crop_border)
    panel.add(fake, target)
    return {record.name: record.value for record in panel.results()}  # type: ignore[misc]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop_border", [0, 4])
def test_psnr_and_ssim_are_scikit_images(channels: int, crop_border: int) -> None:
    fake, target = pair(channels=channels)
    ours = measured(["psnr", "ssim", "psnr_pooled", "l1", "l2"], fake, target, crop_border)
    inner = slice(crop_border, -crop_border or None)
    pairs = [
        (a[inner, inner], b[inner, inner])
        for a, b in zip(bytes_of(fake), bytes_of(target), strict=True)
    ]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ours["psnr"] == pytest.approx(
        np.mean([peak_signal_noise_ratio(b, a) for a, b in pairs]), abs=1e-9
    )
    ssims = [
        structural_similarity(a, b, channel_axis=2, data_range=255, **options) for a, b in pairs
    ]
    assert ours["ssim"] == pytest.approx(np.mean(ssims), abs=1e-9)
    differences = np.stack([a.astype(float) - b for a, b in pairs]) / 127.5
    assert ours["l1"] == pytest.approx(np.abs(differences).mean(), abs=1e-12)
    assert ours["l2"] == pytest.approx((differences**2).mean(), abs=1e-12)
    assert ours["psnr_pooled"] == pytest.approx(
        10 * np.log10(4 / (differences**2).mean()), abs=1e-9
    )
    assert ours["psnr_pooled"] < ours["psnr"]  # a mean of logarithms is another number


def test_luma_is_scikit_images() -> None:
    fake, target = pair()
    ours = measured(["psnr_y", "ssim_y"], fake, target)
    pairs = list(
        zip(
            *([rgb2ycbcr(x)[..., 0] for x in bytes_of(images)] for images in (fake, target)),
            strict=True,
        )
    )
    theirs = np.mean([peak_signal_noise_ratio(b, a, data_range=255) for a, b in pairs])
    assert ours["psnr_y"] == pytest.approx(theirs, abs=1e-6)
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 255,
    }
    theirs = np.mean([structural_similarity(a, b, **options) for a, b in pairs])
    assert ours["ssim_y"] == pytest.approx(theirs, abs=1e-6)


def test_perfect_images_have_finite_values() -> None:
    _, target = pair((176, 180), n=1)
    found = measured([*PAIRED, "psnr_pooled"], target, target)
    assert found["psnr"] == pytest.approx(106.02, abs=0.01)
    assert [found[n] for n in ("l1", "l2", "ssim", "ssim_y", "ms_ssim")] == pytest.approx(
        [0, 0, 1, 1, 1]
    )


def test_ms_ssim_takes_each_image_by_itself() -> None:
    fake, target = pair((176, 180))
    each = [measured(["ms_ssim"], fake[i : i + 1], target[i : i + 1])["ms_ssim"] for i in range(3)]
    assert each == sorted(each, reverse=True)
    assert measured(["ms_ssim"], fake, target)["ms_ssim"] == pytest.approx(np.mean(each), abs=1e-9)


def test_ms_ssim_leaves_out_what_a_window_has_not_whole() -> None:
    """Against scipy; a damaged border is seen by few whole windows."""
    fake, target = pair((176, 203))
    fake[0, :, :6] = fake[0, :, -6:] = 0
    fake[1] = (fake[1] - target[1].roll(3, -1)).clamp(-1, 1)
    assert (ours := ms_ssim(fake, target)).tolist() == pytest.approx(
        [_ms_ssim(*((x.numpy() + 1) / 2 for x in one)) for one in zip(fake, target, strict=True)],
        abs=1e-6,
    )
    assert ours.min() < 0.5 < ours[0] < 1
    assert ms_ssim(fake[..., 1:, :], target[..., 1:, :]).isnan().all()


def _ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    def mean(x: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            x = correlate1d(x, window / window.sum(), axis)
        return x[:, 5:-5, 5:-5]

    product, window = 1.0, np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            cut = (slice(None), *(slice(n // 2 * 2) for n in a.shape[1:]))
            a, b = (x[cut].reshape(3, x.shape[1] // 2, 2, -1, 2).mean((2, 4)) for x in (a, b))
        m, n = mean(a), mean(b)
        term = (2 * (mean(a * b) - m * n) + 0.03**2) / (
            mean(a * a) - m * m + mean(b * b) - n * n + 0.03**2
        )
        if scale == 4:
            term = term * (2 * m * n + 0.01**2) / (m * m + n * n + 0.01**2)
        product *= max(term.mean(), 0) ** weight
    return float(product)


def test_images_too_small_for_a_window_have_no_value() -> None:
    panel = MetricSuite(["ssim", "ms_ssim", "l1"], CPU, {}, 3)
    panel.add(*pair((11, 40)))
    ssim, ms_ssim, l1 = panel.results()
    assert (ssim.value, ssim.problem, ms_ssim.value) == (None, "too small", None)
    assert l1.value


def test_lpips_with_a_file_is_torchmetrics() -> None:
    file = SHARED / "weights" / "squeezenet1_1_imagenet.safetensors"
    if not file.is_file():
        pytest.skip("SqueezeNet's weights are not here (../shared/weights)")
    fake, target = pair((64, 64))
    ours = Perceptual("lpips_squeeze", str(file))
    each = ours(fake, target)
    assert each.tolist() == sorted(each.tolist())
    assert ours(target, target).abs().max() < 1e-6
    # The layers are where torchvision has them: the same features, computed by its own network.
    import torchvision
    from safetensors.torch import load_file

    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(load_file(file))
    x = (fake.float() - ours.network.scaling_layer.shift) / ours.network.scaling_layer.scale
    torch.testing.assert_close(ours.network.net(x)[-1], network.features(x))
    panel = MetricSuite(["lpips_squeeze"], torch.device("cpu"), {"lpips_squeeze": str(file)}, 2)
    panel.add(fake, target)
    (record,) = panel.results()
    assert (record.extractor, record.digest) == ("squeeze", ours.digest)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("lpips_squeeze", 17),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in (("lpips", 31), ("lpips_vgg", 16))),
    ],
)
def test_lpips_needs_what_outlasts_its_pooling(
    name: str, smallest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = partial(lpips._LPIPS, pnet_rand=True)
    monkeypatch.setattr(lpips, "_LPIPS", lambda net, pnet_rand: random(net=net))
    for size, channels, value in (
        (smallest, 3, True),
        (smallest, 1, True),
        (smallest - 1, 3, False),
        (40, 5, False),
    ):
        panel = MetricSuite([name], CPU, {}, 3)
        panel.add(*pair((size, 40), channels))
        (record,) = panel.results()
        assert (record.value is not None) == value
        assert record.problem == ("" if value else "too small, or not of 1 or 3 channels")


def test_lpips_refuses_another_networks_file(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"x\.pth is not torchvision's vgg16; give its file"):
        Perceptual("lpips_vgg", str(file))
