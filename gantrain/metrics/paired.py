"""Distances between each fake and its target.

Images are (N, C, H, W) in [-1, 1], float64. Each function returns one value an image, (N).
"""

import re
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.core.errors import UserError
from gantrain.metrics.extractors import digest, fetch, load_weights

_SMALLEST_ERROR = 1e-10  # of the mean square: a perfect image has 106 dB, not infinitely many
_REACH = 5  # pixels from the centre of SSIM's window to its edge
# The exponents of MS-SSIM: of the contrast at the finer scales, and of SSIM at the coarsest one.
_CONTRASTS = (0.0448, 0.2856, 0.3001, 0.2363)
_LAST = 0.1333


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference."""
    return (fake - target).abs().mean((1, 2, 3))


def l2(fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean square difference."""
    return (fake - target).square().mean((1, 2, 3))


def decibels(error: Tensor) -> Tensor:
    """Return the PSNR in dB of a mean square difference, for a data range of 2."""
    return 10 * torch.log10(4 / error.clamp_min(_SMALLEST_ERROR))


def psnr(fake: Tensor, target: Tensor) -> Tensor:
    """Return the PSNR of all channels in dB."""
    return decibels(l2(fake, target))


def _luma(images: Tensor) -> Tensor:
    """Return ITU-R BT.601's Y of RGB (16 to 235 of 255), (N, 1, H, W), and grey as it is.

    Papers on super-resolution measure Y.
    """
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
    return ((images + 1) * weights).sum(1, keepdim=True) + 2 * 16 / 255 - 1


def psnr_y(fake: Tensor, target: Tensor) -> Tensor:
    """Return the PSNR of the luma in dB."""
    return psnr(_luma(fake), _luma(target))


def ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Return SSIM (Wang et al. 2004) with an 11x11 Gaussian window; NaN for smaller images.

    The mean leaves out positions where the window reaches beyond the image.
    """
    if min(fake.shape[2:]) <= 2 * _REACH + 1:
        return fake.new_full((len(fake),), torch.nan)
    return _mean_similarity(fake, target)


def _mean_similarity(fake: Tensor, target: Tensor, only_contrast: bool = False) -> Tensor:
    """Return the mean of SSIM, or of its contrast term alone, where the window is inside."""
    # Imported here: it takes a second that other commands need not wait for.
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    # Its luminance term wants values from 0 up: around 0 it falls apart.
    fake_from_zero = (fake + 1) / 2
    target_from_zero = (target + 1) / 2
    _, values = similarity(
        fake_from_zero,
        target_from_zero,
        data_range=1.0,
        return_full_image=not only_contrast,
        return_contrast_sensitivity=only_contrast,
    )
    if only_contrast:
        return values
    return values[..., _REACH:-_REACH, _REACH:-_REACH].mean((1, 2, 3))


def ssim_y(fake: Tensor, target: Tensor) -> Tensor:
    """Return SSIM of the luma."""
    return ssim(_luma(fake), _luma(target))


def ms_ssim(fake: Tensor, target: Tensor) -> Tensor:
    """Return MS-SSIM (Wang et al. 2003) over five scales; NaN for sides of less than 176 pixels.

    The means leave out positions where the window reaches beyond the image.
    """
    if min(fake.shape[2:]) < (2 * _REACH + 1) * 2 ** len(_CONTRASTS):
        return fake.new_full((len(fake),), torch.nan)
    product = fake.new_ones(len(fake))
    for exponent in _CONTRASTS:
        contrast = _mean_similarity(fake, target, only_contrast=True)
        product = product * contrast.relu() ** exponent
        fake = F.avg_pool2d(fake, 2)
        target = F.avg_pool2d(target, 2)
    return product * _mean_similarity(fake, target).relu() ** _LAST


PAIRED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "l2": l2,
    "psnr": psnr,
    "psnr_y": psnr_y,
    "ssim": ssim,
    "ssim_y": ssim_y,
    "ms_ssim": ms_ssim,
}
# By metric: LPIPS's name of the backbone, and the smallest side that survives its pooling.
LPIPS: dict[str, tuple[Literal["alex", "vgg", "squeeze"], int]] = {
    "lpips": ("alex", 31),
    "lpips_vgg": ("vgg", 16),
    "lpips_squeeze": ("squeeze", 17),
}

# From LPIPS's names to torchvision's.
_BACKBONES = {
    "alex": "alexnet",
    "vgg": "vgg16",
    "squeeze": "squeezenet1_1",
}


class Perceptual(nn.Module):
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924) by torchmetrics, which holds the papers' heads.

    path: a file with the weights of torchvision's backbone (alexnet, vgg16, squeezenet1_1); None:
    torchvision downloads them. A value is NaN for images that are too small, or that have neither 1
    nor 3 channels. Raises UserError.
    """

    def __init__(self, name: str, path: str | None) -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS

        self.backbone, self.smallest = LPIPS[name]
        file = f"torchvision's {_BACKBONES[self.backbone]}"
        is_random = path is not None  # the file's weights come later
        self.network = fetch(lambda: _LPIPS(net=self.backbone, pnet_rand=is_random), name, file)
        if path is not None:
            self._load_backbone(path, file)
        self.eval().requires_grad_(False)
        self.digest = digest(self.network)

    def _load_backbone(self, path: str, what: str) -> None:
        given = load_weights(path)
        state: dict[str, Tensor] = {}
        for key, own in self.network.net.state_dict().items():
            # torchmetrics cuts the backbone into slices, in which layers keep their numbers.
            value = given.get(re.sub(r"^slices?\.?\d+", "features", key))
            if value is None or value.shape != own.shape:
                raise UserError(f"evaluate.weights: {path} is not {what}; give its file")
            state[key] = value
        self.network.net.load_state_dict(state)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        if min(fake.shape[2:]) < self.smallest or fake.shape[1] not in (1, 3):
            return fake.new_full((len(fake),), torch.nan)
        fake_rgb = fake.float().expand(-1, 3, -1, -1)
        target_rgb = target.float().expand(-1, 3, -1, -1)
        values: Tensor = self.network(fake_rgb, target_rgb)
        return values.double().flatten()
