"""Reconstruction losses against float64 formulas, scikit-image, torchmetrics, timm and torchvision."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from resolving import resolve
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torchmetrics.functional.image import dists as reference_dists
from torchmetrics.functional.image.lpips import _LPIPS

from gantrain.core.component import BadComponent, build
from gantrain.losses import PERCEPTUAL, RECONSTRUCTION
from gantrain.losses.feature_networks import TorchvisionFeatures
from gantrain.losses.reconstruction_loss import TAKEN
from gantrain.metrics.paired import ms_ssim

assert RECONSTRUCTION, "no reconstruction loss to test"

Array = np.ndarray[Any, np.dtype[np.float64]]


class Toy(nn.Module):
    """Two maps of an image: its halves of channels, at two scales. It has no weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def features(self, images: Tensor) -> list[Tensor]:
        both = torch.cat([images, images.square(), images.flip(3)], 1)
        return [both, nn.functional.avg_pool2d(both, 2)]

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        return (fake - target).abs().mean()


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PERCEPTUAL, "toy", Toy)


def make(name: str, channels: int = 3, **options: object) -> Any:
    loss = build(
        RECONSTRUCTION, resolve(RECONSTRUCTION, {"name": name, **options}), channels=channels
    )
    loss.load()
    return loss.double()


def pictures(height: int = 32, width: int = 48, channels: int = 3) -> tuple[Tensor, Tensor]:
    """A target and a fake that resembles it."""
    torch.manual_seed(1)
    target = torch.rand(2, channels, height, width, dtype=torch.float64) * 2 - 1
    noise = torch.randn_like(target)
    return (0.8 * target + 0.1 * noise).clamp(-1, 1), target


def generators() -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in (3, 4)]


# A small version of each loss, without weights from elsewhere, and its arguments.
SMALL: dict[str, dict[str, Any]] = {
    "ms_ssim": {"scales": 2},
    "perceptual": {"network": "toy"},
    "patch_nce": {"network": "toy"},
    **{name: {} for name in ("l1", "l2", "charbonnier", "pyramid_l1", "ssim", "feature_matching")},
}
WITH_WEIGHTS = {"lpips", "dists"}


def test_every_loss_is_tested() -> None:
    assert set(RECONSTRUCTION) == set(SMALL) | WITH_WEIGHTS
    for cls in RECONSTRUCTION.values():
        assert set(cls.takes) <= set(TAKEN)


def arguments(name: str, fake: Tensor, target: Tensor) -> list[Any]:
    """What a loss takes, where the discriminator is the toy."""
    toy = Toy(3)
    parts = {
        "fake": fake,
        "target": target,
        "pixel_weights": None,
        "on_fake": [[*toy.features(fake), fake]],
        "on_real": [[*toy.features(target), target]],
        "generators": generators(),
    }
    return [parts[part] for part in RECONSTRUCTION[name].takes]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", SMALL)
def test_contract(name: str) -> None:
    """A scalar with a gradient by the fake alone, and the same in bf16 autocast."""
    fake, target = pictures()
    fake.requires_grad_()
    target.requires_grad_()
    loss = make(name, **SMALL[name])
    value = loss(*arguments(name, fake, target))
    assert value.shape == ()
    value.backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    if name in ("feature_matching", "perceptual", "patch_nce"):
        assert target.grad is None or name == "perceptual"
    pair = (fake.detach().float(), target.detach().float())
    expected = loss.float()(*arguments(name, *pair))
    with torch.autocast("cpu", torch.bfloat16):
        ours = loss(*arguments(name, *pair))
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(ours, expected)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", [n for n in SMALL if n != "patch_nce"])
def test_equal_images_have_no_distance(name: str) -> None:
    _, target = pictures()
    expected = SMALL[name].get("epsilon", 1e-3) if name == "charbonnier" else 0
    assert make(name, **SMALL[name])(*arguments(name, target, target)).item() == pytest.approx(
        expected, abs=1e-12
    )


