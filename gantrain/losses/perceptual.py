"""VGG-19 of the perceptual loss, and the distances of its features."""

import functools
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.core.weight_files import read, reason
from gantrain.losses.distances import l1

# The weights of the distances of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1, finest first.
_DISTANCE_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
# The positions of their convolutions among all convolutions. Max pooling stands before each of them
# but the first.
_COMPARED = (0, 2, 4, 8, 12)
_POOLED = _COMPARED[1:]

# The tensors' numbers in torchvision's file, one for each convolution.
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
# Those of a file up to relu3_1 whose layer 0 maps RGB in [0, 1] to the input of VGG.
_WITH_COLOUR_LAYER = (0, 2, 5, 9, 12, 16)

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_OPTION = "method.losses.perceptual.network.weights"


class _Layer(NamedTuple):
    """The tensors of one convolution."""

    weight: Tensor
    bias: Tensor


class VGG19(nn.Module):
    """VGG-19, whose features the loss of pix2pixHD compares by weighted L1 distances.

    Wang et al., 2018 (arXiv 1711.11585). The features are relu1_1, relu2_1, relu3_1, relu4_1 and
    relu5_1. The images have 3 channels or 1 (grey).

    Args:
        weights: A .safetensors or .pth file of torchvision's vgg19, or of a VGG-19 up to relu3_1
            with a colour layer in front, which gives the first three distances only. null downloads
            the weights of torchvision into torch.hub's folder.
        normalised: Shifts and scales colours as torchvision does. pix2pixHD and SPADE do not. A
            colour layer in the file always does.

    Raises:
        UserError: The images have other channels.
    """

    def __init__(
        self, channels: int, *, weights: str | None = None, normalised: bool = False
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UserError(
                f"method.losses: VGG-19 sees 1 or 3 channels, the target has {channels}; set the"
                " loss to 0"
            )
        self.weights = weights
        self.normalised = normalised
        self.colour: nn.Module = nn.Identity()
        self.convs = nn.ModuleList()

    def load(self) -> None:
        """Read the weights, or fetch them.

        Call it before training, and on one process of a node first. Raises UserError where they
        cannot be had.
        """
        has_colour_layer, layers = _read_layers(self.weights)
        if has_colour_layer:
            (weight, bias), *layers = layers
            # The file's layer expects [0, 1]: a colour x in [-1, 1] is x / 2 + 1 / 2 there.
            self.colour = _frozen_conv(weight / 2, bias + weight.sum((1, 2, 3)) / 2)
        elif self.normalised:
            mean = torch.tensor(_IMAGENET_MEAN)
            std = torch.tensor(_IMAGENET_STD)
            scale = torch.diag(0.5 / std)[..., None, None]
            self.colour = _frozen_conv(scale, (0.5 - mean) / std)
        padding_mode: Literal["zeros", "reflect"] = "reflect" if has_colour_layer else "zeros"
        self.convs = nn.ModuleList(
            _frozen_conv(layer.weight, layer.bias, padding_mode) for layer in layers
        )

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        """Return a scalar from images (N, channels, H, W) in [-1, 1] of at least 16x16 pixels."""
        with torch.no_grad():
            real_maps = self.features(target)
        fake_maps = self.features(fake)
        # A file up to relu3_1 gives fewer maps than there are weights.
        terms = zip(_DISTANCE_WEIGHTS, fake_maps, real_maps, strict=False)
        distances = [weight * l1(fake_map, real_map) for weight, fake_map, real_map in terms]
        return torch.stack(distances).sum()

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the compared maps of images (N, channels, H, W), finest first."""
        assert len(self.convs), "load() comes first"
        features = []
        x = self.colour(x.expand(-1, 3, -1, -1))
        for i, conv in enumerate(self.convs):
            if i in _POOLED:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            if i in _COMPARED:
                features.append(x)
        return features


def _frozen_conv(
    weight: Tensor, bias: Tensor, padding_mode: Literal["zeros", "reflect"] = "zeros"
) -> nn.Conv2d:
    """Return a convolution of these weights that keeps the size and is not trained."""
    out_channels, in_channels, kernel, _ = weight.shape
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        padding=kernel // 2,
        padding_mode=padding_mode,
        device="meta",  # draws no weights, which the next lines would replace
    )
    conv.weight = nn.Parameter(weight, False)
    conv.bias = nn.Parameter(bias, False)
    return conv


@functools.cache  # A run makes its method several times, and the file has half a gigabyte.
def _read_layers(path: str | None) -> tuple[bool, list[_Layer]]:
    """Return whether the first layer maps colours, and the layers of the file.

    None reads torchvision's file. Raises UserError for a file of other tensors.
    """
    state = _fetch_torchvision() if path is None else read(path, _OPTION, "give another file")
    torchvision_names = [f"features.{number}" for number in _TORCHVISION]
    if _holds(state, torchvision_names):
        return False, _layers(state, torchvision_names)
    names_with_colour = [str(number) for number in _WITH_COLOUR_LAYER]
    if _holds(state, names_with_colour):
        return True, _layers(state, names_with_colour)
    allowed = "a file of torchvision's vgg19, or of one up to relu3_1 with a colour layer in front"
    raise UserError(
        f"{_OPTION}: {path} holds no VGG-19 (found {', '.join(list(state)[:3])} ...); allowed:"
        f" {allowed}"
    )


def _holds(state: Mapping[str, Tensor], names: list[str]) -> bool:
    """Return whether the state has a weight and a bias of every name."""
    return all(f"{name}.weight" in state and f"{name}.bias" in state for name in names)


def _layers(state: Mapping[str, Tensor], names: list[str]) -> list[_Layer]:
    return [_Layer(state[f"{n}.weight"].float(), state[f"{n}.bias"].float()) for n in names]


def _fetch_torchvision() -> dict[str, Tensor]:
    """Return torchvision's tensors by name. Raises UserError where they cannot be fetched."""
    from torchvision.models import VGG19_Weights

    chosen = VGG19_Weights.IMAGENET1K_V1
    try:
        return dict(
            chosen.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
        )
    except Exception as e:  # of the network, the disk, the hash
        raise UserError(
            f"{_OPTION}: {chosen.url} can't be fetched ({reason(e)}); "
            f"give the file as {_OPTION}=FILE, or leave the term out with"
            " method.losses.perceptual=0"
        ) from None
