"""The perceptual distance of images: of what VGG-19 makes of them."""

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.weight_files import read, reason
from gantrain.losses.distances import l1

_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # of relu1_1 .. relu5_1
_TAPS = (0, 2, 4, 8, 12)  # the convolutions that these follow; all but the first stand after a pool
_CONVS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)  # as torchvision numbers them
_COLOURED = (0, 2, 5, 9, 12, 16)  # up to relu3_1; layer 0 turns RGB in [0, 1] into what VGG wants
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_OPTION = "method.vgg.weights"

Weights = list[tuple[Tensor, Tensor]]  # weight and bias of each layer


class VGG19(nn.Module):
    """Weighted L1 distances of VGG-19's relu1_1 .. relu5_1, pix2pixHD's (Wang et al., 2018, arXiv
    1711.11585).

    channels: of the images, 3 or 1 (grey). weights: a file (.safetensors, .pth) of torchvision's
    vgg19, or of one up to relu3_1 with a colour layer in front, which gives the first three
    distances only; null: torchvision's, fetched into torch.hub's folder. normalised: shift and
    scale colours as torchvision does, and pix2pixHD and SPADE do not; a colour layer does so by
    itself. Raises ValueError for other channels."""

    def __init__(
        self, channels: int, *, weights: str | None = None, normalised: bool = False
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(
                f"method.perceptual: VGG-19 sees 1 or 3 channels, the target has {channels}; set it"
                " to 0"
            )
        self.weights, self.normalised = weights, normalised
        self.colour: nn.Module = nn.Identity()
        self.convs = nn.ModuleList()

    def load(self) -> None:
        """Read the weights, or fetch them; before training, and on one process of a node first.
        Raises ValueError.
        """
        coloured, layers = _read(self.weights)
        if coloured:
            (weight, bias), *layers = layers
            # A colour in [0, 1] is half of one in [-1, 1], and a half.
            self.colour = _frozen(weight / 2, bias + weight.sum((1, 2, 3)) / 2)
        elif self.normalised:
            mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)
            self.colour = _frozen(
                torch.diag(0.5 / deviation)[..., None, None], (0.5 - mean) / deviation
            )
        self.convs = nn.ModuleList(
            _frozen(*layer, "reflect" if coloured else "zeros") for layer in layers
        )

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        """A scalar from images (N, channels, H, W) in [-1, 1], of 16 pixels or more a side."""
        with torch.no_grad():
            real = self._features(target)
        pairs = zip(_WEIGHTS, self._features(fake), real, strict=False)
        return torch.stack([weight * l1(f, r) for weight, f, r in pairs]).sum()

    def _features(self, x: Tensor) -> list[Tensor]:
        assert len(self.convs), "load() comes first"
        features = []
        x = self.colour(x.expand(-1, 3, -1, -1))
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(F.max_pool2d(x, 2) if i in _TAPS[1:] else x))
            if i in _TAPS:
                features.append(x)
        return features


def _frozen(weight: Tensor, bias: Tensor, mode: Literal["zeros", "reflect"] = "zeros") -> nn.Conv2d:
    """A convolution that keeps the size; on `meta` no weights are drawn, to be replaced."""
    after, before, kernel, _ = weight.shape
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode=mode, device="meta")
    conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return conv


@functools.cache  # a run makes its method several times, and the file is of half a gigabyte
def _read(path: str | None) -> tuple[bool, Weights]:
    """Whether the first layer is one of colours, and the layers. Raises ValueError."""
    state = _fetched() if path is None else read(path, _OPTION, "give another file")
    for prefix, numbers in (("features.", _CONVS), ("", _COLOURED)):
        names = [f"{prefix}{n}" for n in numbers]
        if all(f"{n}.{kind}" in state for n in names for kind in ("weight", "bias")):
            return numbers is _COLOURED, [
                (state[f"{n}.weight"].float(), state[f"{n}.bias"].float()) for n in names
            ]
    allowed = "a file of torchvision's vgg19, or of one up to relu3_1 with a colour layer in front"
    raise ValueError(
        f"{_OPTION}: {path} holds no VGG-19 (found {', '.join(list(state)[:3])} ...); allowed:"
        f" {allowed}"
    )


def _fetched() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    chosen = VGG19_Weights.IMAGENET1K_V1
    try:
        return dict(
            chosen.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
        )
    except Exception as e:  # of the network, the disk, the hash
        raise ValueError(
            f"{_OPTION}: {chosen.url} can't be fetched ({reason(e)}); "
            f"give the file as {_OPTION}=FILE, or leave the term out with method.perceptual=0"
        ) from None