def halved(images: Array) -> Array:
    n, c, h, w = images.shape
    return images.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def pyramid(fake: Array, target: Array, levels: int, finest: int) -> float:
    values = []
    for level in range(finest + levels):
        if level >= finest:
            values.append(np.abs(fake - target).mean())
        fake, target = halved(fake), halved(target)
    return float(np.mean(values))


def test_pixel_losses_without_weights() -> None:
    fake, target = pictures()
    difference = (fake - target).numpy()
    expected = {
        "l1": np.abs(difference).mean(),
        "l2": (difference**2).mean(),
        "charbonnier": np.sqrt(difference**2 + 0.05**2).mean(),
    }
    for name, value in expected.items():
        options = {"epsilon": 0.05} if name == "charbonnier" else {}
        assert make(name, **options)(fake, target).item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
def test_weights_of_pixels(name: str) -> None:
    """The mean of weight times distance; weights of 1 change nothing."""
    fake, target = pictures()
    weights = torch.rand(2, 1, 32, 48, dtype=torch.float64) * 3
    distance = {
        "l1": (fake - target).abs(),
        "l2": (fake - target).square(),
        "charbonnier": ((fake - target).square() + 1e-6).sqrt(),
    }[name]
    loss = make(name, weight_by="mask")
    expected = (weights * distance).numpy().mean()
    assert loss(fake, target, weights).item() == pytest.approx(expected, rel=1e-12)
    same = loss(fake, target, torch.ones_like(weights))
    assert same.item() == pytest.approx(loss(fake, target).item(), rel=1e-12)


@pytest.mark.parametrize(("levels", "finest"), [(1, 0), (3, 0), (2, 2)])
def test_pyramid(levels: int, finest: int) -> None:
    fake, target = pictures()
    loss = make("pyramid_l1", levels=levels, finest=finest)
    expected = pyramid(fake.numpy(), target.numpy(), levels, finest)
    assert loss(fake, target).item() == pytest.approx(expected, rel=1e-12)


def test_a_shift_costs_less_at_coarse_levels() -> None:
    torch.manual_seed(0)
    smooth = nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode="bicubic")
    shifted = smooth.roll(2, 3)
    ratio = make("pyramid_l1", finest=3, levels=1).float()(shifted, smooth) / make("l1").float()(
        shifted, smooth
    )
    noise = torch.rand(1, 3, 64, 64)
    worse = make("pyramid_l1", finest=3, levels=1).float()(noise.roll(2, 3), noise)
    assert ratio < 1
    assert worse < 0.3 * make("l1").float()(noise.roll(2, 3), noise)


