"""Networks of timm and of torchvision whose features perceptual losses compare."""

import functools
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.core.weight_files import misfit, read, reason
from gantrain.losses.distances import l1
from gantrain.networks.backbone import Backbone

_OPTION = "method.losses.perceptual.network"


def check_channels(channels: int, loss: str) -> None:
    """Raise UserError for images that a network of RGB images does not see."""
    if channels not in (1, 3):
        raise UserError(
            f"method.losses: {loss} sees 1 or 3 channels, the target has {channels}; set the loss"
            " to 0"
        )


@runtime_checkable
class WithFeatures(Protocol):
    """A network whose feature maps can be compared."""

    def features(self, images: Tensor) -> list[Tensor]:
        """Return maps (N, C, h, w) of images (N, channels, H, W) in [-1, 1]."""


def mean_distance(network: WithFeatures, fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the layers of the L1 distance of a network's features.

    The target's features get no gradient.
    """
    with torch.no_grad():
        real_maps = network.features(target)
    fake_maps = network.features(fake)
    distances = [l1(fake_map, real) for fake_map, real in zip(fake_maps, real_maps, strict=True)]
    return torch.stack(distances).mean()


class TimmFeatures(nn.Module):
    """A network of timm, whose feature maps are compared by L1 distances.

    The loss is the mean over the layers. The images have 3 channels or 1 (grey), and their colours
    are normalised as in the network's training. Batch norm keeps the statistics of that training.

    Args:
        backbone: The name of a network of timm.
        layers: The numbers of the feature maps, of which 0 is the finest. An empty list
            takes all.
        pretrained: Gives the network its pretrained weights. Otherwise they are random.
        weights: A file of pretrained weights. null downloads the weights of timm.

    Raises:
        UserError: The images have other channels, or timm has no such network or maps.
    """

    def __init__(
        self,
        channels: int,
        *,
        backbone: str = "resnet50",
        layers: tuple[Annotated[int, Field(ge=0, le=100)], ...] = (),
        pretrained: bool = True,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_channels(channels, f"timm's {backbone}")
        self.backbone = Backbone(backbone, 3, pretrained, weights)
        self.backbone.requires_grad_(False)
        maps = len(self.backbone.channels)
        self.layers = layers or tuple(range(maps))
        wrong = [layer for layer in self.layers if layer >= maps]
        if wrong:
            raise UserError(
                f"{_OPTION}.layers: found {list(self.layers)}, allowed: numbers from 0 to"
                f" {maps - 1}, of the maps of timm's {backbone}"
            )

    def load(self) -> None:
        """Read or fetch the weights. Raises UserError where they cannot be had."""
        self.backbone.load()

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the compared maps of images (N, 1 or 3, H, W) in [-1, 1], finest first."""
        maps = self.backbone(images.expand(-1, 3, -1, -1))
        return [maps[layer] for layer in self.layers]

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        """Return a scalar from images (N, 1 or 3, H, W) in [-1, 1]."""
        return mean_distance(self, fake, target)


class TorchvisionFeatures(nn.Module):
    """A network of torchvision, the outputs of whose modules are compared by L1 distances.

    The loss is the mean over the layers. The images have 3 channels or 1 (grey), and their colours
    are normalised as in the network's training. Batch norm keeps the statistics of that training.

    Args:
        backbone: The name of a network of torchvision.
        layers: The names of the modules whose outputs are compared, such as `features.8`.
        weights: A file of pretrained weights. null downloads the default weights of torchvision.

    Raises:
        UserError: The images have other channels, or torchvision has no such network or modules.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        *,
        backbone: str = "vgg16",
        layers: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = (
            "features.3",
            "features.8",
            "features.15",
            "features.22",
        ),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_channels(channels, f"torchvision's {backbone}")
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.network: nn.Module = nn.Identity()
        sketch = _make_torchvision(backbone)
        unknown = [layer for layer in layers if layer not in dict(sketch.named_modules())]
        if unknown:
            raise UserError(
                f"{_OPTION}.layers: torchvision's {backbone} has no module {unknown[0]!r:.100},"
                " allowed: the names of its modules, such as"
                f" {', '.join([name for name, _ in sketch.named_modules() if name][:3])}"
            )
        transforms = _weights_of(backbone).transforms()
        for name, values in (("mean", transforms.mean), ("std", transforms.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def load(self) -> None:
        """Read or fetch the weights. Raises UserError where they cannot be had."""
        from torchvision.models.feature_extraction import create_feature_extractor

        network = _make_torchvision(self.backbone)
        state = read_torchvision(self.backbone, self.weights, f"{_OPTION}.weights")
        problem = misfit(state, network.state_dict())
        if problem:
            raise UserError(
                f"{_OPTION}.weights: {self.weights} does not fit torchvision's {self.backbone}"
                f" ({problem}); give its file"
            )
        network.load_state_dict(state, assign=True)
        network.eval()
        extractor = create_feature_extractor(network, list(self.layers))
        self.network = extractor.requires_grad_(False)
        self.train()  # except for the batch norm

    def train(self, mode: bool = True) -> "TorchvisionFeatures":
        """Set training mode, in which the network still keeps the statistics of its training."""
        super().train(mode)
        self.network.eval()
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the compared maps of images (N, 1 or 3, H, W) in [-1, 1], in the layers' order."""
        colours = (images.expand(-1, 3, -1, -1) + 1) / 2
        maps = self.network((colours - self.mean) / self.std)
        assert not isinstance(maps, Tensor), "load() comes first"
        return [maps[layer] for layer in self.layers]

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        """Return a scalar from images (N, 1 or 3, H, W) in [-1, 1]."""
        return mean_distance(self, fake, target)


def _weights_of(name: str) -> Any:
    """Return torchvision's description of a network's default weights. Raises UserError."""
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name).DEFAULT
    except ValueError:
        raise UserError(
            f"{_OPTION}.backbone: found {name!r:.100}, allowed: a network of torchvision, such as"
            " vgg16 or resnet50"
        ) from None


def _make_torchvision(name: str) -> nn.Module:
    """Make a network of torchvision without memory for its weights. Raises UserError."""
    from torchvision.models import get_model

    _weights_of(name)
    with torch.device("meta"):
        network: nn.Module = get_model(name, weights=None)
    return network


@functools.cache  # A run makes its method several times.
def read_torchvision(name: str, path: str | None, option: str) -> dict[str, Tensor]:
    """Return the tensors of a network of torchvision, from a file or fetched.

    option: the recipe's key of the file. Raises UserError where they cannot be had.
    """
    if path is not None:
        return read(path, option, f"give the file of torchvision's {name}")
    weights = _weights_of(name)
    try:
        return dict(
            weights.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
        )
    except Exception as e:  # of the network, the disk, the hash
        raise UserError(
            f"{option}: {weights.url} can't be fetched ({reason(e)}); give the file as"
            f" {option}=FILE, or set the loss to 0"
        ) from None
