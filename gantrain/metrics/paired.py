"""Distances of each fake to its target; images (N, C, H, W) in [-1, 1], float64; one value an
image.
"""

import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.metrics.extractors import digest, fetch, load_weights

_SMALLEST_ERROR = 1e-10  # of the mean square: a perfect image has 106 dB, not infinitely many
_REACH = 5  # pixels from the centre of SSIM's window to its edge
_CONTRASTS, _LAST = (0.0448, 0.2856, 0.3001, 0.2363), 0.1333  # exponents of MS-SSIM's scales


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (fake - target).abs().mean((1, 2, 3))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Mean square difference."""
    return (fake - target).square().mean((1, 2, 3))


def decibels(error: Tensor) -> Tensor:
    """PSNR of a mean square difference; the range is 2."""
    return 10 * torch.log10(4 / error.clamp_min(_SMALLEST_ERROR))


def psnr(fake: Tensor, target: Tensor) -> Tensor:
    """In dB, of all channels."""
    return decibels(l2(fake, target))


def _luma(images: Tensor) -> Tensor:
    """ITU-R BT.601's Y of RGB (16 to 235 of 255), as super-resolution papers take it; grey as it
    is.
    """
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
    return ((images + 1) * weights).sum(1, keepdim=True) + 2 * 16 / 255 - 1


def psnr_y(fake: Tensor, target: Tensor) -> Tensor:
    """Of the luma alone."""
    return psnr(_luma(fake), _luma(target))


def ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Wang et al. 2004, with an 11x11 Gaussian window, where the window is whole; NaN for
    smaller images.
    """
    if min(fake.shape[2:]) <= 2 * _REACH + 1:
        return fake.new_full((len(fake),), torch.nan)
    return _whole(fake, target)


def _whole(fake: Tensor, target: Tensor, contrast: bool = False) -> Tensor:
    """The mean of SSIM, or of its contrast term alone, where the window is whole."""
    # Imported here: it takes a second that other commands need not wait for.
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    # Its luminance term wants values from 0 up: around 0 it falls apart.
    pair = (fake + 1) / 2, (target + 1) / 2
    _, each = similarity(
        *pair, data_range=1.0, return_full_image=not contrast, return_contrast_sensitivity=contrast
    )
    return each if contrast else each[..., _REACH:-_REACH, _REACH:-_REACH].mean((1, 2, 3))


def ssim_y(fake: Tensor, target: Tensor) -> Tensor:
    """Of the luma alone."""
    return ssim(_luma(fake), _luma(target))


def ms_ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Wang et al. 2003, over five scales, where the window is whole; NaN for images of less than
    176 pixels.
    """
    if min(fake.shape[2:]) < (2 * _REACH + 1) * 2 ** len(_CONTRASTS):
        return fake.new_full((len(fake),), torch.nan)
    product = fake.new_ones(len(fake))
    for weight in _CONTRASTS:
        product = product * _whole(fake, target, contrast=True).relu() ** weight
        fake, target = F.avg_pool2d(fake, 2), F.avg_pool2d(target, 2)
    return product * _whole(fake, target).relu() ** _LAST


PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "psnr": psnr,
    "psnr_y": psnr_y,
    "ssim": ssim,
    "ssim_y": ssim_y,
    "ms_ssim": ms_ssim,
}
# The network, and the pixels that outlast its pooling.
LPIPS: dict[str, tuple[Any, int]] = {
    "lpips": ("alex", 31),
    "lpips_vgg": ("vgg", 16),
    "lpips_squeeze": ("squeeze", 17),
}

_BACKBONES = {
    "alex": "alexnet",
    "vgg": "vgg16",
    "squeeze": "squeezenet1_1",
}  # by torchvision's names


class Perceptual(nn.Module):
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924), by torchmetrics, which has the papers' heads.

    path: weights of torchvision's backbone (alexnet, vgg16, squeezenet1_1); None takes
    torchvision's route. NaN for images that are too small, or not of 1 or 3 channels. Raises
    ValueError."""

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS

        net, self.smallest = LPIPS[name]
        what = f"torchvision's {_BACKBONES[net]}"
        self.network = fetch(lambda: _LPIPS(net=net, pnet_rand=path is not None), name, what)
        if path is not None:  # it is cut into slices, in which the layers keep their numbers
            own, given = self.network.net.state_dict(), load_weights(path)
            state = {key: given.get(re.sub(r"^slices?\.?\d+", "features", key)) for key in own}
            if any(value is None or value.shape != own[key].shape for key, value in state.items()):
                raise ValueError(f"evaluate.weights: {path} is not {what}; give its file")
            self.network.net.load_state_dict(state)
        self.eval().requires_grad_(False)
        self.backbone, self.digest = net, digest(self.network)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        if min(fake.shape[2:]) < self.smallest or fake.shape[1] not in (1, 3):
            return fake.new_full((len(fake),), torch.nan)
        each: Tensor = self.network(*(x.float().expand(-1, 3, -1, -1) for x in (fake, target)))
        return each.double().flatten()