def test_ssim_is_that_of_scikit_image() -> None:
    fake, target = pictures()
    values = [
        structural_similarity(
            (a.numpy() + 1) / 2,
            (b.numpy() + 1) / 2,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(fake, target, strict=True)
    ]
    assert make("ssim")(fake, target).item() == pytest.approx(1 - np.mean(values), rel=1e-9)


def similarity(fake: Array, target: Array) -> tuple[Array, Array]:
    """SSIM and its contrast term of each image, by scipy's filter."""

    def blur(x: Array) -> Array:
        blurred = gaussian_filter(x, (0, 0, 1.5, 1.5), truncate=3.5)
        return np.asarray(blurred[..., 5:-5, 5:-5])

    a, b = (fake + 1) / 2, (target + 1) / 2
    mean_a, mean_b = blur(a), blur(b)
    covariance = blur(a * b) - mean_a * mean_b
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    contrast = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_ms_ssim_of_fewer_scales(scales: int) -> None:
    fake, target = pictures(64, 80)
    exponents = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    product, a, b = np.ones(2), fake.numpy(), target.numpy()
    for scale, exponent in enumerate(exponents * 1.0001 / exponents.sum()):
        whole, contrast = similarity(a, b)
        product = product * (whole if scale == scales - 1 else contrast) ** exponent
        a, b = halved(a), halved(b)
    ours = make("ms_ssim", scales=scales)(fake, target)
    assert ours.item() == pytest.approx(1 - product.mean(), rel=1e-9)


def test_ms_ssim_is_that_of_torchmetrics() -> None:
    fake, target = pictures(176, 192)
    expected = 1 - ms_ssim(fake, target).mean().item()
    assert make("ms_ssim")(fake, target).item() == pytest.approx(expected, rel=1e-6)


def test_ms_ssim_of_opposite_images_has_a_finite_gradient() -> None:
    _, target = pictures()
    fake = (-target).requires_grad_()
    make("ms_ssim", scales=2)(fake, target).backward()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


def save(state: dict[str, Tensor], path: Any) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("network", ["alex", "vgg", "squeeze"])
def test_lpips_is_that_of_torchmetrics(network: str, tmp_path: Any) -> None:
    """Of backbones with random weights, whose heads are the published ones."""
    name = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}[network]
    torch.manual_seed(0)
    reference = _LPIPS(net=network, pnet_rand=True)  # type: ignore[arg-type]
    state = {}
    for key, value in reference.net.state_dict().items():
        numbers = key.split(".")
        state[".".join(["features", *numbers[2 if network == "squeeze" else 1 :]])] = value
    path = save(state, tmp_path / f"{name}.pth")
    loss = make("lpips", network=network, weights=path)
    for channels in (3, 1):
        fake, target = pictures(40, 48, channels)
        expected = reference.double()(
            fake.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1)
        ).mean()
        fake.requires_grad_()
        ours = loss(fake, target)
        # torchmetrics holds the mean and the deviation of colours in float32.
        assert ours.item() == pytest.approx(expected.item(), rel=1e-6)
        ours.backward()
        assert fake.grad is not None
        assert fake.grad.abs().sum() > 0
    assert loss(target, target) == 0
    assert not any(p.requires_grad for p in loss.parameters())


