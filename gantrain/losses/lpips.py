"""LPIPS and DISTS: distances of features with weights that were fitted to people's judgements."""

import importlib.util
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.core.weight_files import read
from gantrain.losses.adversarial import at_least_float32
from gantrain.losses.feature_networks import check_channels, read_torchvision
from gantrain.losses.reconstruction_loss import ReconstructionLoss

_TORCHVISION = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
# The numbers of torchvision's layers whose outputs are compared.
_COMPARED = {
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}
_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}  # the side that survives the pooling
# LPIPS's own normalisation of colours in [-1, 1], and that of torchvision of colours in [0, 1].
_LPIPS_MEAN = (-0.030, -0.088, -0.188)
_LPIPS_STD = (0.458, 0.448, 0.450)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_POOLS = (4, 9, 16, 23)  # the numbers of VGG-16's pooling layers
_DISTS_CHANNELS = [3, 64, 128, 256, 512, 512]
_STABLE = 1e-6  # in DISTS's fractions


class LPIPS(ReconstructionLoss):
    """LPIPS: weighted squared distances of unit features, fitted to people's judgements.

    Zhang et al., 2018 (arXiv 1801.03924), version 0.1. The images have 3 channels or 1 (grey). The
    fitted weights come with torchmetrics.

    Args:
        network: The network of the features: `vgg` (VGG-16), which the authors recommend for
            training, `alex` (AlexNet) or `squeeze` (SqueezeNet 1.1).
        weights: A file of torchvision's vgg16, alexnet or squeezenet1_1. null downloads it.

    Raises:
        UserError: The images have other channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        network: Literal["alex", "vgg", "squeeze"] = "vgg",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_channels(channels, "LPIPS")
        self.backbone = network
        self.weights = weights
        self.minimum_size = _SMALLEST[network]
        self.layers: nn.Module = nn.Sequential()
        self.heads = nn.ParameterList()

    def load(self) -> None:
        name = _TORCHVISION[self.backbone]
        last = _COMPARED[self.backbone][-1]
        self.layers = _load_layers(name, self.weights, "method.losses.lpips.weights", last)
        heads = _read_fitted(f"lpips_models/{self.backbone}.pth")
        # A 1x1 convolution to one channel, (1, C, 1, 1), for each compared layer.
        tensors = [heads[f"lin{n}.model.1.weight"] for n in range(len(_COMPARED[self.backbone]))]
        self.heads = nn.ParameterList([nn.Parameter(head, False) for head in tensors])

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            real_maps = self._features(target)
        fake_maps = self._features(fake)
        per_layer = []
        for fake_map, real_map, head in zip(fake_maps, real_maps, self.heads, strict=True):
            difference = (_unit(fake_map) - _unit(real_map)).square()
            per_layer.append((difference * at_least_float32(head)).sum(1).mean())
        return torch.stack(per_layer).sum()

    def _features(self, images: Tensor) -> list[Tensor]:
        """Return the compared maps of images (N, 1 or 3, H, W), finest first."""
        assert len(self.heads), "load() comes first"
        x = _standardised(images.expand(-1, 3, -1, -1), _LPIPS_MEAN, _LPIPS_STD)
        return _run(self.layers, x, _COMPARED[self.backbone])


class DISTS(ReconstructionLoss):
    """DISTS: the structure and the texture of VGG-16's features, fitted to people's judgements.

    Ding et al., 2020 (arXiv 2004.07728). It forgives textures whose details lie elsewhere. The
    images have 3 channels or 1 (grey), and keep their size. The fitted weights come with
    torchmetrics.

    Args:
        weights: A file of torchvision's vgg16. null downloads it.

    Raises:
        UserError: The images have other channels.
    """

    minimum_size = 16

    def __init__(self, channels: int, *, weights: str | None = None) -> None:
        super().__init__()
        check_channels(channels, "DISTS")
        self.weights = weights
        self.layers: nn.Module = nn.Sequential()
        self.alpha = nn.Parameter(torch.empty(0), False)
        self.beta = nn.Parameter(torch.empty(0), False)

    def load(self) -> None:
        layers = _load_layers(
            "vgg16", self.weights, "method.losses.dists.weights", _COMPARED["vgg"][-1]
        )
        for number in _POOLS:
            layers[number] = _L2Pool()
        self.layers = layers
        fitted = _read_fitted("dists_models/weights.pt")
        self.alpha = nn.Parameter(fitted["alpha"], False)
        self.beta = nn.Parameter(fitted["beta"], False)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            real_maps = self._features(target)
        fake_maps = self._features(fake)
        total = at_least_float32(self.alpha).sum() + at_least_float32(self.beta).sum()
        alphas = torch.split(at_least_float32(self.alpha) / total, _DISTS_CHANNELS, dim=1)
        betas = torch.split(at_least_float32(self.beta) / total, _DISTS_CHANNELS, dim=1)
        similarity = torch.zeros((), dtype=total.dtype, device=total.device)
        for level, (fake_map, real_map) in enumerate(zip(fake_maps, real_maps, strict=True)):
            texture, structure = _texture_and_structure(fake_map, real_map)
            per_image = (alphas[level] * texture + betas[level] * structure).sum((1, 2, 3))
            similarity = similarity + per_image.mean()
        return 1 - similarity

    def _features(self, images: Tensor) -> list[Tensor]:
        """Return the colours in [0, 1] and the compared maps, finest first."""
        assert self.alpha.numel(), "load() comes first"
        colours = (images.expand(-1, 3, -1, -1) + 1) / 2
        x = _standardised(colours, _IMAGENET_MEAN, _IMAGENET_STD)
        return [colours, *_run(self.layers, x, _COMPARED["vgg"])]


class _L2Pool(nn.Module):
    """Halves maps by the root of a blurred square, in the place of max pooling (DISTS)."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        row = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
        kernel = (row[:, None] * row).expand(channels, 1, 3, 3)
        return (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def _texture_and_structure(fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the similarities of means and of variations of maps (N, C, h, w), (N, C, 1, 1)."""
    fake = at_least_float32(fake)
    real = at_least_float32(real)
    fake_mean = fake.mean((2, 3), keepdim=True)
    real_mean = real.mean((2, 3), keepdim=True)
    fake_variance = (fake - fake_mean).square().mean((2, 3), keepdim=True)
    real_variance = (real - real_mean).square().mean((2, 3), keepdim=True)
    covariance = ((fake - fake_mean) * (real - real_mean)).mean((2, 3), keepdim=True)
    texture = (2 * fake_mean * real_mean + _STABLE) / (
        fake_mean.square() + real_mean.square() + _STABLE
    )
    structure = (2 * covariance + _STABLE) / (fake_variance + real_variance + _STABLE)
    return texture, structure


def _unit(maps: Tensor) -> Tensor:
    """Return maps (N, C, h, w) with vectors of length 1."""
    maps = at_least_float32(maps)
    return maps / (maps.square().sum(1, keepdim=True) + 1e-8).sqrt()


def _standardised(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Return images (N, 3, H, W) less a mean and divided by a standard deviation of colours."""
    channels = []
    for channel in range(3):
        channels.append((images[:, channel] - mean[channel]) / std[channel])
    return torch.stack(channels, 1)


def _run(layers: nn.Module, x: Tensor, compared: tuple[int, ...]) -> list[Tensor]:
    """Return the outputs of the compared layers."""
    maps = []
    for number, layer in enumerate(layers.children()):
        x = layer(x)
        if number in compared:
            maps.append(x)
    return maps


def _load_layers(name: str, path: str | None, option: str, last: int) -> nn.Sequential:
    """Return the layers `features` of a network of torchvision, with its weights.

    last: the number of the last layer that is needed. Raises UserError where the weights cannot be
    had.
    """
    from torchvision.models import get_model

    with torch.device("meta"):
        layers: nn.Sequential = get_model(name, weights=None).features[: last + 1]
    given = read_torchvision(name, path, option)
    state = {}
    for key, tensor in layers.state_dict().items():
        value = given.get(f"features.{key}")
        if value is None or value.shape != tensor.shape:
            raise UserError(f"{option}: {path} is not torchvision's {name}; give its file")
        state[key] = value.float()
    layers.load_state_dict(state, assign=True)
    layers.requires_grad_(False)
    for layer in layers.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # the maps before it may be compared
    return layers


def _read_fitted(file: str) -> dict[str, Tensor]:
    """Return the fitted weights of LPIPS or DISTS, which torchmetrics holds. Raises UserError."""
    package = importlib.util.find_spec("torchmetrics")  # found, and not imported, which is slow
    assert package is not None
    assert package.origin
    path = Path(package.origin).parent / "functional" / "image" / file
    return read(path, "method.losses", "reinstall torchmetrics")
