"""SSIM and MS-SSIM as losses: 1 less the similarity."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from gantrain.losses.adversarial import at_least_float32
from gantrain.losses.reconstruction_loss import ReconstructionLoss

_WINDOW = 11  # pixels of the Gaussian window's side
_SIGMA = 1.5
# Stabilise the luminance and the contrast, for values in [0, 1].
_LUMINANCE = 0.01**2
_CONTRAST = 0.03**2
# The exponents of MS-SSIM, from the finest scale to the coarsest one.
_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALLEST_MEAN = 1e-6  # of a scale; a power below 1 has no finite gradient at 0


class SSIM(ReconstructionLoss):
    """1 - SSIM of each channel, with a Gaussian window of 11x11 pixels.

    Wang et al., 2004 (Image quality assessment: from error visibility to structural similarity).
    The mean leaves out positions where the window reaches beyond the image.
    """

    minimum_size = _WINDOW

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        similarity, _ = _similarity(fake, target)
        return 1 - similarity.mean()


class MultiscaleSSIM(ReconstructionLoss):
    """1 - MS-SSIM: the product of the contrast terms at several scales and of SSIM at the coarsest.

    Wang et al., 2003 (Multiscale structural similarity for image quality assessment). A mean below
    1e-6 counts as 1e-6, where the gradient of a power is finite. The images need 11 pixels at the
    coarsest scale: 176 for the paper's five.

    Args:
        scales: The number of scales. Fewer than the paper's five take their first exponents,
            scaled to the sum of all five.
    """

    def __init__(self, *, scales: Annotated[int, Field(ge=1, le=5)] = 5) -> None:
        super().__init__()
        factor = sum(_EXPONENTS) / sum(_EXPONENTS[:scales])  # exactly 1 for all five
        self.exponents = [factor * exponent for exponent in _EXPONENTS[:scales]]
        self.minimum_size = _WINDOW * 2 ** (scales - 1)

    def forward(self, fake: Tensor, target: Tensor) -> Tensor:
        fake = at_least_float32(fake)
        target = at_least_float32(target)
        product = fake.new_ones(len(fake))
        for scale, exponent in enumerate(self.exponents):
            if scale:
                fake = F.avg_pool2d(fake, 2)
                target = F.avg_pool2d(target, 2)
            similarity, contrast = _similarity(fake, target)
            is_coarsest = scale == len(self.exponents) - 1
            mean = (similarity if is_coarsest else contrast).mean(1)
            product = product * mean.clamp_min(_SMALLEST_MEAN) ** exponent
        return 1 - product.mean()


def _similarity(fake: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast term at each position of the window, (N, positions) each."""
    with torch.autocast(fake.device.type, enabled=False):
        fake = (at_least_float32(fake) + 1) / 2
        target = (at_least_float32(target) + 1) / 2
        fake_mean = _blur(fake)
        target_mean = _blur(target)
        fake_variance = _blur(fake.square()) - fake_mean.square()
        target_variance = _blur(target.square()) - target_mean.square()
        covariance = _blur(fake * target) - fake_mean * target_mean
        contrast = (2 * covariance + _CONTRAST) / (fake_variance + target_variance + _CONTRAST)
        luminance = (2 * fake_mean * target_mean + _LUMINANCE) / (
            fake_mean.square() + target_mean.square() + _LUMINANCE
        )
        return (luminance * contrast).flatten(1), contrast.flatten(1)


def _blur(images: Tensor) -> Tensor:
    """Return Gaussian means of the positions where the window lies inside, (N, C, H-10, W-10)."""
    offsets = torch.arange(_WINDOW, dtype=images.dtype, device=images.device) - _WINDOW // 2
    kernel = (-(offsets**2) / (2 * _SIGMA**2)).exp()
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(images, rows, groups=channels), columns, groups=channels)