def test_dists_is_that_of_torchmetrics(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a VGG-16 with random weights, with the published weights of DISTS."""
    torch.manual_seed(0)
    vgg = torchvision.models.vgg16(weights=None)
    state = {k: v for k, v in vgg.state_dict().items() if k.startswith("features.")}
    path = save(state, tmp_path / "vgg16.pth")
    monkeypatch.setattr(reference_dists, "vgg16", lambda weights: vgg)
    loader = torch.load
    monkeypatch.setattr(torch, "load", lambda f, *args, **kwargs: loader(f, "cpu"))
    reference = reference_dists.DISTSNetwork().double()
    monkeypatch.undo()
    loss = make("dists", weights=path)
    fake, target = pictures(40, 48)
    expected = reference((fake + 1) / 2, (target + 1) / 2).mean().item()
    fake.requires_grad_()
    ours = loss(fake, target)
    assert ours.item() == pytest.approx(expected, rel=1e-6)
    ours.backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert loss(target, target).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", sorted(WITH_WEIGHTS))
def test_weights_that_cannot_be_had_are_one_line(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"^method\.losses\.{name}\.weights: .*other.pth is not "):
        make(name, weights=path)

    def offline(*args: object, **options: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "nowhere")
    line = rf"^method\.losses\.{name}\.weights: https.*vgg16.*can't be fetched \(no network\); "
    with pytest.raises(ValueError, match=line):
        make(name)
    for loss in (name, "perceptual", "patch_nce"):
        with pytest.raises(ValueError, match="sees 1 or 3 channels, the target has 2"):
            build(RECONSTRUCTION, loss, channels=2)


@pytest.mark.parametrize("layers", [[0, 2], []])
def test_perceptual_by_timm(layers: list[int]) -> None:
    torch.manual_seed(0)
    network = {"name": "timm", "backbone": "test_resnet", "pretrained": False, "layers": layers}
    loss = make("perceptual", network=network)
    reference: Any = timm.create_model("test_resnet", features_only=True)
    reference.load_state_dict(loss.network.backbone.network.state_dict())
    reference = reference.double().eval()
    config = timm.get_pretrained_cfg("test_resnet")
    fake, target = pictures()
    mean, std = (torch.tensor(v).double().view(3, 1, 1) for v in (config.mean, config.std))
    maps = [reference(((x + 1) / 2 - mean) / std) for x in (fake, target)]
    chosen = layers or range(len(maps[0]))
    expected = np.mean([(maps[0][i] - maps[1][i]).abs().mean().item() for i in chosen])
    assert loss(fake, target).item() == pytest.approx(expected, rel=1e-6)
    loss.train()  # as a phase does; the statistics stay
    assert loss(fake, target).item() == pytest.approx(expected, rel=1e-6)


def test_perceptual_by_torchvision(tmp_path: Any) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(weights=None)
    path = save(reference.state_dict(), tmp_path / "resnet18.pth")
    reference = reference.double().eval()
    layers = ["layer2.0.conv1", "layer1"]
    network = {"name": "torchvision", "backbone": "resnet18", "layers": layers, "weights": path}
    loss = make("perceptual", network=network)
    outputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name in layers:
        module = reference.get_submodule(name)
        module.register_forward_hook(lambda m, i, o, name=name: outputs[name].append(o.detach()))
    fake, target = pictures()
    mean, std = (
        torch.tensor(v).double().view(3, 1, 1)
        for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    for images in (fake, target):
        reference(((images + 1) / 2 - mean) / std)
    expected = np.mean([(a - b).abs().mean().item() for a, b in outputs.values()])
    assert loss(fake, target).item() == pytest.approx(expected, rel=1e-6)
    loss.train()
    assert loss(fake, target).item() == pytest.approx(expected, rel=1e-6)


WRONG_NETWORKS = {
    "no network of torchvision": (
        {"name": "torchvision", "backbone": "nope"},
        r"network.backbone: found 'nope', allowed: a network of torchvision",
    ),
    "no module": (
        {"name": "torchvision", "backbone": "resnet18", "layers": ["layer9"]},
        r"network.layers: torchvision's resnet18 has no module 'layer9', allowed: .* conv1, bn1",
    ),
    "no map": (
        {"name": "timm", "backbone": "test_resnet", "layers": [9]},
        r"network.layers: found \[9\], allowed: numbers from 0 to 4, of the maps of timm's",
    ),
}


@pytest.mark.parametrize("case", WRONG_NETWORKS)
def test_wrong_networks_are_one_line(case: str) -> None:
    network, line = WRONG_NETWORKS[case]
    with pytest.raises(ValueError, match=line):
        build(RECONSTRUCTION, {"name": "perceptual", "network": network}, channels=3)


def test_weights_of_another_network_are_one_line(tmp_path: Any) -> None:
    path = save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "x.pth")
    network = TorchvisionFeatures(3, backbone="alexnet", layers=("features.0",), weights=path)
    with pytest.raises(ValueError, match=r"does not fit torchvision's alexnet \(.*is missing\)"):
        network.load()


@pytest.mark.usefixtures("toy")
def test_supervised_patch_nce() -> None:
    """The cross-entropy of each place among its image's places, in numpy."""
    fake, target = pictures(8, 8)
    loss = make("patch_nce", network="toy", patches=12, temperature=0.2)
    ours = loss(fake, target, generators()).item()
    values = []
    randoms = generators()
    maps = list(zip(Toy(3).features(fake), Toy(3).features(target), strict=True))
    for a, b in maps:
        count = min(12, a.shape[2] * a.shape[3])
        for image, random in enumerate(randoms):
            places = random.choice(a.shape[2] * a.shape[3], count, replace=False)
            q, k = (x[image].flatten(1).numpy()[:, places] for x in (a, b))
            q, k = q / np.linalg.norm(q, axis=0), k / np.linalg.norm(k, axis=0)
            logits = q.T @ k / 0.2
            own = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            values.append(-np.diag(own).mean())
    assert ours == pytest.approx(np.mean(values), rel=1e-9)


def test_patch_nce_needs_features(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

    monkeypatch.setitem(PERCEPTUAL, "bare", Bare)
    with pytest.raises(BadComponent, match=r"patch_nce.network: Bare has no features\(\)"):
        build(RECONSTRUCTION, {"name": "patch_nce", "network": "bare"}, channels=3)
